"""Reading scripts from disk: what is noticed at a reload, what is read again, what is sent to workers."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from core.apidef import Snapshot, script_files
from core.apidef.files import read_regular
from core.apidef.snapshot import Delta
from jsvm_pool.program import Module
from tests.apidef.script_site import ScriptSite, check_only, hook, said, virtual

MW = "var mw = 1;"


def sent(new: Snapshot | None, old: Snapshot | None) -> Delta:
    """What a worker is sent, which leads it to the same snapshot."""
    assert new is not None
    assert old is not None
    delta: Delta = pickle.loads(pickle.dumps(new.diff(old)))
    assert pickle.loads(pickle.dumps(old)).apply(delta) == new
    return delta


def aged(*paths: Path) -> None:
    """Make files so old that their time stamps are believed."""
    for path in paths:
        os.utime(path, (time.time() - 60, time.time() - 60))


def source(site: ScriptSite, name: str = "a") -> str:
    program = site.scripts(name).program
    assert program is not None
    (one,) = program.sources
    return one.text


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the scripts that are read, the real reading goes on."""
    paths: list[str] = []

    def reading(path: str, limit: int, *, follow: bool = True) -> Any:
        paths.append(path)
        return read_regular(path, limit, follow=follow)

    monkeypatch.setattr(script_files, "read_regular", reading)
    return paths


def test_edited_script_counts_from_the_next_load_though_no_definition_changed(scripted: ScriptSite) -> None:
    script = scripted.file("m.js", MW)
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]})
    scripted.api("b")
    aged(script, *scripted.folder.glob("apps/*"))
    scripted.load()
    first = scripted.snapshot
    scripted.file("m.js", "var mx = 2;")
    check_only(scripted.load(), "$.custom_middleware.pre[0].name", "mw occurs in none", "warning")
    delta = sent(scripted.snapshot, first)
    assert [entry.file for entry in delta.changed] == ["a.json"]
    assert list(delta.texts.values()) == ["var mx = 2;"]
    assert source(scripted) == "var mx = 2;"


def test_edited_module_and_library_count_from_the_next_load(scripted: ScriptSite) -> None:
    scripted.reading(tyk_js_path="top.js")
    old = [
        scripted.file("m.js", "var mw = require('./u')"),
        scripted.file("u.js", "1"),
        scripted.file("top.js", "var top = require('./t')"),
        scripted.file("t.js", "1"),
    ]
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]})
    scripted.api("b", virtuals=[virtual("top", "m.js")])
    aged(*old, *scripted.folder.glob("apps/*"))
    assert scripted.load() == []
    first = scripted.snapshot
    scripted.file("t.js", "22")
    scripted.load()
    delta = sent(scripted.snapshot, first)
    assert (delta.changed, list(delta.texts.values())) == ((), ["22"])
    assert scripted.scripts().program.modules == (  # type: ignore[union-attr]
        Module("t.js", "22"), Module("u.js", "1"),
    )  # fmt: skip
    second = scripted.snapshot
    scripted.file("u.js", "22")
    scripted.load()
    delta = sent(scripted.snapshot, second)
    assert ([entry.file for entry in delta.changed], delta.texts) == (["a.json", "b.json"], {})


def test_unchanged_scripts_are_not_read_again(scripted: ScriptSite, opened: list[str]) -> None:
    files = [scripted.file("m.js", "var mw = require('./u')"), scripted.file("u.js"), scripted.file("n.js", "var n")]
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js"), hook("n", "n.js")]})
    scripted.api("b", custom_middleware={"pre": [hook("mw", "m.js")]})
    aged(*files)
    assert scripted.load() == []
    assert opened == ["m.js", str(scripted.folder / "u.js"), "n.js"]
    first = scripted.snapshot
    opened.clear()
    assert scripted.load() == []
    assert opened == []
    delta = sent(scripted.snapshot, first)
    assert (delta.changed, delta.texts) == ((), {})
    scripted.file("n.js", "var n, m")
    scripted.load()
    assert opened == ["n.js"]


def test_file_that_was_written_just_now_is_read_again_but_not_sent_again(scripted: ScriptSite, opened: list[str]) -> None:
    scripted.file("m.js", MW)
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]})
    scripted.load()
    first = scripted.snapshot
    scripted.load()
    assert opened == ["m.js", "m.js"]
    assert not sent(scripted.snapshot, first).texts


def test_text_of_many_apis_is_kept_and_sent_once(scripted: ScriptSite) -> None:
    text = "var mw = 1; //" + "x" * 100_000
    for number in range(50):
        scripted.file(f"m{number}.js", text)
        scripted.api(f"a{number}", custom_middleware={"pre": [hook("mw", f"m{number}.js")]})
    scripted.load()
    assert scripted.snapshot is not None
    delta = sent(scripted.snapshot, Snapshot())
    assert list(delta.texts.values()) == [text]
    assert len(pickle.dumps(delta)) < 200_000
    assert len({id(source(scripted, f"a{number}")) for number in range(50)}) == 1


def test_texts_that_nobody_uses_any_more_are_forgotten(scripted: ScriptSite) -> None:
    scripted.file("m.js", MW)
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]})
    scripted.load()
    first = scripted.snapshot
    (scripted.folder / "apps/a.json").unlink()
    scripted.api("b")
    scripted.load()
    assert scripted.snapshot is not None
    assert (scripted.snapshot.texts, scripted.snapshot.files) == ({}, {})
    sent(scripted.snapshot, first)


