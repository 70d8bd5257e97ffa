"""What the compile step makes of scripts runs as it says, in real contexts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.apidef.scripts import VirtualSpec
from jsvm_pool.pool import CallResult
from tests.apidef.script_runner import run_entries
from tests.apidef.script_site import ScriptSite, blob, hook, virtual

REQUEST = {
    "Headers": {}, "SetHeaders": {}, "DeleteHeaders": [], "Body": "", "URL": "/", "Params": {}, "AddParams": {},
    "ExtendedParams": {}, "DeleteParams": [], "ReturnOverrides": {}, "IgnoreBody": False, "Method": "GET",
}  # fmt: skip


def results(site: ScriptSite, calls: list[tuple[int, str, dict[str, Any]]]) -> list[CallResult]:
    """Run entries of the API's program: (entry, mode, payload) each."""
    program = site.scripts().program
    assert program is not None
    return run_entries(program, calls)


def headers(site: ScriptSite) -> list[dict[str, str]]:
    """SetHeaders after each hook of the API by itself."""
    config = json.loads(site.scripts().config)
    payload = {"request": REQUEST, "session": {}, "config": config, "extra": {}}
    found = results(site, [(one.entry, "request", payload) for one in site.scripts().hooks])
    assert [result.error for result in found] == [""] * len(found)
    return [json.loads(result.text or b"{}")["Request"]["SetHeaders"] for result in found]


def script(name: str, value: str) -> str:
    return (
        f"var {name} = new TykJS.TykMiddleware.NewMiddleware({{}});"
        f"{name}.NewProcessRequest(function(request, session, config) {{"
        f"request.SetHeaders['X'] = '' + ({value}); return {name}.ReturnData(request, {{}}); }});"
    )


def test_namesakes_in_two_files_both_run(scripted: ScriptSite) -> None:
    scripted.file("a/a.js", "var which = require('./w');" + script("handler", "which"))
    scripted.file("b/b.js", "var which = require('./w');" + script("handler", "which"))
    scripted.file("c.js", script("other", "typeof which"))
    scripted.file("a/w.js", "module.exports = 'first'")
    scripted.file("b/w.js", "module.exports = 'second'")
    hooks = {"pre": [hook("handler", "a/a.js"), hook("other", "c.js")], "post": [hook("handler", "b/b.js")]}
    scripted.api(custom_middleware={"driver": "javascript", **hooks})
    assert scripted.load() == []
    assert headers(scripted) == [{"X": "first"}, {"X": "undefined"}, {"X": "second"}]


def test_library_modules_and_config_reach_the_hooks(scripted: ScriptSite) -> None:
    scripted.reading(tyk_js_path="top.js")
    scripted.file("top.js", "var greeting = require('./words.json').hello;")
    scripted.file("words.json", '{"hello": "good day"}')
    scripted.file("lib/m.js", "var shout = require('shout');" + script("mw", "shout(greeting) + config.config_data.mark"))
    scripted.file("lib/node_modules/shout/package.json", '{"main": "src"}')
    scripted.file("lib/node_modules/shout/src/index.js", "module.exports = require('./up')")
    scripted.file("lib/node_modules/shout/src/up.js", "module.exports = function(s) { return s.toUpperCase() }")
    scripted.api(custom_middleware={"pre": [hook("mw", "lib/m.js")]}, config_data={"mark": "!"})
    assert scripted.load() == []
    assert headers(scripted) == [{"X": "GOOD DAY!"}]


def test_missing_and_broken_scripts_fail_their_own_hooks_only(scripted: ScriptSite) -> None:
    scripted.file("bad.js", "var broken = {")
    scripted.file("good.js", script("mw", "1"))
    hooks = [hook("gone", "gone.js"), hook("broken", "bad.js"), hook("mw", "good.js")]
    scripted.api(custom_middleware={"driver": "otto", "pre": hooks})
    scripted.load()
    payload = {"request": REQUEST, "session": {}, "config": {}, "extra": {}}
    found = results(scripted, [(one.entry, "request", payload) for one in scripted.scripts().hooks])
    assert [result.kind for result in found] == ["error", "error", "ok"]
    assert "gone is not defined" in found[0].error


@pytest.mark.parametrize("expression", ["v", "nested.v", 'nested["v"]', "this.v", "globalThis.v"])
def test_virtual_function_is_found_by_its_expression(scripted: ScriptSite, expression: str) -> None:
    text = "function v() { return TykJsResponse({Body: 'b', Code: 201}, {}); } var nested = {v: v}; this.v = v;"
    scripted.api(virtuals=[virtual(expression, blob(text), "blob")])
    assert scripted.load() == []
    (endpoint,) = scripted.specs()[0].endpoints
    assert isinstance(endpoint.data, VirtualSpec)
    (result,) = results(scripted, [(endpoint.data.entry, "virtual", {"request": {}, "session": {}, "config": {}})])
    assert json.loads(result.text or result.error)["Response"]["Code"] == 201
