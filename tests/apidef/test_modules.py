"""What require() means, and that it never leads out of the script's folder."""

from __future__ import annotations

import json
import os
import posixpath
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.apidef.modules import EscapeError, Folder, ResolveError, module_syntax, specifiers
from jsvm_pool.program import Module
from tests.apidef.script_site import ScriptSite, check_only, hook, said

FILES = {
    "u.js": "",
    "data.json": "{}",
    "both.js": "",
    "both/index.js": "",
    "dir/index.js": "",
    "dir/index.json": "",
    "main/package.json": {"main": "lib/start"},
    "main/lib/start.js": "",
    "lost/package.json": {"main": "gone"},
    "lost/index.js": "",
    "folder/package.json": {"main": "./lib"},
    "folder/lib/index.js": "",
    "sub/own.js": "",
    "node_modules/plain/index.js": "",
    "node_modules/plain/deep/part.js": "",
    "node_modules/single.js": "",
    "node_modules/@scope/pkg/package.json": {"main": "a.js"},
    "node_modules/@scope/pkg/a.js": "",
    "node_modules/text/package.json": {"exports": "./a.cjs", "main": "b.js"},
    "node_modules/text/a.cjs": "",
    "node_modules/text/b.js": "",
    "node_modules/cond/package.json": {
        "exports": {
            ".": {"import": "./a.mjs", "require": {"browser": "./b.js", "default": "./a.js"}},
            "./sub": ["./sub.js"],
            "./lib/*": "./src/*.js",
            "./lib/private/*": None,
            "./out": "../outside.js",
        }
    },
    "node_modules/cond/a.js": "",
    "node_modules/cond/sub.js": "",
    "node_modules/cond/src/x.js": "",
    "node_modules/cond/src/private/x.js": "",
    "node_modules/bad/package.json": "{",
    "sub/node_modules/plain/index.js": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    root = tmp_path / "root"
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    for name in ("outside.js", "node_modules/above/index.js"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
    return Folder(str(root))


@pytest.mark.parametrize(
    ("specifier", "base", "expected"),
    [
        ("./u", "", "u.js"),
        ("./u.js", "", "u.js"),
        ("./data", "", "data.json"),
        ("./both", "", "both.js"),
        ("./both/", "", "both/index.js"),
        ("./dir", "", "dir/index.js"),
        (".", "dir", "dir/index.js"),
        ("..", "dir/x", "dir/index.js"),
        ("./main", "", "main/lib/start.js"),
        ("./lost", "", "lost/index.js"),
        ("./folder", "", "folder/lib/index.js"),
        ("../u", "sub", "u.js"),
        ("plain", "", "node_modules/plain/index.js"),
        ("plain", "sub", "sub/node_modules/plain/index.js"),
        ("plain/deep/part", "sub", "node_modules/plain/deep/part.js"),
        ("single", "sub", "node_modules/single.js"),
        ("@scope/pkg", "", "node_modules/@scope/pkg/a.js"),
        ("@scope/pkg/a.js", "", "node_modules/@scope/pkg/a.js"),
        ("text", "", "node_modules/text/a.cjs"),
        ("cond", "", "node_modules/cond/a.js"),
        ("cond/sub", "", "node_modules/cond/sub.js"),
        ("cond/lib/x", "", "node_modules/cond/src/x.js"),
    ],
)
def test_module_is_found_where_node_finds_it(folder: Folder, tmp_path: Path, specifier: str, base: str, expected: str) -> None:
    found = folder.resolve(specifier, base)
    assert found.name == str(tmp_path / "root" / expected)
    assert (found.real, found.base) == (os.path.realpath(found.name), posixpath.dirname(expected))


@pytest.mark.parametrize(
    ("specifier", "escapes"),
    [
        ("../outside", True),
        ("./sub/../../outside.js", True),
        ("/etc/hostname", True),
        ("..", True),
        ("cond/out", False),
        ("above", False),
        ("./nothing", False),
        ("text/b.js", False),
        ("cond/lib/private/x", False),
        ("cond/src/x.js", False),
        ("bad", False),
        ("fs", False),
        ("node:fs", False),
        ("#x", False),
        ("https://x/y.js", False),
        ("a\0b", False),
        ("@scope", False),
        ("plain/../../../outside.js", True),
        (".\\u", False),
        ("", False),
    ],
)
def test_what_is_not_in_the_folder_is_not_found(folder: Folder, specifier: str, escapes: bool) -> None:
    with pytest.raises(ResolveError) as caught:
        folder.resolve(specifier, "")
    assert isinstance(caught.value, EscapeError) is escapes


@pytest.mark.parametrize("specifier", ["./link", "./linked/outside", "linked", "./main2"])
def test_symbolic_links_do_not_lead_out(folder: Folder, tmp_path: Path, specifier: str) -> None:
    root = tmp_path / "root"
    (root / "link.js").symlink_to("../outside.js")
    (root / "linked").symlink_to("..")
    (root / "node_modules/linked").symlink_to(tmp_path / "node_modules/above")
    (root / "main2").mkdir()
    (tmp_path / "package.json").write_text('{"main": "../u.js"}')
    (root / "main2/package.json").symlink_to(tmp_path / "package.json")
    with pytest.raises(EscapeError):
        folder.resolve(specifier, "")


def test_links_inside_the_folder_are_one_module(folder: Folder, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "alias.js").symlink_to("u.js")
    (root / "loop").symlink_to(".")
    assert folder.resolve("./u", "") == folder.resolve("./alias", "") == folder.resolve("./loop/loop/u", "")


@given(st.lists(st.sampled_from(["..", ".", "sub", "u.js", "node_modules", "cond", "", "linked", "outside.js"]), max_size=8))
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    top = tmp_path_factory.getbasetemp() / "walk"
    if not top.exists():
        (top / "root/sub").mkdir(parents=True)
        (top / "outside.js").touch()
        (top / "root/u.js").touch()
        (top / "root/linked").symlink_to(top)
    folder = Folder(str(top / "root"))
    for specifier in ("/".join(parts), "./" + "/".join(parts)):
        try:
            found = folder.resolve(specifier, "sub")
        except ResolveError:
            continue
        assert found.real.startswith(f"{os.path.realpath(top)}/root/")


def test_specifiers_of_a_script() -> None:
    text = """
        var a = require("a"), b = require ( 'b' );
        // require("commented")
         * see require("documented")
        class X { *gen() { return require("generator") } }
        *other() { require("generator2") }
        x.require("method"); xrequire("other"); require(variable); require("a" + b); require("un\\"usual");
        lazy(() => require("./c.json"));
    """
    assert specifiers(text) == ("a", "b", "generator", "generator2", "./c.json")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("import 'x'", 1),
        ('\n\nimport a from "x"', 3),
        ("import a, { b } from 'x'", 1),
        ("import {\n a,\n b\n} from 'x'", 1),
        ("import * as a from 'x'", 1),
        ("/*\n\n*/ export default 1", 3),
        ("export { a }", 1),
        ("export async function a() {}", 1),
        ("/* import 'x' */", 0),
        ("/*\nimport 'x'\n*/", 0),
        ("// import 'x'", 0),
        ("import('x')", 0),
        ("exports.a = 1; var important = 1\nimportant = 2\nexporting()", 0),
        ("var x = '/* '; \nvar export_ = 1", 0),
    ],
)
def test_module_syntax_is_found(text: str, line: int) -> None:
    assert module_syntax(text) == line


