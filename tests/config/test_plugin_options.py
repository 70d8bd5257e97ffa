"""coprocess_options and preforge.plugins: what is read, and what is said of what cannot be."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from core.config.global_hooks import GlobalHook, GlobalScript
from core.config.lint import lint
from core.config.load import ConfigError, load
from core.config.plugins import DEFAULTS, PluginOptions, plugin_options
from core.findings import Finding


def read(
    folder: Path, coprocess: dict[str, Any], more: dict[str, Any] | None = None, **plugins: Any
) -> tuple[PluginOptions, list[Finding]]:
    path = folder / "tyk.conf"
    conf = {"listen_port": 8080, "app_path": "apps", "coprocess_options": coprocess, "preforge": {"plugins": plugins}}
    path.write_text(json.dumps({**conf, **(more or {})}))
    loaded = load(str(path), {})
    return plugin_options(loaded.config), [one for one in loaded.findings if one.severity != "info"]


def refused(folder: Path, conf: dict[str, Any] | None = None, **plugins: Any) -> Finding:
    """The only finding about settings that are not taken. conf: more of tyk.conf."""
    with pytest.raises(ConfigError) as caught:
        read(folder, {"enable_coprocess": True}, conf, **plugins)
    (finding,) = caught.value.findings
    assert finding.severity == "error"
    assert finding.file == str(folder / "tyk.conf")
    return finding


def test_nothing_is_on_without_being_asked_for(tmp_path: Path) -> None:
    options, findings = read(tmp_path, {})
    assert (options, findings) == (PluginOptions(), [])


def test_coprocess_options_describe_the_server_of_hooks_that_name_none(tmp_path: Path) -> None:
    given = {
        "enable_coprocess": True, "coprocess_grpc_server": "tcp://h:5", "grpc_recv_max_size": 7, "grpc_send_max_size": 9,
        "grpc_authority": "a.test", "grpc_round_robin_load_balancing": True,
    }  # fmt: skip
    options, findings = read(tmp_path, given)
    settings = options.servers[DEFAULTS["grpc"]].settings
    assert findings == []
    assert (settings.target, settings.recv_max_size, settings.send_max_size) == ("tcp://h:5", 7, 9)
    assert (settings.authority, settings.round_robin) == ("a.test", True)
    assert options.default("grpc") == DEFAULTS["grpc"]


def test_a_target_that_cannot_be_does_not_stop_the_gateway(tmp_path: Path) -> None:
    options, (finding,) = read(tmp_path, {"enable_coprocess": True, "coprocess_grpc_server": "ftp://h"})
    assert (finding.severity, finding.path) == ("warning", "$.coprocess_options.coprocess_grpc_server")
    assert DEFAULTS["grpc"] in options.unusable


def test_servers_have_the_settings_of_their_driver(tmp_path: Path) -> None:
    servers = {
        "g": {"driver": "grpc", "target": "unix:///s", "connections": 2, "keepalive_time": 5},
        "j": {"driver": "jsonrpc", "command": ["a", "b c"], "env": {"K": "v"}, "framing": "length"},
        "t": {"driver": "jsonrpc", "command": "a 'b c'"},
        "p": {"driver": "python", "processes": 2, "python_path": ["/a", "/b"]},
        "d": {"driver": "python", "bundle": "/plugins/mine"},
    }
    options, findings = read(tmp_path, {"enable_coprocess": True}, servers=servers, deadline=2)
    assert findings == []
    found = {name: server.settings for name, server in options.servers.items()}
    assert (found["g"].connections, found["g"].keepalive_time) == (2, 5.0)
    assert (found["j"].env, found["j"].framing) == ({"K": "v"}, "length")
    assert (found["p"].processes, found["p"].python_path, found["p"].interpreter) == (2, ("/a", "/b"), sys.executable)
    assert [options.servers[name].bundled for name in "gpd"] == [False, True, False]
    assert found["d"].bundle == "/plugins/mine"
    assert options.deadline == 2.0
    assert options.default("jsonrpc") is None


def test_the_only_server_of_a_driver_is_its_default(tmp_path: Path) -> None:
    servers = {"j": {"driver": "jsonrpc", "command": "x"}, "g": {"driver": "grpc", "target": "h:1"}}
    options, _ = read(tmp_path, {"enable_coprocess": True}, servers=servers)
    assert (options.default("jsonrpc"), options.default("grpc")) == ("j", "g")
    assert options.default("python") == DEFAULTS["python"]


@pytest.mark.parametrize(
    ("server", "place", "said"),
    [
        (3, "", "expected an object with driver"),
        ({"target": "h:1"}, ".driver", "expected one of grpc, jsonrpc, python, got None"),
        ({"driver": "lua"}, ".driver", "got 'lua'"),
        ({"driver": "grpc"}, ".target", "needs it"),
        ({"driver": "grpc", "target": "h:1", "conections": 2}, ".conections", "no such setting"),
        ({"driver": "grpc", "target": "h:1", "connections": "2"}, ".connections", "expected an integer, got '2'"),
        ({"driver": "grpc", "target": "h:1", "connections": True}, ".connections", "expected an integer"),
        ({"driver": "grpc", "target": "h:1", "connections": 0}, ".connections", "expected 1 to"),
        ({"driver": "grpc", "target": "h:1", "tls": 1}, ".tls", "expected true or false"),
        ({"driver": "grpc", "target": "h:1", "tls_min_version": "1.1"}, ".tls_min_version", "'1.2' or '1.3'"),
        ({"driver": "grpc", "target": "h:1", "keepalive_time": "1"}, ".keepalive_time", "expected a number"),
        ({"driver": "grpc", "target": "h:1", "name": "n"}, ".name", "no such setting"),
        ({"driver": "jsonrpc", "command": [1]}, ".command", "expected a text or a list of texts"),
        ({"driver": "jsonrpc", "command": "x", "env": {"A": 1}}, ".env", "expected an object of texts"),
        ({"driver": "grpc", "target": "h"}, ".target", '"h": expected a port'),
        ({"driver": "jsonrpc", "command": "x", "children": 0}, ".children", "1 or more"),
        ({"driver": "jsonrpc", "command": "x", "children": 65}, ".children", "at most 64"),
        ({"driver": "jsonrpc", "command": "x 'y"}, ".command", "No closing quotation"),
        ({"driver": "jsonrpc", "command": ["x\0"]}, ".command", "NUL"),
        ({"driver": "jsonrpc", "command": "x", "env": {"A=B": ""}}, ".env", "names without ="),
        ({"driver": "python", "verified": {}}, ".verified", "no such setting"),
        ({"driver": "python", "listed": []}, ".listed", "no such setting"),
        ({"driver": "python", "processes": 65}, ".processes", "not between"),
    ],
)
def test_what_is_wrong_with_a_server_is_said_of_its_field(tmp_path: Path, server: Any, place: str, said: str) -> None:
    finding = refused(tmp_path, servers={"it": server})
    assert finding.path == f"$.preforge.plugins.servers['it']{place}"
    assert said in finding.message
    assert not finding.message.startswith((f"{place[1:]}:", "gRPC server")), "the field is named twice"


@pytest.mark.parametrize("name", ["", "a b", "-a", "(grpc)", "x" * 61])
def test_names_of_servers_are_plain(tmp_path: Path, name: str) -> None:
    assert "a name has letters" in refused(tmp_path, servers={name: {"driver": "grpc", "target": "h:1"}}).message


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"hook": "auth_check"}, ".hook", "expected one of pre, post_key_auth, post, response"),
        ({"name": ""}, ".name", "expected the name"),
        ({"server": "nobody"}, ".server", "no such server"),
        ({"driver": "jsonrpc"}, ".driver", "has the driver grpc"),
        ({"server": None, "driver": "jsonrpc"}, ".server", "expected the name of a server"),
        ({"server": None, "driver": "otto"}, ".path", "expected the path of a script"),
        ({"server": None, "driver": "otto", "path": 1}, ".path", "expected the path of a script"),
        ({"server": None, "driver": "otto", "path": "x.js", "require_session": 1}, ".require_session", "true or false"),
        ({"server": None, "driver": "javascript", "path": "x.js", "deadline": 1}, ".deadline", "unknown key, expected hook"),
        ({"server": None, "driver": "otto", "path": "x.js", "name": ""}, ".name", "a middleware object of the script"),
        ({"driver": "otto"}, ".driver", "has the driver grpc"),
        ({"server": None}, ".driver", "expected one of grpc"),
        ({"server": "bundled"}, ".server", "bundle of its own"),
        ({"raw_body_only": 1}, ".raw_body_only", "true or false"),
        ({"deadline": 0}, ".deadline", "more than 0"),
        ({"tags": "some"}, ".tags", "a list of tags"),
        ({"position": "middle"}, ".position", "before or after"),
        ({"path": "x.js"}, ".path", "unknown key"),
    ],
)
def test_what_is_wrong_with_a_global_hook_is_said_of_its_field(
    tmp_path: Path, change: dict[str, Any], field: str, said: str
) -> None:
    servers = {"it": {"driver": "grpc", "target": "h:1"}, "bundled": {"driver": "python"}}
    hook = {"hook": "pre", "server": "it", "name": "h", **change}
    hook = {key: value for key, value in hook.items() if value is not None}
    finding = refused(tmp_path, {"enable_jsvm": True}, servers=servers, global_hooks=[hook])
    assert finding.path == f"$.preforge.plugins.global_hooks[0]{field}"
    assert said in finding.message


def test_a_server_that_cannot_be_used_is_not_said_to_be_missing(tmp_path: Path) -> None:
    hook = {"hook": "pre", "server": "it", "name": "h"}
    finding = refused(tmp_path, servers={"it": {"driver": "gprc", "target": "h:1"}}, global_hooks=[hook])
    assert finding.path == "$.preforge.plugins.servers['it'].driver"


@pytest.mark.parametrize("hooks", [{"hook": "pre"}, ["pre"], "pre"])
def test_global_hooks_of_a_wrong_shape_are_refused(tmp_path: Path, hooks: Any) -> None:
    assert refused(tmp_path, global_hooks=hooks).path.startswith("$.preforge.plugins.global_hooks")


def test_global_hooks_that_are_switched_off_are_not_passed_over_in_silence(tmp_path: Path) -> None:
    servers = {"it": {"driver": "grpc", "target": "h:1"}}
    rich = {"hook": "pre", "server": "it", "name": "h"}
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, {"enable_coprocess": False}, servers=servers, global_hooks=[rich])
    assert [one.path for one in caught.value.findings] == ["$.preforge.plugins.global_hooks[0]"]
    assert "enable_coprocess" in caught.value.findings[0].message
    script = {"hook": "pre", "driver": "otto", "path": "x.js", "name": "h"}
    finding = refused(tmp_path, {"enable_jsvm": False}, global_hooks=[script])
    assert (finding.path, "enable_jsvm" in finding.message) == ("$.preforge.plugins.global_hooks[0].driver", True)


def test_global_hooks_keep_their_places_in_the_list(tmp_path: Path) -> None:
    servers = {"it": {"driver": "grpc", "target": "h:1"}}
    hooks = [
        {"hook": "pre", "driver": "otto", "path": "x.js", "name": "a", "require_session": True},
        {"hook": "post", "server": "it", "name": "b", "tags": ["t"], "position": "after", "deadline": 2},
        {"hook": "response", "driver": "javascript", "path": "y.js", "name": "c"},
    ]
    options, _ = read(tmp_path, {"enable_coprocess": True}, {"enable_jsvm": True}, servers=servers, global_hooks=hooks)
    (rich,) = options.hooks
    assert rich == GlobalHook("post", "b", ("t",), "after", 1, "it", False, 2.0)
    assert options.scripts == (
        GlobalScript("pre", "a", (), "before", 0, "x.js", True), GlobalScript("response", "c", (), "before", 2, "y.js", False),
    )  # fmt: skip


@pytest.mark.parametrize("value", ["5", -1, True])
def test_a_wrong_type_is_said_once_and_not_as_a_value_that_nobody_wrote(tmp_path: Path, value: Any) -> None:
    finding = refused(tmp_path, deadline=value)
    assert finding.path == "$.preforge.plugins.deadline"
    assert "got 0" not in finding.message


@pytest.mark.parametrize("deadline", [0, 3601])
def test_the_deadline_is_bounded(tmp_path: Path, deadline: float) -> None:
    assert refused(tmp_path, deadline=deadline).path == "$.preforge.plugins.deadline"


def test_a_python_that_is_not_there_is_said(tmp_path: Path) -> None:
    options, (finding,) = read(tmp_path, {"enable_coprocess": True, "python_version": "2.99"})
    assert finding.path == "$.coprocess_options.python_version"
    assert options.unusable == {DEFAULTS["python"]: "there is no python2.99 on the PATH"}


def test_lint_looks_for_the_files_and_programs_that_servers_name(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("not a program, nor a certificate")
    servers = {
        "g": {"driver": "grpc", "target": "h:1", "tls": True, "ca_file": str(tmp_path / "no.pem")},
        "t": {"driver": "grpc", "target": "h:1", "tls": True, "ca_file": str(text)},
        "k": {"driver": "grpc", "target": "h:1", "tls": True, "cert_file": str(text), "key_file": str(text)},
        "j": {"driver": "jsonrpc", "command": ["no-such-program", "x"]},
        "x": {"driver": "jsonrpc", "command": [str(text)]},
        "c": {"driver": "jsonrpc", "command": [sys.executable], "cwd": str(text)},
        "b": {"driver": "jsonrpc", "command": ["text"], "cwd": str(tmp_path)},
        "p": {"driver": "python", "interpreter": "/no/python"},
        "i": {"driver": "python", "python_path": [str(tmp_path / "no")]},
        "d": {"driver": "python", "bundle": str(tmp_path / "no")},
        "m": {"driver": "python", "bundle": str(tmp_path)},
        "good": {"driver": "jsonrpc", "command": [sys.executable, "x"], "cwd": str(tmp_path)},
    }
    read(tmp_path, {"enable_coprocess": True}, servers=servers)
    _, findings = lint(str(tmp_path / "tyk.conf"), {})
    place = "$.preforge.plugins.servers"
    found = {one.path: one for one in findings if one.path.startswith(place)}
    fields = {
        "['g'].ca_file": "no.pem", "['t'].ca_file": "no certificates", "['k'].cert_file": "no certificate and its key",
        "['j'].command": "no-such-program", "['x'].command": "not executable", "['c'].cwd": "not a directory",
        "['b'].command": "no program text in PATH", "['p'].interpreter": "/no/python",
        "['i'].python_path": "not a directory", "['d'].bundle": "not a directory", "['m'].bundle": "no manifest.json",
    }  # fmt: skip
    assert set(found) == {place + field for field in fields}
    assert {one.severity for one in found.values()} == {"error"}
    for field, said in fields.items():
        assert said in found[place + field].message, field


@pytest.mark.parametrize(
    ("server", "field", "said"),
    [
        ({"command": ["no-such-program"]}, "command", "there is no program no-such-program in PATH"),
        ({"command": ["./plain"]}, "command", "plain is not executable"),
        ({"command": ["./plain"], "cwd": "no-such-folder"}, "cwd", "no-such-folder is not a directory"),
        ({"command": ["inside/plugin"]}, "", ""),
        ({"command": ["./plugin"], "cwd": "inside"}, "", ""),
        ({"command": ["inside/plugin"], "cwd": "inside"}, "command", "there is no program"),
    ],
)
def test_lint_looks_for_a_program_where_it_would_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: dict[str, Any], field: str, said: str
) -> None:
    (tmp_path / "inside").mkdir()
    for name, mode in (("plain", 0o644), ("inside/plugin", 0o755)):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(mode)
    monkeypatch.chdir(tmp_path)
    read(tmp_path, {"enable_coprocess": True}, servers={"j": {"driver": "jsonrpc", **server}})
    _, findings = lint(str(tmp_path / "tyk.conf"), {})
    found = [(one.path, one.message) for one in findings if one.path.startswith("$.preforge.plugins.servers")]
    if not field:
        assert found == []
        return
    ((path, message),) = found
    assert path == f"$.preforge.plugins.servers['j'].{field}"
    assert said in message


@pytest.mark.parametrize(
    ("given", "severity", "path", "said"),
    [
        ({"public_key_path": "no.pem"}, "error", "$.public_key_path", "No such file"),
        ({"public_key_path": "tyk.conf"}, "error", "$.public_key_path", "RSA public key"),
        ({"bundle_base_url": "ftp://h/"}, "error", "$.bundle_base_url", "expected http, https, file or a path"),
        ({"bundle_base_url": "no", "enable_bundle_downloader": True}, "error", "$.bundle_base_url", "no is not a directory"),
        ({"enable_bundle_downloader": True}, "warning", "$.bundle_base_url", "it is empty"),
        (
            {"bundle_base_url": "https://h/", "bundle_insecure_skip_verify": True},
            "warning", "$.bundle_insecure_skip_verify", "not verified",
        ),
    ],
)  # fmt: skip
def test_lint_says_what_keeps_all_bundles_from_being_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], severity: str, path: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tyk.conf").write_text(json.dumps({"listen_port": 8080, "app_path": ".", **given}))
    _, findings = lint("tyk.conf", {})
    (finding,) = (one for one in findings if one.path.startswith(("$.bundle", "$.public_key")))
    assert (finding.severity, finding.path) == (severity, path)
    assert said in finding.message


@pytest.mark.parametrize("name", ["timeout", "load_timeout", "max_bytes", "max_ratio"])
def test_a_bound_that_no_bundle_fits_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "tyk.conf"
    path.write_text(json.dumps({"listen_port": 8080, "app_path": "apps", "preforge": {"bundles": {name: 0}}}))
    with pytest.raises(ConfigError) as caught:
        load(str(path), {})
    assert [one.path for one in caught.value.findings] == [f"$.preforge.bundles.{name}"]
