"""JavaScript event handlers: their own program, read and refreshed like all scripts."""

from __future__ import annotations

from typing import Any

from core.apidef.event_scripts import EventHook, EventScripts
from tests.apidef.script_runner import run_entries
from tests.apidef.script_site import ScriptSite, check_only, hook, said

HANDLER = "var h = new TykJS.TykEventHandlers.NewEventHandler({}); h.NewHandler(function(event, context) { seen(event); });"


def handlers(*metas: dict[str, Any], event: str = "AuthFailure") -> dict[str, Any]:
    return {"events": {event: [{"handler_name": "eh_dynamic_handler", "handler_meta": meta} for meta in metas]}}


def events(site: ScriptSite) -> EventScripts:
    (spec,) = site.specs()
    assert spec.event_scripts is not None
    return spec.event_scripts


def test_handlers_have_a_program_of_their_own(scripted: ScriptSite) -> None:
    scripted.reading(tyk_js_path="top.js")
    scripted.file("top.js", "function seen(event) {}")
    scripted.file("h.js", "var words = require('./w.json'); " + HANDLER)
    scripted.file("w.json", "[1]")
    scripted.file("m.js", "var mw;")
    scripted.api(
        event_handlers=handlers({"name": "h", "path": "h.js"}, {"name": "h", "path": ""}, {"name": "off", "disabled": True}),
        custom_middleware={"pre": [hook("mw", "m.js")]},
    )
    assert scripted.load() == []
    found = events(scripted)
    assert found.hooks == (EventHook("h", "h.js", 0), EventHook("h", "", 0))
    assert found.find("h", "h.js") is found.hooks[0]
    assert found.find("h", "other.js") is None
    assert found.program is not None
    assert [source.name for source in found.program.sources] == ["h.js"]
    assert found.program.library is not None
    assert scripted.loaded() == ["m.js"]
    event = {"event": {"Type": "AuthFailure", "Meta": {}}, "context": {"APIID": "a", "OrgID": "o"}}
    (result,) = run_entries(found.program, [(0, "event", event)])
    assert (result.kind, result.error) == ("ok", "")


def test_handlers_that_cannot_run_say_why_and_the_api_is_served(scripted: ScriptSite) -> None:
    metas = [{"name": "gone", "path": "gone.js"}, {"name": "a b", "path": ""}, {"name": 1}, {"name": "n", "path": ["x"]}]
    scripted.api(event_handlers=handlers(*metas))
    place = "$.event_handlers.events['AuthFailure']"
    findings = scripted.load()
    assert [path for _, path, _ in said(findings)] == [
        f"{place}[0].handler_meta.path", f"{place}[1].handler_meta.name", f"{place}[2].handler_meta.name",
        f"{place}[3].handler_meta.path",
    ]  # fmt: skip
    assert [(one.name, bool(one.problem)) for one in events(scripted).hooks] == [("gone", False), ("a b", True)]
    assert sorted(said(scripted.lint())) == sorted(said(findings))


def test_without_enable_jsvm_handlers_do_not_run(scripted: ScriptSite) -> None:
    scripted.set(enable_jsvm=False)
    scripted.api(event_handlers=handlers({"name": "h", "path": "h.js"}))
    check_only(scripted.load(), "$.event_handlers.events['AuthFailure'][0].handler_meta", "enable_jsvm is off", "warning")
    found = events(scripted)
    assert (found.program, "enable_jsvm" in found.hooks[0].problem) == (None, True)


def test_edited_handler_counts_from_the_next_load(scripted: ScriptSite) -> None:
    scripted.file("h.js", "var h = 1;")
    scripted.api(event_handlers=handlers({"name": "h", "path": "h.js"}))
    scripted.load()
    scripted.file("h.js", "var h = 22;")
    scripted.load()
    program = events(scripted).program
    assert program is not None
    assert [source.text for source in program.sources] == ["var h = 22;"]


def test_other_handlers_need_no_program(scripted: ScriptSite) -> None:
    handler = {"handler_name": "eh_log_handler", "handler_meta": {"prefix": "x"}}
    scripted.api(event_handlers={"events": {"AuthFailure": [handler]}})
    assert scripted.load() == []
    assert scripted.specs()[0].event_scripts is None
