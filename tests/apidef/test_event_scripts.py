"""JavaScript event handlers: their own program, read and refreshed like all scripts."""

from __future__ import annotations

from typing import Any

from core.apidef.event_scripts import EventScript, EventScriptSpec
from tests.apidef.script_runner import run_entries
from tests.apidef.script_site import ScriptSite, check_only, hook, said

HANDLER = "var h = new TykJS.TykEventHandlers.NewEventHandler({}); h.NewHandler(function(event, context) { seen(event); });"


def handlers(*metas: dict[str, Any], event: str = "AuthFailure") -> dict[str, Any]:
    return {"events": {event: [{"handler_name": "eh_dynamic_handler", "handler_meta": meta} for meta in metas]}}


def events(site: ScriptSite) -> EventScriptSpec:
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
        event_handlers=handlers({"name": "off", "disabled": True}, {"name": "h", "path": "h.js"}, {"name": "h", "path": ""}),
        custom_middleware={"pre": [hook("mw", "m.js")]},
    )
    assert scripted.load() == []
    found = events(scripted)
    assert found.handlers == (EventScript("AuthFailure", 1, "h", 0), EventScript("AuthFailure", 2, "h", 0))
    assert [module.name for module in found.program.modules] == ["w.json"]
    assert [source.name for source in found.program.sources] == ["h.js"]
    assert found.program.library is not None
    assert scripted.loaded() == ["m.js"]
    middleware = scripted.scripts().program
    assert middleware is not None
    assert middleware.modules == ()
    event = {"event": {"Type": "AuthFailure", "Meta": {}}, "context": {"APIID": "a", "OrgID": "o"}}
    (result,) = run_entries(found.program, [(0, "event", event)])
    assert (result.kind, result.error) == ("ok", "")


def test_handlers_that_cannot_run_say_why_and_the_api_is_served(scripted: ScriptSite) -> None:
    metas: list[dict[str, Any]] = [
        {"name": "gone", "path": "gone.js"}, {"name": "a b", "path": ""}, {"name": 1}, {"name": "n", "path": ["x"]},
        {"name": "n"}, {"name": "t", "path": "t.txt"},
    ]  # fmt: skip
    scripted.api(event_handlers=handlers(*metas))
    place = "$.event_handlers.events['AuthFailure']"
    findings = scripted.load()
    assert [path for _, path, _ in said(findings)] == [
        f"{place}[0].handler_meta.path", f"{place}[1].handler_meta.name", f"{place}[2].handler_meta.name",
        f"{place}[3].handler_meta.path", f"{place}[4].handler_meta.path", f"{place}[5].handler_meta.path",
    ]  # fmt: skip
    assert [(one.name, one.position) for one in events(scripted).handlers] == [("gone", 0), ("t", 5)]
    assert sorted(said(scripted.lint())) == sorted(said(findings))


def test_without_enable_jsvm_handlers_do_not_run(scripted: ScriptSite) -> None:
    scripted.set(enable_jsvm=False)
    scripted.api(event_handlers=handlers({"name": "h", "path": "h.js"}))
    check_only(scripted.load(), "$.event_handlers.events['AuthFailure'][0].handler_name", "enable_jsvm is off")
    assert scripted.specs()[0].event_scripts is None


def test_state_is_kept_where_the_api_asks_for_it(scripted: ScriptSite) -> None:
    scripted.file("h.js", "var h;")
    wanted = handlers({"name": "h", "path": "h.js"})
    scripted.api("a", event_handlers=wanted)
    for api_id in ("b", "c"):
        scripted.api(api_id, event_handlers=wanted, preforge={"jsvm": {"isolation": "shared"}})
    assert scripted.load() == []
    programs = {spec.api_id: spec.event_scripts.program for spec in scripted.specs() if spec.event_scripts is not None}
    assert {api_id: program.shared for api_id, program in programs.items()} == {"a": False, "b": True, "c": True}
    assert programs["b"] != programs["c"]


def test_a_shared_program_of_handlers_is_not_that_of_hooks(scripted: ScriptSite) -> None:
    scripted.file("h.js", "var h;")
    scripted.api(
        event_handlers=handlers({"name": "h", "path": "h.js"}), custom_middleware={"pre": [hook("h", "h.js")]},
        preforge={"jsvm": {"isolation": "shared"}},
    )  # fmt: skip
    assert scripted.load() == []
    middleware, own = scripted.scripts().program, events(scripted).program
    assert middleware is not None
    assert (middleware.sources, middleware.shared) == (own.sources, own.shared)
    assert middleware != own


def test_modules_with_one_name_are_reported_where_the_handlers_stand(scripted: ScriptSite) -> None:
    for folder in ("x", "y"):
        scripted.file(f"{folder}/h.js", f"var {folder} = require('./m.js');")
        scripted.file(f"{folder}/m.js", f"exports.name = '{folder}';")
    scripted.api(event_handlers=handlers({"name": "x", "path": "x/h.js"}, {"name": "y", "path": "y/h.js"}))
    check_only(scripted.load(), "$.event_handlers.events", "share one scope")


def test_edited_handler_counts_from_the_next_load(scripted: ScriptSite) -> None:
    scripted.file("h.js", "var h = 1;")
    scripted.api(event_handlers=handlers({"name": "h", "path": "h.js"}))
    scripted.load()
    scripted.file("h.js", "var h = 22;")
    scripted.load()
    assert [source.text for source in events(scripted).program.sources] == ["var h = 22;"]


def test_other_handlers_need_no_program(scripted: ScriptSite) -> None:
    handler = {"handler_name": "eh_log_handler", "handler_meta": {"prefix": "x"}}
    scripted.api(event_handlers={"events": {"AuthFailure": [handler]}})
    assert scripted.load() == []
    assert scripted.specs()[0].event_scripts is None
