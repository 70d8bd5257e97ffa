"""JavaScript in global hooks: which API gets what, and what is said of scripts that cannot run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from core.apidef import Snapshot
from core.apidef.scripts import ScriptSpec
from core.config.global_hooks import PLACE, GlobalScript
from core.config.plugins import PluginOptions
from core.findings import Finding
from tests.apidef.script_site import ScriptSite

MW = "var {0} = new TykJS.TykMiddleware.NewMiddleware({{}});"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptSite:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "apps").mkdir()
    return ScriptSite(tmp_path)


def given(site: ScriptSite, *scripts: GlobalScript) -> None:
    site.set(plugins=PluginOptions(scripts=scripts))


def script(name: str, path: str, at: int = 0, *, kind: str = "pre", tags: tuple[str, ...] = ()) -> GlobalScript:
    return GlobalScript(kind, name, tags, "before", at, path, False)


def found(site: ScriptSite) -> dict[str, ScriptSpec | None]:
    return {spec.api_id: spec.global_scripts for spec in site.specs()}


def about(findings: list[Finding]) -> list[tuple[str, str, str]]:
    return [(one.severity, one.file, one.path) for one in findings]


def test_apis_get_what_is_for_all_and_what_their_tags_ask_for(site: ScriptSite) -> None:
    site.file("all.js", MW.format("all"))
    site.file("some.js", MW.format("some"))
    key = script("all", "all.js", 2, kind="post_key_auth")
    given(site, script("all", "all.js"), script("some", "some.js", 1, tags=("t", "u")), key)
    site.api("bare")
    site.api("tagged", tags=["x", "u"], config_data={"k": 1})
    site.api("keyed", use_keyless=False)
    assert site.load() == []
    specs = found(site)
    named = {name: [(hook.kind, hook.name, hook.at) for hook in spec.hooks] for name, spec in specs.items() if spec}
    both = [("pre", "all", 0), ("pre", "some", 1)]
    assert named == {"bare": both[:1], "tagged": both, "keyed": [both[0], ("post_key_auth", "all", 2)]}
    bare, tagged = specs["bare"], specs["tagged"]
    assert bare is not None
    assert tagged is not None
    assert bare.program is tagged.program       # compiled once for all APIs
    assert b'"config_data":{"k":1}' in tagged.config


def test_no_api_has_global_scripts_unless_they_are_asked_for(site: ScriptSite) -> None:
    site.api("a")
    assert site.load() == []
    assert found(site) == {"a": None}


@pytest.mark.parametrize(
    ("path", "name", "place", "why"),
    [
        ("absent.js", "mw", ".path", "does not exist"),
        ("there.txt", "mw", ".path", "must end with .js"),
        ("there.js", "not a name", ".name", "does not name an object"),
    ],
)
def test_a_script_that_cannot_run_refuses_the_requests_of_all_that_have_it(
    site: ScriptSite, path: str, name: str, place: str, why: str
) -> None:
    site.file("there.js", MW.format("mw"))
    site.file("there.txt", MW.format("mw"))
    given(site, script("mw", "there.js"), script(name, path, 1))
    site.api("a")
    findings = site.load()
    assert about(findings) == [("error", "tyk.conf", f"{PLACE}[1]{place}")]
    assert why in findings[0].message
    spec = found(site)["a"]
    assert spec is not None
    good, bad = spec.hooks
    assert (good.problem, why in bad.problem) == ("", True)
    assert set(about(site.lint())) >= set(about(findings))


def test_a_name_that_no_script_has_is_said_before_it_fails(site: ScriptSite) -> None:
    site.file("a.js", MW.format("other"))
    given(site, script("mw", "a.js"))
    (finding,) = site.load()
    assert (finding.severity, finding.path) == ("warning", f"{PLACE}[0].name")


def test_scripts_with_the_same_names_do_not_get_into_each_others_way(site: ScriptSite) -> None:
    site.file("a/mw.js", MW.format("mw"))
    site.file("b/mw.js", MW.format("mw") + "// other")
    given(site, script("mw", "a/mw.js"), script("mw", "b/mw.js", 1))
    site.api("a")
    assert site.load() == []
    spec = found(site)["a"]
    assert spec is not None
    assert spec.program is not None
    assert len({hook.entry for hook in spec.hooks}) == 2
    assert all(source.exports for source in spec.program.sources)


def test_an_edited_script_reaches_the_workers_though_no_definition_has_changed(site: ScriptSite) -> None:
    site.file("mw.js", MW.format("mw") + "// one")
    given(site, script("mw", "mw.js"))
    site.api("a")
    site.load()
    before = site.snapshot
    assert before is not None
    site.file("mw.js", MW.format("mw") + "// three")
    site.load()
    assert site.snapshot is not None
    delta = pickle.loads(pickle.dumps(site.snapshot.diff(before)))
    assert delta
    site.snapshot = before.apply(delta)
    spec = found(site)["a"]
    assert spec is not None
    assert spec.program is not None
    assert [source.text.endswith("// three") for source in spec.program.sources] == [True]
    assert [text for text in site.snapshot.texts.values() if text.endswith("// one")] == []


def test_a_worker_that_starts_later_gets_the_same_scripts(site: ScriptSite) -> None:
    site.file("mw.js", MW.format("mw"))
    given(site, script("mw", "mw.js"))
    site.api("a")
    site.load()
    expected = found(site)
    assert expected["a"] is not None
    assert site.snapshot is not None
    sent = pickle.loads(pickle.dumps(site.snapshot.diff(Snapshot())))
    site.snapshot = Snapshot().apply(sent)
    assert found(site) == expected