def test_modules_of_a_script_are_followed_and_circles_end(scripted: ScriptSite) -> None:
    scripted.file("lib/m.js", "var mw = require('./a'), same = require('./a.js'), d = require('./d')")
    scripted.file("lib/a.js", "require('./b'); require('pkg')")
    scripted.file("lib/b.js", "require('./a')")
    scripted.file("lib/d.json", "{}")
    scripted.file("lib/node_modules/pkg/index.js", "require('./x/y')")
    scripted.file("lib/node_modules/pkg/x/y.js", "require('..')")
    scripted.api(custom_middleware={"pre": [hook("mw", "lib/m.js")]})
    assert scripted.load() == []
    program = scripted.scripts().program
    assert program is not None
    assert program.requires == (("./a", "lib/a.js"), ("./a.js", "lib/a.js"), ("./d", "lib/d.json"))
    assert set(program.modules) == {
        Module("lib/a.js", "require('./b'); require('pkg')", (("./b", "lib/b.js"), ("pkg", "lib/node_modules/pkg/index.js"))),
        Module("lib/b.js", "require('./a')", (("./a", "lib/a.js"),)),
        Module("lib/d.json", "{}"),
        Module("lib/node_modules/pkg/index.js", "require('./x/y')", (("./x/y", "lib/node_modules/pkg/x/y.js"),)),
        Module("lib/node_modules/pkg/x/y.js", "require('..')", (("..", "lib/node_modules/pkg/index.js"),)),
    }


