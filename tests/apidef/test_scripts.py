"""From custom_middleware, folders and virtual endpoints to programs, hooks and entries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.apidef.scripts import VirtualSpec
from jsvm_pool.program import Source
from tests.apidef.script_site import ScriptSite, blob, check_only, hook, said, virtual

MW = "var mw = new TykJS.TykMiddleware.NewMiddleware({});"


@pytest.mark.parametrize("driver", [None, "", "otto", "javascript"])
def test_all_names_of_the_driver_mean_javascript(scripted: ScriptSite, driver: str | None) -> None:
    scripted.file("m.js", MW)
    middleware = {"pre": [hook("mw", "m.js")], **({} if driver is None else {"driver": driver})}
    scripted.api(custom_middleware=middleware)
    assert scripted.load() == []
    assert scripted.called() == [("pre", "mw")]
    assert scripted.scripts().program.sources == (Source("m.js", MW),)  # type: ignore[union-attr]
    assert not scripted.specs()[0].refuse


@pytest.mark.parametrize("driver", ["lua", "goplugin", "Otto"])
@pytest.mark.parametrize("section", ["pre", "post_key_auth", "post", "response"])
def test_plugins_of_other_drivers_are_refused_not_skipped(scripted: ScriptSite, driver: str, section: str) -> None:
    scripted.file("m.js", MW)
    scripted.api(custom_middleware={"driver": driver, section: [hook("mw", "m.js")]}, use_keyless=False)
    scripted.load()
    (spec,) = scripted.specs()
    assert [(one.kind, one.status, one.message) for one in spec.refuse] == [("unsupported", 500, "Internal Server Error")]
    assert spec.scripts is None


def test_chain_runs_hooks_by_kind_in_the_order_of_their_lists(scripted: ScriptSite) -> None:
    names = "p1 p2 a k r o"
    scripted.file("all.js", f"var {names.replace(' ', ', ')};")
    scripted.api(
        use_keyless=False,
        enable_coprocess_auth=True,
        custom_middleware={
            "response": [hook("r", require_session=True)],
            "post": [hook("o", "all.js", require_session=True), hook("gone", "gone.js", disabled=True)],
            "post_key_auth": [hook("k")],
            "auth_check": hook("a"),
            "pre": [hook("p1"), hook("p2")],
        },
    )
    assert scripted.load() == []
    assert scripted.called() == [
        ("pre", "p1"), ("pre", "p2"), ("auth_check", "a"), ("post_key_auth", "k"), ("post", "o"), ("response", "r"),
    ]  # fmt: skip
    assert [one.require_session for one in scripted.scripts().hooks] == [False, False, False, False, True, True]
    assert scripted.loaded() == ["all.js"]


def test_scripts_are_loaded_in_the_order_of_tyk(scripted: ScriptSite) -> None:
    for name in ("auth", "pre", "post", "key", "response", "v"):
        scripted.file(f"{name}.js", f"var {name};")
    for folder in ("pre", "auth", "post_auth", "post"):
        scripted.file(f"middleware/a/{folder}/f{folder}.js", f"var f{folder};")
    scripted.file("top.js", "var top;")
    scripted.reading(tyk_js_path="top.js")
    scripted.api(
        use_keyless=False,
        custom_plugin_auth_enabled=True,
        virtuals=[virtual("v", "v.js"), virtual("w", blob("function w() {}"), "blob", path="/w")],
        custom_middleware={
            "driver": "otto",
            "auth_check": hook("auth", "auth.js"),
            "pre": [hook("pre", "pre.js")],
            "post": [hook("post", "post.js"), hook("post", "pre.js")],
            "post_key_auth": [hook("key", "key.js")],
            "response": [hook("response", "response.js")],
        },
    )
    findings = scripted.load()
    assert said(findings) == []
    folder = "middleware/a"
    assert scripted.loaded() == [
        "v.js", "virtual endpoint GET /w", "auth.js", "pre.js", "post.js", f"{folder}/pre/fpre.js", f"{folder}/auth/fauth.js",
        f"{folder}/post_auth/fpost_auth.js", f"{folder}/post/fpost.js", "key.js", "response.js",
    ]  # fmt: skip
    assert scripted.scripts().program.library == Source("top.js", "var top;")  # type: ignore[union-attr]
    # Folders come after the configured hooks, but post_auth in front of them, and auth in their place.
    assert scripted.called() == [
        ("pre", "pre"), ("pre", "fpre"), ("auth_check", "fauth"), ("post_key_auth", "fpost_auth"), ("post_key_auth", "key"),
        ("post", "post"), ("post", "post"), ("post", "fpost"), ("response", "response"),
    ]  # fmt: skip


def test_folder_scripts_are_named_after_their_files_and_ask_for_the_session_by_name(scripted: ScriptSite) -> None:
    for name in ("b.min.js", "a_with_session.js", ".hidden.js", "notes.txt"):
        scripted.file(f"middleware/a/post/{name}", "var a_with_session, b;")
    scripted.file("middleware/a/pre/p_with_session.js", "var p_with_session;")
    scripted.file("middleware/other/pre/x.js")
    scripted.api()
    check_only(scripted.load(), "$.api_id", "no session yet", "warning")
    assert scripted.called() == [("pre", "p_with_session"), ("post", "a_with_session"), ("post", "b")]
    assert [one.require_session for one in scripted.scripts().hooks] == [True, True, False]


def test_last_script_of_the_auth_folder_decides(scripted: ScriptSite) -> None:
    scripted.file("middleware/a/auth/one.js", "var one;")
    scripted.file("middleware/a/auth/two.js", "var two;")
    scripted.api(use_keyless=False, custom_plugin_auth_enabled=True)
    check_only(scripted.load(), "$.custom_middleware.auth_check", "two.js", "warning")
    assert scripted.called() == [("auth_check", "two")]


def test_disabled_auth_check_refuses_everybody(scripted: ScriptSite) -> None:
    scripted.file("m.js", MW)
    check = hook("mw", "m.js", disabled=True)
    scripted.api(use_keyless=False, custom_plugin_auth_enabled=True, custom_middleware={"auth_check": check})
    check_only(scripted.load(), "$.custom_middleware.auth_check", "every request is refused")
    (problem,) = scripted.problems()
    assert (problem.kind, problem.problem[:10]) == ("auth_check", "auth_check")


def test_auth_that_is_switched_on_without_a_script_refuses_everybody(scripted: ScriptSite) -> None:
    scripted.api(use_keyless=False, enable_coprocess_auth=True)
    check_only(scripted.load(), "$.custom_middleware.auth_check", "no name")
    assert [one.kind for one in scripted.problems()] == ["auth_check"]
    assert scripted.specs()[0].token is None


@pytest.mark.parametrize(
    ("more", "token"),
    [({"use_keyless": True, "enable_coprocess_auth": True}, False), ({"use_keyless": False}, True)],
    ids=["keyless", "not switched on"],
)
def test_auth_check_that_is_not_in_force_leaves_the_token_in_force(
    scripted: ScriptSite, more: dict[str, Any], token: bool
) -> None:
    scripted.file("m.js", MW)
    scripted.api(custom_middleware={"auth_check": hook("mw", "m.js"), "pre": [hook("mw")]}, **more)
    check_only(scripted.load(), "$.custom_middleware.auth_check", "never runs", "warning")
    assert scripted.called() == [("pre", "mw")]
    assert scripted.loaded() == ["m.js"]
    assert (scripted.specs()[0].token is not None) is token


@pytest.mark.parametrize(("standard", "token"), [(False, False), (True, True)])
def test_script_takes_the_place_of_the_token_unless_both_are_wanted(scripted: ScriptSite, standard: bool, token: bool) -> None:
    scripted.file("m.js", MW)
    scripted.api(
        use_keyless=False,
        enable_coprocess_auth=True,
        use_standard_auth=standard,
        base_identity_provided_by="auth_token",
        custom_middleware={"auth_check": hook("mw", "m.js")},
    )
    assert scripted.load() == []
    assert (scripted.specs()[0].token is not None) is token
    auth = scripted.specs()[0].custom_auth
    assert auth is not None
    assert auth.gives_identity is False


def test_post_key_auth_of_a_keyless_api_does_not_run_and_says_so(scripted: ScriptSite) -> None:
    scripted.file("m.js", MW)
    scripted.api(custom_middleware={"post_key_auth": [hook("mw", "m.js")]})
    check_only(scripted.load(), "$.custom_middleware.post_key_auth", "keyless", "warning")
    assert scripted.specs()[0].scripts is None


def test_missing_file_names_the_field_and_the_others_are_loaded(scripted: ScriptSite) -> None:
    scripted.file("m.js", MW)
    scripted.api(custom_middleware={"driver": "otto", "pre": [hook("gone", "gone.js"), hook("mw", "m.js")]})
    findings = scripted.load()
    check_only(findings, "$.custom_middleware.pre[0].path", "gone.js does not exist")
    assert findings[0].file == "a.json"
    assert said(findings, "warning")[0][1] == "$.custom_middleware.pre[0].name"
    # No script has the name, so that calling it fails: the hook stays in the chain.
    assert scripted.called() == [("pre", "gone"), ("pre", "mw")]
    assert scripted.loaded() == ["m.js"]


@pytest.mark.parametrize("path", ["m.py", "m", "folder.js/m", "m.so"])
def test_file_that_is_no_script_is_not_read(scripted: ScriptSite, path: str) -> None:
    scripted.file(path, MW)
    scripted.api(custom_middleware={"pre": [hook("mw", path)]})
    check_only(scripted.load(), "$.custom_middleware.pre[0].path", "must end with .js")
    assert scripted.loaded() == []
    assert scripted.called() == [("pre", "mw")]


def test_unreadable_scripts_name_the_reason(scripted: ScriptSite) -> None:
    (scripted.folder / "dir.js").mkdir()
    scripted.set(max_script_bytes=100)
    scripted.file("large.js", "x" * 101)
    scripted.file("half.js", "var half" + " " * 50)
    scripted.file("rest.js", "var rest" + " " * 50)
    hooks = [hook(name, f"{name}.js") for name in ("dir", "large", "half", "rest")]
    scripted.api(custom_middleware={"pre": hooks})
    errors = said(scripted.load())
    assert [place for _, place, _ in errors] == [f"$.custom_middleware.pre[{index}].path" for index in (0, 1, 3)]
    assert "large.js cannot be read: the file is too large: at most 100 bytes" in errors[1][2]
    assert "preforge.jsvm.max_script_bytes, 100" in errors[2][2]
    assert scripted.loaded() == ["half.js"]


def test_bytes_that_are_not_utf8_are_replaced_and_reported(scripted: ScriptSite) -> None:
    scripted.file("m.js", b"\xef\xbb\xbfvar mw; // caf\xe9")
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]})
    check_only(scripted.load(), "$.custom_middleware.pre[0].path", "not UTF-8", "warning")
    assert scripted.scripts().program.sources[0].text == "var mw; // caf�"  # type: ignore[union-attr]


def test_inline_code_wins_over_the_path(scripted: ScriptSite) -> None:
    scripted.file("m.js", "throw 1")
    scripted.api(custom_middleware={"driver": "javascript", "pre": [hook("mw", "m.js", code=blob(MW))]})
    assert scripted.load() == []
    assert scripted.scripts().program.sources == (Source("custom_middleware.pre[0].code", MW),)  # type: ignore[union-attr]


@pytest.mark.parametrize("code", ["?", "YQ", "YQ==YQ==", "Y Q=="])
def test_inline_code_that_is_not_base64_fails_its_hook_alone(scripted: ScriptSite, code: str) -> None:
    scripted.file("m.js", MW)
    scripted.api(custom_middleware={"pre": [hook("mw", code=code), hook("mw", "m.js")]})
    check_only(scripted.load(), "$.custom_middleware.pre[0].code", "base64")
    first, second = scripted.scripts().hooks
    assert "base64" in first.problem
    assert second.problem == ""


@pytest.mark.parametrize("name", ["", "a b", "a(); b", "1a", "class", "this.class)", "a.", "a[b]", "-", "a.b\n"])
def test_name_that_is_no_name_fails_its_hook_alone(scripted: ScriptSite, name: str) -> None:
    scripted.file("m.js", MW)
    scripted.api(
        custom_middleware={"pre": [hook(name, "m.js"), hook("mw")]}, virtuals=[virtual(name, blob("var mw"), "blob")]
    )
    places = [place for _, place, _ in said(scripted.load())]
    where = "$.version_data.versions.D.extended_paths.virtual[0].response_function_name"
    assert places == [where, "$.custom_middleware.pre[0].name"]
    assert scripted.called() == [("pre", "mw")]
    assert scripted.scripts().program.entries == ("mw",)  # type: ignore[union-attr]
    data = scripted.specs()[0].endpoints[0].data
    assert isinstance(data, VirtualSpec)
    assert data.problem


@pytest.mark.parametrize("name", ["a.b", "$", "_x1", "größe", 'a["b c"].d', "a[0]", "this.a", "globalThis.a"])
def test_expressions_that_name_an_object_are_taken(scripted: ScriptSite, name: str) -> None:
    scripted.file("m.js", "var a, $, _x1, größe")
    scripted.api(custom_middleware={"pre": [hook(name, "m.js")]})
    assert scripted.load() == []
    assert scripted.called() == [("pre", name)]


def test_name_that_no_script_has_is_reported(scripted: ScriptSite) -> None:
    scripted.file("m.js", "var mwx, $mw;")
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]})
    check_only(scripted.load(), "$.custom_middleware.pre[0].name", "mw occurs in none", "warning")


def test_equal_names_in_different_files_live_side_by_side_with_driver_javascript(scripted: ScriptSite) -> None:
    scripted.file("a.js", "var handler, extra; require('./u')")
    scripted.file("b/b.js", "var handler; require('./u')")
    scripted.file("c.js", "var other; require('./u')")
    scripted.file("u.js")
    scripted.file("b/u.js")
    scripted.api(
        custom_middleware={
            "driver": "javascript",
            "pre": [hook("handler", "a.js"), hook("extra", "a.js"), hook("other", "c.js")],
            "post": [hook("handler", "b/b.js")],
        }
    )
    assert scripted.load() == []
    program = scripted.scripts().program
    assert program is not None
    a, c, b = program.sources
    assert [expression for expression, _ in a.exports] == ["handler", "extra"]
    assert [expression for expression, _ in b.exports] == ["handler"]
    assert c.exports == ()
    aliases = [alias for source in (a, b) for _, alias in source.exports]
    assert len(set(aliases)) == 3
    assert [entry for _, entry in scripted.called()] == [aliases[0], aliases[1], "other", aliases[2]]
    assert (a.requires, b.requires, program.requires) == ((("./u", "u.js"),), (("./u", "b/u.js"),), (("./u", "u.js"),))


def test_equal_names_share_one_scope_with_the_other_drivers(scripted: ScriptSite) -> None:
    scripted.file("a.js", "var handler")
    scripted.file("b.js", "var handler")
    scripted.api(custom_middleware={"driver": "otto", "pre": [hook("handler", "a.js")], "post": [hook("handler", "b.js")]})
    assert scripted.load() == []
    assert scripted.called() == [("pre", "handler"), ("post", "handler")]
    assert all(source.exports == () for source in scripted.scripts().program.sources)  # type: ignore[union-attr]


def test_definition_never_calls_its_namesake_in_another_file_with_driver_javascript(scripted: ScriptSite) -> None:
    scripted.file("a.js", "var handler")
    hooks = {"pre": [hook("handler", "a.js")], "post": [hook("handler", "gone.js")]}
    scripted.api(custom_middleware={"driver": "javascript", **hooks})
    check_only(scripted.load(), "$.custom_middleware.post[0].path", "does not exist")
    assert [(one.kind, "gone.js" in one.problem) for one in scripted.problems()] == [("post", True)]


def test_require_with_two_meanings_in_one_scope_has_none(scripted: ScriptSite) -> None:
    scripted.file("x/a.js", "var a = require('./u'), s = require('./same')")
    scripted.file("y/b.js", "var b = require('./u')")
    for path in ("x/u.js", "y/u.js", "x/same.js"):
        scripted.file(path)
    scripted.api(custom_middleware={"pre": [hook("a", "x/a.js"), hook("b", "y/b.js")]})
    check_only(scripted.load(), "$.custom_middleware", "x/u.js in x/a.js, y/u.js in y/b.js")
    assert scripted.scripts().program.requires == (("./same", "x/same.js"),)  # type: ignore[union-attr]


def test_virtual_endpoints_of_all_versions_share_the_program(scripted: ScriptSite) -> None:
    scripted.file("f.txt", "function f() {}")
    entries = {
        "one": [virtual("f", "f.txt", use_session=True), virtual("off", "off.js", disabled=True)],
        "two": [virtual("g", blob("function g() {}"), "blob", path="/g", proxy_on_error=True), virtual("f", "f.txt")],
    }
    versions = {
        name: {"name": name, "use_extended_paths": True, "extended_paths": {"virtual": found}}
        for name, found in entries.items()
    }
    scripted.api(
        version_data={"not_versioned": False, "versions": versions}, definition={"location": "header", "key": "v"}
    )
    assert scripted.load() == []
    (spec,) = scripted.specs()
    data = {name: [entry.data for entry in version.endpoints] for name, version in spec.versions}
    assert data == {
        "one": [VirtualSpec("f", 0, True, False)],
        "two": [VirtualSpec("g", 1, False, True), VirtualSpec("f", 0, False, False)],
    }
    assert spec.scripts is not None
    assert spec.scripts.program.entries == ("f", "g")  # type: ignore[union-attr]
    assert all(version.scripts is spec.scripts for _, version in spec.versions)
    assert [(entry.kind, entry.method, entry.path) for entry in spec.versions[1][1].endpoints] == [
        ("virtual", "GET", "/g"), ("virtual", "GET", "/v"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "field", "message"),
    [
        (virtual("v", "gone.js"), "function_source_uri", "gone.js does not exist"),
        (virtual("v", "YQ", "blob"), "function_source_uri", "base64"),
        (virtual("v", "v.js", "url"), "function_source_type", '"file" or "blob"'),
        (virtual("v", "", "file"), "function_source_uri", "no path is given"),
    ],
)
def test_virtual_endpoint_without_source_stays_and_fails(
    scripted: ScriptSite, entry: dict[str, Any], field: str, message: str
) -> None:
    scripted.api(virtuals=[entry])
    findings = scripted.load()
    check_only(findings, f"$.version_data.versions.D.extended_paths.virtual[0].{field}", message)
    assert [one.data for one in scripted.specs()[0].endpoints] == [VirtualSpec("v", 0, False, False)]
    assert scripted.loaded() == []


def test_blobs_that_are_switched_off_are_not_loaded_and_files_are(scripted: ScriptSite) -> None:
    scripted.set(disable_virtual_path_blobs=True)
    scripted.file("w.js", "function w() {}")
    scripted.api(virtuals=[virtual("v", blob("function v() {}"), "blob"), virtual("w", "w.js", path="/w")])
    place = "$.version_data.versions.D.extended_paths.virtual[0].function_source_uri"
    check_only(scripted.load(), place, "disable_virtual_path_blobs")
    assert scripted.loaded() == ["w.js"]
    assert len(scripted.specs()[0].endpoints) == 2


def test_without_enable_jsvm_hooks_fail_and_virtual_endpoints_lead_to_the_upstream(scripted: ScriptSite) -> None:
    scripted.set(enable_jsvm=False)
    scripted.file("m.js", MW)
    scripted.file("middleware/b/auth/check.js")
    scripted.api(custom_middleware={"post": [hook("mw", "m.js")]}, virtuals=[virtual("v", blob(""), "blob")])
    scripted.api("b", use_keyless=False, custom_plugin_auth_enabled=True)
    scripted.api("c", virtuals=[virtual("v", blob(""), "blob")])
    findings = scripted.load()
    assert [(file, path) for file, path, _ in said(findings)] == [
        ("a.json", "$.custom_middleware"), ("b.json", "$.custom_middleware"),
    ]  # fmt: skip
    place = "$.version_data.versions.D.extended_paths.virtual[0]"
    assert [(file, path) for file, path, _ in said(findings, "warning")] == [("a.json", place), ("c.json", place)]
    for name, kind in (("a", "post"), ("b", "auth_check")):
        assert [one.kind for one in scripted.problems(name)] == [kind]
        assert (scripted.scripts(name).program, "enable_jsvm" in scripted.scripts(name).problem) == (None, True)
    a, _, c = scripted.specs()
    assert (a.endpoints, c.endpoints, c.scripts) == ((), (), None)
    assert sorted(said(scripted.lint())) == sorted(said(findings))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"config_data": {"b": [1, "é\u2028"], "a": None}}, {"b": [1, "é\u2028"], "a": None}),
        ({}, None),
        ({"config_data": {"a": 1}, "config_data_disabled": True}, "absent"),
    ],
)
def test_config_of_scripts(scripted: ScriptSite, more: dict[str, Any], expected: object) -> None:
    scripted.file("m.js", MW)
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]}, **more)
    scripted.load()
    config = json.loads(scripted.scripts().config)
    assert config == {"APIID": "a", "OrgID": "o", **({} if expected == "absent" else {"config_data": expected})}


@pytest.mark.parametrize(("isolation", "shared"), [("shared", True), ("request", False), ("", False)])
def test_isolation_is_given_up_only_on_request(scripted: ScriptSite, isolation: str, shared: bool) -> None:
    scripted.file("m.js", MW)
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js")]}, preforge={"jsvm": {"isolation": isolation}})
    assert scripted.load() == []
    assert scripted.scripts().program.shared is shared  # type: ignore[union-attr]


def test_unknown_isolation_is_an_error_and_unknown_settings_are_reported(scripted: ScriptSite) -> None:
    scripted.api(preforge={"jsvm": {"isolation": "Shared", "pool": 1}, "js": {}})
    check_only(scripted.load(), "$.preforge.jsvm.isolation", '"shared"')
    assert scripted.specs() == []
    warned = [path for _, path, _ in said(scripted.lint(), "warning")]
    assert warned == ["$.preforge.jsvm.pool", "$.preforge.js"]


def test_module_syntax_of_a_script_is_reported(scripted: ScriptSite) -> None:
    scripted.file("m.js", "// mw\nexport default function mw() {}\n")
    scripted.api(custom_middleware={"pre": [hook("mw", "m.js"), hook("n", code=blob("import n from 'n'"))]})
    expected = "CommonJS is expected, require() and module.exports"
    assert [(path, message) for _, path, message in said(scripted.load())] == [
        ("$.custom_middleware.pre[0].path", f"m.js: line 2 is ES module syntax: {expected}"),
        ("$.custom_middleware.pre[1].code", "line 1 is ES module syntax: CommonJS is expected"),
    ]  # fmt: skip
