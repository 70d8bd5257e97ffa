"""Plugin hooks of definitions: which server they lead to, and what is said of what cannot be (tyk-plugins 3.1, 3.7)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.apidef.bundles import AppliedBundle
from core.apidef.compile import Report
from core.apidef.decode import decode
from core.apidef.plugins import PluginCompiler, PluginSpec
from core.config.global_hooks import GlobalHook
from core.config.plugins import DEFAULTS, PluginOptions, PluginServer
from core.findings import Finding

SERVERS = {
    DEFAULTS["grpc"]: PluginServer("coprocess_grpc_server", "grpc", None),
    "tcp": PluginServer("tcp", "grpc", None),
    "rpc": PluginServer("rpc", "jsonrpc", None),
    DEFAULTS["python"]: PluginServer("python", "python", None, bundled=True),
}
ON = PluginOptions(True, SERVERS)
OFF = PluginOptions(False, SERVERS)
BUNDLE = AppliedBundle("/bundles/abc", "abc", b"{}", {"/bundles/abc/m.py": "1", "/bundles/abc/vendor/v.py": "3"}, ("m.py",))


def compiled(
    section: dict[str, Any], options: PluginOptions = ON, bundle: AppliedBundle | None = None, **more: Any
) -> tuple[PluginSpec | None, list[Finding]]:
    text = {"api_id": "a", "org_id": "o", "use_keyless": True, "custom_middleware": section, **more}
    definition, findings = decode(json.dumps(text).encode(), "a.json")
    assert definition is not None
    report = Report("a.json")
    return PluginCompiler(definition, options, bundle, report).compile(), [*findings, *report.findings]


def at(server: str = "", deadline: float = 0.0) -> dict[str, Any]:
    return {"preforge": {"plugins": {"server": server, "deadline": deadline}}}


def test_an_api_without_plugins_has_none() -> None:
    assert compiled({}) == (None, [])
    assert compiled({"driver": "otto", "pre": [{"name": "x"}]}) == (None, [])


def test_hooks_keep_the_order_of_their_lists() -> None:
    names = {kind: [{"name": f"{kind}{n}"} for n in (1, 2)] for kind in ("pre", "post", "response")}
    spec, findings = compiled({"driver": "grpc", **names, "post_key_auth": [{"name": "off", "disabled": True}]})
    assert spec is not None
    assert findings == []
    assert [hook.name for hook in spec.of("pre")] == ["pre1", "pre2"]
    assert [hook.name for hook in spec.of("response")] == ["response1", "response2"]
    assert len(spec.hooks) == 6
    assert {hook.server for hook in spec.hooks} == {DEFAULTS["grpc"]}


def test_the_hook_chooses_before_its_api_before_the_configuration() -> None:
    section = {"driver": "grpc", "pre": [{"name": "own", **at("rpc", 1)}, {"name": "api"}, {"name": "mixed", **at("", 3)}]}
    spec, _ = compiled(section, **at("tcp", 2))
    assert spec is not None
    assert [(hook.driver, hook.server, hook.deadline) for hook in spec.hooks] == [
        ("jsonrpc", "rpc", 1.0), ("grpc", "tcp", 2.0), ("grpc", "tcp", 3.0),
    ]  # fmt: skip
    (hook,) = compiled({"driver": "jsonrpc", "pre": [{"name": "x", "raw_body_only": True}]})[0].hooks  # type: ignore[union-attr]
    assert (hook.server, hook.deadline, hook.raw_body_only) == ("rpc", 5.0, True)


@pytest.mark.parametrize(
    ("hook", "more", "place", "said"),
    [
        ({"name": ""}, {}, "$.custom_middleware.pre[0].name", "expected the name of a hook"),
        ({"name": "x", **at("nobody")}, {}, "$.custom_middleware.pre[0].preforge.plugins.server", "no server 'nobody'"),
        ({"name": "x"}, at("nobody"), "$.preforge.plugins.server", "which has rpc, tcp"),
    ],
)
def test_a_hook_that_leads_nowhere_is_kept_and_named(hook: Any, more: Any, place: str, said: str) -> None:
    spec, (finding,) = compiled({"driver": "grpc", "pre": [hook]}, **more)
    assert spec is not None
    assert spec.hooks[0].problem
    assert (finding.severity, finding.path) == ("error", place)
    assert said in finding.message
    assert "every request is answered with 500" in finding.message


@pytest.mark.parametrize("deadline", [-1, 3601])
def test_a_deadline_out_of_bounds_keeps_the_definition_from_being_served(deadline: float) -> None:
    _, (finding,) = compiled({"driver": "grpc", "pre": [{"name": "x", **at("", deadline)}]})
    assert finding.path == "$.custom_middleware.pre[0].preforge.plugins.deadline"
    assert "at most 3600 seconds" in finding.message


@pytest.mark.parametrize("driver", ["grpc", "jsonrpc", "python"])
def test_a_driver_without_a_server_is_named(driver: str) -> None:
    spec, (finding,) = compiled({"driver": driver, "post": [{"name": "x"}]}, PluginOptions(True))
    assert spec is not None
    assert spec.hooks[0].problem
    assert f"driver {driver}" in finding.message


def test_a_server_of_the_configuration_that_cannot_be_used_is_said_of_each_api() -> None:
    options = PluginOptions(True, {}, {DEFAULTS["grpc"]: "no target"})
    spec, (finding,) = compiled({"driver": "grpc", "pre": [{"name": "x"}]}, options)
    assert spec is not None
    assert spec.hooks[0].problem == "no target"
    assert "no target" in finding.message


def test_python_runs_the_code_of_the_bundle() -> None:
    section = {"driver": "python", "pre": [{"name": "x"}]}
    spec, findings = compiled(section, ON, BUNDLE)
    assert spec is not None
    assert findings == []
    assert (spec.hooks[0].server, spec.hooks[0].problem) == (DEFAULTS["python"], "")
    assert spec.bundle.directory == "/bundles/abc"
    assert spec.bundle.files == {"m.py": "1", "vendor/v.py": "3"}
    assert spec.bundle.listed == ("m.py",)
    assert dict(spec.about)["bundle_hash"] == "abc"
    other = compiled(section, ON, AppliedBundle("/bundles/abc", "abc", b"{}", {"/bundles/abc/m.py": "2"}))[0]
    assert other is not None
    assert other.bundle != spec.bundle
    alone, (finding,) = compiled(section)
    assert alone is not None
    assert alone.hooks[0].problem
    assert "custom_middleware_bundle" in finding.message


def test_what_never_runs_is_said() -> None:
    spec, (finding,) = compiled({"driver": "grpc", "post_key_auth": [{"name": "x"}]})
    assert spec is None
    assert finding.severity == "warning"
    assert "keyless" in finding.message


@pytest.mark.parametrize(
    ("more", "said"), [({"use_keyless": False}, "custom_plugin_auth_enabled is off"), ({"use_keyless": True}, "keyless")]
)
def test_an_auth_hook_that_never_runs_is_said(more: Any, said: str) -> None:
    spec, (finding,) = compiled({"driver": "grpc", "auth_check": {"name": "a"}}, **more)
    assert spec is None
    assert (finding.severity, finding.path) == ("warning", "$.custom_middleware.auth_check")
    assert said in finding.message
    assert compiled({"driver": "grpc", "auth_check": {"name": "a", "disabled": True}}, **more) == (None, [])
    asked = {**more, "use_keyless": False, "custom_plugin_auth_enabled": True}
    found, findings = compiled({"driver": "grpc", "auth_check": {"name": "a"}}, **asked)
    assert found is not None
    assert ([hook.kind for hook in found.hooks], findings) == (["auth_check"], [])


def test_a_script_among_hooks_of_another_driver_is_said() -> None:
    section = {"driver": "grpc", "pre": [{"name": "x"}, {"name": "greet", "path": "middleware/greet.js"}]}
    spec, (finding,) = compiled(section)
    assert spec is not None
    assert (finding.severity, finding.path) == ("warning", "$.custom_middleware.pre[1].path")
    assert "by the name of the hook alone" in finding.message
    assert compiled({**section, "driver": "python"}, ON, BUNDLE)[1] == []


def test_a_server_of_another_driver_than_the_hooks_is_said() -> None:
    spec, (finding,) = compiled({"driver": "grpc", "pre": [{"name": "x"}]}, **at("rpc"))
    assert spec is not None
    assert spec.hooks[0].driver == "jsonrpc"
    assert (finding.severity, finding.path) == ("warning", "$.custom_middleware.driver")
    assert "the server has the driver jsonrpc" in finding.message


def test_without_enable_coprocess_only_response_hooks_are_left() -> None:
    section = {"driver": "grpc", "pre": [{"name": "x"}], "response": [{"name": "y"}]}
    spec, findings = compiled(section, OFF)
    assert spec is not None
    assert [(hook.kind, bool(hook.problem)) for hook in spec.hooks] == [("response", True)]
    assert [finding.path for finding in findings] == ["$.custom_middleware.pre[0]"]
    assert "enable_coprocess is off" in findings[0].message


def test_the_map_of_the_messages() -> None:
    section = {"driver": "grpc", "pre": [{"name": "x"}]}

    def about(**more: Any) -> dict[str, str]:
        spec = compiled(section, **more)[0]
        assert spec is not None
        return dict(spec.about)

    assert about() == {"OrgID": "o", "APIID": "a", "bundle_hash": "d41d8cd98f00b204e9800998ecf8427e"}
    assert about(config_data={"b": 1, "a": "<"})["config_data"] == '{"a":"\\u003c","b":1}'
    assert "config_data" not in about(config_data={})
    assert "config_data" not in about(config_data={"a": 1}, config_data_disabled=True)


def test_global_hooks_are_added_by_tag_and_place() -> None:
    hooks = (
        GlobalHook("pre", "all", (), "before", 0, "tcp", False, 1.0),
        GlobalHook("pre", "some", ("t", "u"), "after", 1, "rpc", True, 2.0),
        GlobalHook("post_key_auth", "keys", (), "before", 2, "tcp", False, 1.0),
    )
    options = PluginOptions(True, SERVERS, hooks=hooks)
    bare, findings = compiled({}, options)
    assert bare is not None
    assert findings == []
    assert [(hook.name, hook.driver, hook.position) for hook in bare.hooks] == [("all", "grpc", "before")]
    tagged, _ = compiled({"driver": "grpc", "pre": [{"name": "own"}]}, options, tags=["u"], use_keyless=False)
    assert tagged is not None
    assert [hook.name for hook in tagged.hooks] == ["all", "keys", "own", "some"]
    assert [hook.name for hook in tagged.of("pre", "after")] == ["some"]
    assert (tagged.hooks[-1].raw_body_only, tagged.hooks[-1].deadline) == (True, 2.0)


@pytest.mark.parametrize(
    ("meta", "options", "field", "said"),
    [
        ({}, ON, "handler_meta.name", "expected the name"),
        ({"name": 3}, ON, "handler_meta.name", "expected the name"),
        ({"name": "h"}, OFF, "handler_name", "enable_coprocess is off"),
    ],
)
def test_a_handler_that_cannot_be_called_is_left_out_and_named(meta: Any, options: Any, field: str, said: str) -> None:
    events = {"events": {"AuthFailure": [{"handler_name": "cp_dynamic_handler", "handler_meta": meta}]}}
    spec, (finding,) = compiled({"driver": "grpc"}, options, event_handlers=events)
    assert spec is None
    assert finding.path == f"$.event_handlers.events['AuthFailure'][0].{field}"
    assert said in finding.message


def test_handlers_keep_their_place_in_the_list() -> None:
    handler = {"handler_name": "cp_dynamic_handler", "handler_meta": {"name": "h"}}
    events = {"events": {"AuthFailure": [{"handler_name": "eh_log_handler"}, handler], "KeyExpired": [handler]}}
    spec, findings = compiled({"driver": "grpc"}, event_handlers=events)
    assert spec is not None
    assert findings == []
    assert [(one.event, one.position, one.name) for one in spec.events] == [("AuthFailure", 1, "h"), ("KeyExpired", 0, "h")]