def test_refused_and_missing_modules_are_left_out_and_reported(scripted: ScriptSite) -> None:
    scripted.file("secret.js", "s")
    scripted.file("lib/m.js", "var mw = require('../secret'); require('./gone'); require('./a')")
    scripted.file("lib/a.js", "require('../secret.js'); require('fs'); import x from 'y'")
    scripted.file("lib/b.js", "import x from 'y'")
    scripted.api(custom_middleware={"pre": [hook("mw", "lib/m.js")]})
    findings = scripted.load()
    assert {path for _, path, _ in said(findings)} == {"$.custom_middleware.pre[0].path"}
    assert [message for _, _, message in said(findings)] == [
        "lib/m.js: require('../secret') is refused: it leads out of lib",
        "lib/a.js: require('../secret.js') is refused: it leads out of lib",
    ]
    assert [message for _, _, message in said(findings, "warning")] == [
        "lib/m.js: require('./gone') throws when it is reached: there is no such module in lib",
        "lib/a.js: require('fs') throws when it is reached: there is no such module in lib",
    ]
    program = scripted.scripts().program
    assert program is not None
    assert program.requires == (("./a", "lib/a.js"),)
    assert [(module.name, module.requires) for module in program.modules] == [("lib/a.js", ())]


def test_module_syntax_of_a_module_is_reported(scripted: ScriptSite) -> None:
    scripted.file("m.js", "var mw = require('./a')")
    scripted.file("a.js", "export const a = 1")
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]})
    check_only(scripted.load(), "$.custom_middleware.pre[0].path", "a.js: line 1 is ES module syntax: CommonJS is expected")


def test_number_and_size_of_modules_are_bounded(scripted: ScriptSite) -> None:
    scripted.reading(max_modules=2)
    scripted.set(max_script_bytes=1000)
    scripted.file("m.js", "var mw = require('./a'); require('./b'); require('./c')")
    scripted.file("n.js", "var n = require('./large')")
    for name in ("a", "b", "c"):
        scripted.file(f"{name}.js", name)
    scripted.file("large.js", "x" * 980)
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]})
    scripted.api("b", custom_middleware={"pre": [hook("n", "n.js")]})
    messages = [message for _, _, message in said(scripted.load())]
    assert ["preforge.jsvm.max_modules, 2" in messages[0], "preforge.jsvm.max_script_bytes, 1000" in messages[1]] == [True] * 2
    program = scripted.scripts().program
    assert program is not None
    assert program.requires == (("./a", "a.js"), ("./b", "b.js"))
    assert scripted.scripts("b").program.requires == ()  # type: ignore[union-attr]


def test_inline_code_has_no_modules_and_says_so(scripted: ScriptSite) -> None:
    scripted.file("a.js")
    scripted.api(custom_middleware={"pre": [hook("mw", code="dmFyIG13ID0gcmVxdWlyZSgiLi9hIik=")]})
    check_only(scripted.load(), "$.custom_middleware.pre[0].code", "require('./a') throws", "warning")
    assert scripted.scripts().program.requires == ()  # type: ignore[union-attr]


def test_warnings_about_a_large_package_are_bounded(scripted: ScriptSite) -> None:
    scripted.file("m.js", "var mw;" + "".join(f"require('x{number}');" for number in range(500)))
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]})
    assert len(scripted.load()) == 100
