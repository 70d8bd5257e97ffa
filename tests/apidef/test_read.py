"""Reading a directory: what stays, what goes, what is reported."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.apidef import CompileOptions, ReadOptions, Snapshot, lint, plan_specs, read_directory
from core.config.global_hooks import GlobalHook, GlobalScript
from core.config.plugins import PluginOptions, PluginServer

OPTIONS = ReadOptions(environ={"HOST": 'h"x', "PORT": "81"}, secrets={"key": "v1"})


def definition(name: str = "a", **more: Any) -> dict[str, Any]:
    proxy = {"listen_path": f"/{name}/", "target_url": "http://up/", **more.pop("proxy", {})}
    version = {"not_versioned": True, "versions": {"Default": {"name": "Default"}}}
    base = {"name": name, "api_id": name, "use_keyless": True, "active": True}
    return {**base, "version_data": version, "proxy": proxy, **more}


def write(folder: Path, name: str, value: object) -> None:
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))


def paths(snapshot: Snapshot) -> list[str]:
    return [spec.listen_path for spec in plan_specs(snapshot, OPTIONS.compile)]


BAD = [
    ("{", "", "line 1, column 2"),
    ("[]", "$", "expected an object"),
    ('{"openapi": "3.0.3"}', "$.proxy.listen_path", "empty"),
    ({**definition(), "active": "yes"}, "$.active", "expected true or false"),
    (definition(proxy={"listen_path": 7}), "$.proxy.listen_path", "expected a string"),
    (definition(proxy={"listen_path": "/a b/"}), "$.proxy.listen_path", "spaces"),
    (definition(proxy={"listen_path": "/{a/"}), "$.proxy.listen_path", "balance"),
    (definition(proxy={"listen_path": "/{a:(x)}/"}), "$.proxy.listen_path", "capturing group"),
    (definition(proxy={"listen_path": "/{a:[}/"}), "$.proxy.listen_path", "does not compile"),
    (definition(proxy={"listen_path": "/{a:(?=x)}/"}), "$.proxy.listen_path", "not supported"),
    (definition(proxy={"target_url": "up/"}), "$.proxy.target_url", "with a scheme"),
    (definition(proxy={"target_url": "http://up:x/"}), "$.proxy.target_url", "not a valid address"),
    (definition(proxy={"target_url": "http://a b/"}), "$.proxy.target_url", "spaces"),
    (definition(proxy={"target_url": "tyk://self/"}), "$.proxy.target_url", "own target"),
    (
        definition(proxy={"enable_load_balancing": True, "target_list": ["ok", "http://"]}),
        "$.proxy.target_list[1]",
        "no host",
    ),
    (definition(allowed_ips=["1.2.3"]), "$.allowed_ips[0]", "expected an IP address"),
    (
        definition(version_data={"not_versioned": True, "versions": {"D": {"global_headers": {"a b": ""}}}}),
        '$.version_data.versions.D.global_headers["a b"]',
        "not a header name",
    ),
    (
        definition(version_data={"not_versioned": True, "versions": {"D": {"global_enforce_timeout": "5"}}}),
        "$.version_data.versions.D.global_enforce_timeout",
        "expected a duration",
    ),
    (definition(name="env://NOTHING"), "", "env://NOTHING"),
    (definition(name="vault://x"), "", "vault://"),
]


@pytest.mark.parametrize(("bad", "place", "message"), BAD)
def test_bad_file_names_the_field_and_the_previous_version_stays(
    tmp_path: Path, bad: object, place: str, message: str
) -> None:
    write(tmp_path, "a.json", definition())
    first = read_directory(str(tmp_path), OPTIONS, None)
    assert first.findings == []
    write(tmp_path, "a.json", bad)
    write(tmp_path, "b.json", definition("b"))
    second = read_directory(str(tmp_path), OPTIONS, first.snapshot)
    errors = [finding for finding in second.findings if finding.severity == "error"]
    assert ("a.json", place) in [(finding.file, finding.path) for finding in errors]
    assert message in " ".join(finding.message for finding in errors)
    assert paths(second.snapshot) == ["/a/", "/b/"]
    assert second.snapshot.entries["a.json"].raw == first.snapshot.entries["a.json"].raw
    assert second.snapshot.entries["a.json"].failed
    assert any(finding.file == "a.json" for finding in lint(str(tmp_path), OPTIONS))


def test_definition_that_asks_for_access_control_never_stays_open(tmp_path: Path) -> None:
    write(tmp_path, "a.json", definition())
    first = read_directory(str(tmp_path), OPTIONS, None)
    write(tmp_path, "a.json", definition(use_keyless=False, enable_jwt=True))
    second = read_directory(str(tmp_path), OPTIONS, first.snapshot)
    (spec,) = plan_specs(second.snapshot, OPTIONS.compile)
    assert [refuse.kind for refuse in spec.refuse] == ["unsupported"]


def test_deleted_file_takes_its_api_away_and_the_delta_carries_it(tmp_path: Path) -> None:
    write(tmp_path, "a.json", definition("a"))
    write(tmp_path, "b.json", definition("b"))
    first = read_directory(str(tmp_path), OPTIONS, None).snapshot
    (tmp_path / "a.json").unlink()
    write(tmp_path, "c.json", definition("c"))
    second = read_directory(str(tmp_path), OPTIONS, first).snapshot
    delta = pickle.loads(pickle.dumps(second.diff(first)))
    assert delta.removed == ("a.json",)
    assert [entry.file for entry in delta.changed] == ["c.json"]
    assert pickle.loads(pickle.dumps(first)).apply(delta) == second
    assert paths(second) == ["/b/", "/c/"]


def test_missing_directory_is_an_error_and_keeps_everything(tmp_path: Path) -> None:
    write(tmp_path, "a.json", definition())
    first = read_directory(str(tmp_path), OPTIONS, None)
    gone = read_directory(str(tmp_path / "nowhere"), OPTIONS, first.snapshot)
    assert not gone.ok
    assert [finding.severity for finding in gone.findings] == ["error"]
    assert paths(gone.snapshot) == ["/a/"]


def test_unchanged_old_file_is_not_read_again(tmp_path: Path) -> None:
    write(tmp_path, "a.json", definition())
    os.utime(tmp_path / "a.json", (1_000_000, 1_000_000))
    first = read_directory(str(tmp_path), OPTIONS, None).snapshot
    second = read_directory(str(tmp_path), OPTIONS, first).snapshot
    assert second.entries["a.json"] is not None
    assert second.entries["a.json"].raw is first.entries["a.json"].raw
    assert not second.diff(first)


def test_change_within_one_time_stamp_is_seen(tmp_path: Path) -> None:
    write(tmp_path, "a.json", definition("a"))
    state = (tmp_path / "a.json").stat()
    first = read_directory(str(tmp_path), OPTIONS, None).snapshot
    with (tmp_path / "a.json").open("r+") as stream:
        stream.write(json.dumps(definition("b")))
    os.utime(tmp_path / "a.json", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert paths(read_directory(str(tmp_path), OPTIONS, first).snapshot) == ["/b/"]


def test_newcomer_cannot_take_a_listen_path_that_is_served(tmp_path: Path) -> None:
    write(tmp_path, "m.json", definition("m", proxy={"listen_path": "/same/"}))
    first = read_directory(str(tmp_path), OPTIONS, None).snapshot
    write(tmp_path, "a.json", definition("a", proxy={"listen_path": "/same/"}))
    second = read_directory(str(tmp_path), OPTIONS, first).snapshot
    assert paths(second) == ["/same/-a", "/same/"]


def test_same_id_and_path_get_underscores(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        write(tmp_path, f"{name}.json", definition("x"))
    assert paths(read_directory(str(tmp_path), OPTIONS, None).snapshot) == ["/x/", "/x/-x", "/x/-x_"]


def test_companions_pipes_and_other_files_are_not_definitions(tmp_path: Path) -> None:
    write(tmp_path, "a.json", definition())
    write(tmp_path, "a-oas.json", {"openapi": "3.0.3"})
    write(tmp_path, "notes.txt", "{")
    os.mkfifo(tmp_path / "pipe.json")
    result = read_directory(str(tmp_path), OPTIONS, None)
    assert paths(result.snapshot) == ["/a/"]
    assert [(f.file, "regular file" in f.message) for f in result.findings] == [("pipe.json", True)]


def test_inactive_api_is_not_served(tmp_path: Path) -> None:
    write(tmp_path, "a.json", definition(active=False))
    assert paths(read_directory(str(tmp_path), OPTIONS, None).snapshot) == []


def test_bounds_on_file_size_and_count_are_reported(tmp_path: Path) -> None:
    write(tmp_path, "a.json", definition("a"))
    write(tmp_path, "b.json", definition("b"))
    small = ReadOptions(environ={}, max_file_bytes=20, max_files=1)
    result = read_directory(str(tmp_path), small, None)
    assert "at most 1" in result.findings[0].message
    assert "at most 20 bytes" in result.findings[1].message
    assert paths(result.snapshot) == []


def test_references_are_escaped_and_a_new_secret_is_seen(tmp_path: Path) -> None:
    write(tmp_path, "a.json", definition("env://HOST", api_id="secrets://key", proxy={"listen_path": "/a/"}))
    os.utime(tmp_path / "a.json", (1_000_000, 1_000_000))
    first = read_directory(str(tmp_path), OPTIONS, None)
    (spec,) = plan_specs(first.snapshot, OPTIONS.compile)
    assert (spec.name, spec.api_id) == ('h"x', "v1")
    other = ReadOptions(environ=OPTIONS.environ, secrets={"key": "v2"})
    (spec,) = plan_specs(read_directory(str(tmp_path), other, first.snapshot).snapshot, CompileOptions())
    assert spec.api_id == "v2"


def test_script_folder_of_an_api_with_plugins_of_another_kind_refuses_it(tmp_path: Path) -> None:
    apps, scripts = tmp_path / "apps", tmp_path / "middleware" / "a" / "pre"
    apps.mkdir()
    scripts.mkdir(parents=True)
    write(apps, "a.json", definition(custom_middleware={"driver": "python"}))
    write(scripts, "check.js", "")
    options = ReadOptions(environ={}, middleware_path=str(tmp_path / "middleware"))
    (spec,) = plan_specs(read_directory(str(apps), options, None).snapshot, options.compile)
    assert [refuse.reason for refuse in spec.refuse] == ["scripts"]


def test_loops_resolve_by_id_and_name_and_circles_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.json", definition("a", proxy={"target_url": "tyk://Some-Name/p"}))
    write(tmp_path, "b.json", {**definition("b"), "name": "some name #tag"})
    write(tmp_path, "c.json", definition("c", proxy={"target_url": "tyk://d"}))
    write(tmp_path, "d.json", definition("d", proxy={"target_url": "tyk://c"}))
    a, b, c, d = plan_specs(read_directory(str(tmp_path), OPTIONS, None).snapshot, OPTIONS.compile)
    assert (a.loop_target, a.loop_path, a.refuse, b.refuse) == ("b", "/p", (), ())
    assert [refuse.reason for spec in (c, d) for refuse in spec.refuse] == [
        "the tyk:// targets lead in a circle"
    ] * 2


def test_thousand_definitions_round_trip(tmp_path: Path) -> None:
    for number in range(1000):
        write(tmp_path, f"{number:04}.json", definition(f"api{number}"))
    snapshot = read_directory(str(tmp_path), OPTIONS, None).snapshot
    specs = plan_specs(pickle.loads(pickle.dumps(snapshot)), OPTIONS.compile)
    assert [spec.api_id for spec in specs] == [f"api{number}" for number in range(1000)]
    assert all(spec.targets and not spec.refuse for spec in specs)


@pytest.mark.parametrize(
    ("change", "place", "text"),
    [
        ({"use_keylss": True}, "$.use_keylss", "use_keyless"),
        ({"proxy": {"listen_path": "/a"}}, "$.proxy.listen_path", "/ax"),
        ({"internal": True}, "$.internal", "nothing reaches it"),
        ({"active": False}, "$.active", "not served"),
        ({"proxy": {"target_url": "tyk://x"}}, "$.proxy.target_url", "no API has"),
        ({"proxy": {"transport": {"ssl_min_version": 771}}}, "$.proxy.transport", "no effect"),
        (
            {"proxy": {"target_url": "https://u", "transport": {"ssl_insecure_skip_verify": True}}},
            "$.proxy.transport.ssl_insecure_skip_verify",
            "not verified",
        ),
    ],
)
def test_lint_names_the_pitfall(tmp_path: Path, change: dict[str, Any], place: str, text: str) -> None:
    write(tmp_path, "a.json", definition(**change))
    rendered = [f.render() for f in lint(str(tmp_path), OPTIONS) if f.path == place]
    assert rendered
    assert text in " ".join(rendered)


@pytest.mark.parametrize("driver", ["lua", "goplugin"])
def test_hooks_of_a_driver_that_is_not_there_say_which_are(tmp_path: Path, driver: str) -> None:
    write(tmp_path, "a.json", definition(custom_middleware={"driver": driver, "pre": [{"name": "x"}], "post": [{"name": "y"}]}))
    (finding,) = (one for one in lint(str(tmp_path), OPTIONS) if one.severity == "error")
    assert finding.path == "$.custom_middleware.driver"
    assert "expected one of otto, javascript, grpc, python, jsonrpc" in finding.message


def test_tags_of_a_global_hook_that_no_api_has_are_named(tmp_path: Path) -> None:
    write(tmp_path, "a.json", definition(tags=["public"]))
    several = enumerate([(), ("publik",), ("x", "public")])
    hooks = [GlobalHook("pre", "h", tags, "before", at, "it", False, 5.0) for at, tags in several]
    scripts = (GlobalScript("response", "s", ("no",), "after", 3, "x.js", False),)
    plugins = PluginOptions(True, {"it": PluginServer("it", "grpc", None)}, hooks=tuple(hooks), scripts=scripts)
    options = replace(OPTIONS, conf="my.conf", compile=replace(OPTIONS.compile, plugins=plugins))
    found = [one for one in lint(str(tmp_path), options) if one.path.endswith(".tags")]
    assert {(one.severity, one.file) for one in found} == {("warning", "my.conf")}
    assert [one.path for one in found] == [f"$.preforge.plugins.global_hooks[{at}].tags" for at in (1, 3)]


def test_nothing_is_said_of_hooks_that_a_bundle_will_bring(tmp_path: Path) -> None:
    more = {"custom_middleware_bundle": "b.zip", "use_keyless": False, "custom_plugin_auth_enabled": True}
    write(tmp_path, "a.json", definition(**more, custom_middleware={"driver": "lua", "pre": [{"name": "x"}]}))
    for fetching in (True, False):
        options = replace(OPTIONS, fetch_bundles=fetching)
        read = read_directory(str(tmp_path), options, None)
        assert {one.path for one in lint(str(tmp_path), options)} == {"$.custom_middleware_bundle"}
        assert {one.path for one in read.findings} == {"$.custom_middleware_bundle"}
        (spec,) = plan_specs(read.snapshot, options.compile)
        assert [refuse.reason for refuse in spec.refuse] == ["plugin bundle"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["use_keyless", "definition", "version_data", "auth_configs", "domain", "expiration", "listen_port"]
PROXY_KEYS = ["listen_path", "target_url", "target_list", "transport", "enable_load_balancing"]
NEAR = st.fixed_dictionaries(
    {"proxy": JSON | st.dictionaries(st.sampled_from(PROXY_KEYS), JSON)},
    optional=dict.fromkeys(KEYS, JSON),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON | NEAR)
def test_any_json_yields_findings_or_a_plan_and_never_raises(tmp_path: Path, value: object) -> None:
    write(tmp_path, "a.json", value)
    result = read_directory(str(tmp_path), OPTIONS, None)
    specs = plan_specs(result.snapshot, OPTIONS.compile)
    assert specs or result.findings
    assert len(lint(str(tmp_path), OPTIONS)) >= len(result.findings)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.text(max_size=20) | st.text("/{}:[]()*.+a-z?^$\\", max_size=20),
    target=st.text(max_size=20) | st.text("htp:/[]@.1a%?# ", max_size=20).map("http://".__add__),
    host=st.text("{}:[]a.*", max_size=12),
)
def test_any_path_target_and_domain_never_raises(tmp_path: Path, path: str, target: str, host: str) -> None:
    options = ReadOptions(compile=CompileOptions(enable_custom_domains=True), environ={})
    write(tmp_path, "a.json", definition(domain=host, proxy={"listen_path": path, "target_url": target}))
    result = read_directory(str(tmp_path), options, None)
    assert plan_specs(result.snapshot, options.compile) or result.findings
