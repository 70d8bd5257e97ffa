"""The option table and the loader (tyk-core 1.1)."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import ConfigError, load
from core.config.lint import lint
from core.config.load import changed
from core.config.render import main as render
from core.config.table import options

GOOD: dict[str, Any] = {"listen_port": 8080, "app_path": "apps", "secret": "s"}


def written(tmp_path: Path, document: object) -> str:
    path = tmp_path / "tyk.conf"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def refused(tmp_path: Path, document: object, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, document), environ)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("http_server_options.read_timeout", "TYK_GW_HTTPSERVEROPTIONS_READTIMEOUT"),
        ("drl_threshold", "TYK_GW_DRLTHRESHOLD"),
        ("http_server_options.ssl_ciphers", "TYK_GW_HTTPSERVEROPTIONS_CIPHERS"),
        ("max_idle_connections_per_host", "TYK_GW_MAXIDLECONNSPERHOST"),
        ("storage.optimisation_max_idle", "TYK_GW_STORAGE_MAXIDLE"),
        ("enable_separate_cache_store", "TYK_GW_ENABLESEPERATECACHESTORE"),
        ("suppress_default_org_store", "TYK_GW_SUPRESSDEFAULTORGSTORE"),
        ("preforge.limits.max_head_bytes", "TYK_GW_PREFORGE_LIMITS_MAXHEADBYTES"),
    ],
)
def test_environment_names_follow_tyk(path: str, name: str) -> None:
    assert options()[path].environment == name


def test_no_two_options_share_an_environment_name() -> None:
    names = [option.environment for option in options().values()]
    assert len(names) == len(set(names))


def test_every_option_says_what_it_does() -> None:
    assert [o.path for o in options().values() if not o.doc.endswith(".")] == []
    assert {o.effect for o in options().values()} == {"swap", "restart"}
    assert {o.support for o in options().values()} == {"used", "accepted", "ignored"}


def test_generated_files_are_not_stale() -> None:
    assert render(["--check"]) == 0


def test_example_is_loaded_without_a_finding() -> None:
    loaded = load("tyk.conf.example", {})
    assert loaded.findings == []
    assert loaded.config.listen_port == 8080


def test_environment_beats_the_file_and_the_command_line_beats_both(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD | {"proxy_ssl_ciphers": ["A"]})
    environ = {"TYK_GW_LISTENPORT": "9090", "TYK_GW_PROXYSSLCIPHERSUITES": "X, Y", "TYK_GW_ENABLECUSTOMDOMAINS": "true"}
    config = load(path, environ).config
    assert (config.listen_port, config.proxy_ssl_ciphers, config.enable_custom_domains) == (9090, ["X", "Y"], True)
    assert load(path, {}, port=7070).config.listen_port == 7070


def test_omitted_file_leaves_the_environment_alone(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD | {"secret": "from the file"})
    environ = {"TYK_GW_OMITCONFIGFILE": "true", "TYK_GW_LISTENPORT": "1234", "TYK_GW_APPPATH": "x"}
    config = load(path, environ).config
    assert (config.listen_port, config.secret, config.app_path) == (1234, "", "x")


def test_keys_match_without_regard_to_case(tmp_path: Path) -> None:
    config = load(written(tmp_path, {"LISTEN_PORT": 80, "App_Path": "a", "HTTP_Server_Options": {"USE_ssl": False}}), {})
    assert config.config.listen_port == 80


def test_zero_means_the_default_where_tyk_fills_it_in(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD | {"proxy_default_timeout": 0, "health_check_endpoint_name": ""}), {}).config
    assert (config.proxy_default_timeout, config.health_check_endpoint_name) == (30, "hello")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"listen_port": "80"}, ["$.listen_port", "expected an integer", "string"]),
        ({"listen_port": 70000}, ["$.listen_port", "0 to 65535"]),
        ({"listen_port": 0}, ["$.listen_port", '"listen_port": 8080']),
        ({"app_path": ""}, ["$.app_path"]),
        ({"control_api_port": 8080}, ["$.control_api_port", "$.listen_port"]),
        ({"http_server_options": {"use_ssl": True}}, ["$.http_server_options.use_ssl", "certificate"]),
        ({"http_server_options": {"min_version": 5}}, ["$.http_server_options.min_version", "771"]),
        ({"preforge": {"listener": "both"}}, ["$.preforge.listener", "'shared'"]),
        ({"preforge": {"metrics": {"allow": ["10.0.0.0/99"]}}}, ["$.preforge.metrics.allow[0]", "10.0.0.0/99"]),
        ({"preforge": {"timeouts": {"idle": -1}}}, ["$.preforge.timeouts.idle", "negative"]),
        ({"secret": "env://NOWHERE"}, ["$.secret", "TYK_SECRET_NOWHERE"]),
        ({"secret": "vault://x"}, ["$.secret", "env://"]),
        ({"secret": "file://../../etc/passwd", "kv": {"file": {"base_path": "/tmp"}}}, ["$.secret", "base_path"]),
    ],
)
def test_what_cannot_be_used_is_named_with_file_and_field(
    tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    text = refused(tmp_path, GOOD | change)
    assert all(word in text for word in [str(tmp_path), *words]), text


def test_syntax_errors_say_the_line(tmp_path: Path) -> None:
    assert "line 2" in refused(tmp_path, '{"listen_port": 1,\n "app_path" "x"}')


def test_bad_environment_value_names_the_variable(tmp_path: Path) -> None:
    assert "TYK_GW_LISTENPORT" in refused(tmp_path, GOOD, TYK_GW_LISTENPORT="many")


def test_references_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    kv = {"kv": {"file": {"base_path": str(tmp_path)}}, "secrets": {"a": "from the map"}}
    values = {"env://x": "from the environment", "secrets://a": "from the map", "file://token": "from a file"}
    for reference, value in values.items():
        config = load(written(tmp_path, GOOD | kv | {"secret": reference}), {"TYK_SECRET_X": "from the environment"}).config
        assert config.secret == value


def test_unknown_keys_are_warned_of_with_a_suggestion(tmp_path: Path) -> None:
    findings = load(written(tmp_path, GOOD | {"listen_adress": "x"}), {}).findings
    assert [(f.severity, f.path) for f in findings] == [("warning", "$.listen_adress")]
    assert "listen_address" in findings[0].suggestion


def test_config_cannot_be_changed_and_survives_pickling(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD), {}).config
    with pytest.raises(AttributeError):
        config.listen_port = 1
    with pytest.raises(AttributeError):
        _ = config.no_such_option
    assert pickle.loads(pickle.dumps(config)) == config


def test_changed_options_are_told_with_their_effect(tmp_path: Path) -> None:
    old = load(written(tmp_path, GOOD), {}).config
    new = load(written(tmp_path, GOOD | {"listen_port": 81, "close_connections": True}), {}).config
    assert {(o.path, o.effect) for o in changed(old, new)} == {("listen_port", "restart"), ("close_connections", "swap")}


def test_lint_reports_risks_and_options_without_effect(tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir()
    document = GOOD | {"app_path": str(tmp_path / "apps"), "secret": "", "proxy_ssl_insecure_skip_verify": True,
                       "enable_rate_limit_smoothing": True, "hash_keys": True,
                       "template_path": str(tmp_path / "none")}  # fmt: skip
    config, findings = lint(written(tmp_path, document), {})
    assert config is not None
    assert {f.path for f in findings} >= {"$.secret", "$.proxy_ssl_insecure_skip_verify", "$.template_path",
                                           "$.enable_rate_limit_smoothing", "$.hash_key_function"}  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(
        {name for path in options() for name in path.split(".")})), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_no_document_brings_the_loader_down(tmp_path_factory: pytest.TempPathFactory, document: object) -> None:
    findings = lint(written(tmp_path_factory.mktemp("any"), document), {})[1]
    usable = isinstance(document, dict) and not any(finding.severity == "error" for finding in findings)
    assert usable or any(finding.severity == "error" for finding in findings)