def test_script_that_comes_and_goes_is_noticed(scripted: ScriptSite) -> None:
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]})
    aged(scripted.folder / "apps/a.json")
    check_only(scripted.load(), "$.custom_middleware.pre[0].path", "does not exist")
    assert scripted.loaded() == []
    assert scripted.load() == []
    scripted.file("m.js", MW)
    assert scripted.load() == []
    assert scripted.loaded() == ["m.js"]
    (scripted.folder / "m.js").unlink()
    check_only(scripted.load(), "$.custom_middleware.pre[0].path", "does not exist")
    assert scripted.called() == [("pre", "mw")]


def test_folder_that_appears_beside_an_unchanged_definition_counts(scripted: ScriptSite) -> None:
    scripted.api()
    aged(scripted.folder / "apps/a.json")
    scripted.load()
    assert scripted.specs()[0].scripts is None
    scripted.file("middleware/a/pre/check.js", "var check")
    assert scripted.load() == []
    assert scripted.called() == [("pre", "check")]
    (scripted.folder / "middleware/a/pre/check.js").unlink()
    scripted.load()
    assert scripted.specs()[0].scripts is None


def test_broken_definition_keeps_its_last_good_form_with_the_scripts_of_now(scripted: ScriptSite) -> None:
    scripted.file("m.js", MW)
    scripted.set(enable_jsvm=False)
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]})
    scripted.load()
    scripted.set(enable_jsvm=True)
    scripted.file("apps/a.json", "{")
    scripted.load()
    assert source(scripted) == MW
    scripted.file("m.js", "var mw = 22;")
    scripted.load()
    assert source(scripted) == "var mw = 22;"


def test_relative_paths_start_in_the_working_directory_then_beside_the_configuration(scripted: ScriptSite) -> None:
    scripted.reading(conf=str(scripted.folder / "etc" / "tyk.conf"), middleware_path="scripts", tyk_js_path="top.js")
    for path in ("here.js", "etc/here.js", "etc/there.js", "etc/top.js", "etc/scripts/a/pre/mw.js"):
        scripted.file(path, f"var mw; // {path}")
    scripted.api(custom_middleware={"pre": [hook("mw", "here.js"), hook("mw", "there.js"), hook("mw", "nowhere.js")]})
    (error,) = said(scripted.load())
    assert f"the working directory, {scripted.folder}, and from {scripted.folder}/etc" in error[2]
    etc = f"{scripted.folder}/etc"
    assert scripted.loaded() == ["here.js", f"{etc}/there.js", f"{etc}/scripts/a/pre/mw.js"]
    assert scripted.scripts().program.library.name == f"{etc}/top.js"  # type: ignore[union-attr]


def test_missing_library_names_the_option_and_the_apis_are_served(scripted: ScriptSite) -> None:
    scripted.reading(tyk_js_path="top.js")
    scripted.file("m.js", MW)
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]})
    findings = scripted.load()
    check_only(findings, "$.tyk_js_path", "top.js does not exist")
    assert findings[0].file == "tyk.conf"
    assert scripted.scripts().program.library is None  # type: ignore[union-attr]
    check_only(scripted.lint(), "$.tyk_js_path", "top.js does not exist")


def test_named_pipe_and_device_do_not_hold_the_load(scripted: ScriptSite) -> None:
    os.mkfifo(scripted.folder / "pipe.js")
    (scripted.folder / "zero.js").symlink_to("/dev/zero")
    scripted.api(custom_middleware={"pre": [hook("a", "pipe.js"), hook("b", "zero.js")]})
    assert ["regular file" in message for _, _, message in said(scripted.load())] == [True, True]


def test_folder_with_too_many_scripts_lets_no_request_pass(scripted: ScriptSite) -> None:
    scripted.reading(max_modules=2)
    for name in ("a", "b", "c", "d"):
        scripted.file(f"middleware/a/pre/{name}.js", f"var {name}, c, d")
    scripted.api()
    check_only(scripted.load(), "$.api_id", "middleware/a/pre holds 4 scripts, at most preforge.jsvm.max_modules, 2, are read")
    assert scripted.called() == [("pre", "a"), ("pre", "b")]
    assert [one.name for one in scripted.problems()] == ["c"]


def test_unreadable_script_in_a_folder_lets_no_request_pass(scripted: ScriptSite) -> None:
    scripted.file("middleware/a/auth/x.js", "var y")
    (scripted.folder / "middleware/a/auth/y.js").mkdir()
    scripted.api(use_keyless=False, custom_plugin_auth_enabled=True, custom_middleware={"driver": "otto"})
    assert ("a.json", "$.api_id") in [(file, path) for file, path, _ in said(scripted.load())]
    assert [(one.kind, one.name) for one in scripted.problems()] == [("auth_check", "y")]


def test_lint_and_loader_say_the_same(scripted: ScriptSite) -> None:
    scripted.file("m.js", "require('../out'); require('./gone')")
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js"), hook("x", "x.js")]}, virtuals=[virtual("v", "?", "blob")])
    findings = scripted.load()
    assert len(findings) == 7
    assert sorted(scripted.lint(), key=str) == sorted(findings, key=str)


def test_snapshot_of_another_version_is_not_taken_over() -> None:
    with pytest.raises(TypeError, match="another version"):
        Snapshot().__setstate__([{}, 0, frozenset()])
