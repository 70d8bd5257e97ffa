"""How scripts are loaded, and what they find (tyk-jsvm 4, 5, 14)."""

from __future__ import annotations

import json

from jsvm_pool.program import Module, Program, Source
from tests.support.jsvm import TEXT, Vm, script, text_of


def test_a_syntax_error_leaves_the_other_files(vm: Vm) -> None:
    program = script("function a() { return 'a'; }", "function b( {", "function c() { return a() + 'c'; }", entries=["c"])
    report = vm.report(program)
    assert [source for source, _ in report.errors] == [1]
    assert "SyntaxError" in report.errors[0][1]
    assert vm.text(vm.hook(program)) == "ac"


def test_what_was_done_before_a_throw_at_load_stays(vm: Vm) -> None:
    program = script(
        "var a = 1; function f() { return 'f' + a; }\nthrow new Error('stop');\na = 2;", "function h() { return f(); }"
    )
    report = vm.report(program)
    assert [(source, message.splitlines()[0]) for source, message in report.errors] == [(0, "Error: stop (a.js:2:7)")]
    assert vm.text(vm.hook(program)) == "f1"


def test_a_name_that_is_declared_twice_leaves_out_the_later_file(vm: Vm) -> None:
    program = script("let x = 'first'; const y = 1;", "let x = 'second';", "function h() { return x + y; }")
    report = vm.report(program)
    assert [source for source, _ in report.errors] == [1]
    assert vm.text(vm.hook(program)) == "first1"


def test_the_last_of_equal_functions_wins_and_files_share_their_scope(vm: Vm) -> None:
    program = script("var who = 'a'; function h() { return 'first'; }", "function h() { return who; }\nwho = 'b'")
    assert vm.text(vm.hook(program)) == "b"


def test_use_strict_is_not_enforced(vm: Vm) -> None:
    assert vm.text("'use strict';\nfunction h() { sloppy = 'x'; return sloppy + 010; }") == "x8"


def test_natives_win_over_the_library(vm: Vm) -> None:
    library = Source("lib.js", "function b64enc(s) { return 'mine'; }\nvar b64dec = 1;\nfunction lib() { return b64enc('a'); }")
    program = Program(
        sources=(Source("a.js", "function h() { return lib() + typeof b64dec; }"),), entries=("h",), library=library
    )
    assert vm.text(vm.hook(program)) == "YQ==function"


def test_later_files_win_over_natives(vm: Vm) -> None:
    assert vm.text("function b64enc(s) { return 'mine'; }\nfunction h() { return b64enc('a'); }") == "mine"


def test_a_library_may_override_the_object_model(vm: Vm) -> None:
    library = Source(
        "lib.js",
        "TykJS.TykMiddleware.NewMiddleware.prototype.ReturnData = function (r, s) { return {Request: r, SessionMeta: {own: 'x'}}; };",
    )
    text = """var mw = new TykJS.TykMiddleware.NewMiddleware({});
        mw.NewProcessRequest(function (request, session) { return mw.ReturnData(request, {}); });"""
    program = Program(sources=(Source("a.js", text),), entries=("mw",), library=library)
    payload = {"request": {"Body": "b", "Headers": {"A": ["b"]}}, "session": {}}
    assert json.loads(vm.text(vm.hook(program, mode="request"), payload))["SessionMeta"] == {"own": "x"}
    plain = json.loads(vm.text(vm.hook(script(text, entries=["mw"]), mode="request"), payload))
    assert plain["SessionMeta"] == {}


def test_own_objects_may_be_middleware(vm: Vm) -> None:
    text = "var a = {b: {DoProcessRequest: function (r, s, c) { return JSON.stringify({got: r.Body, n: arguments.length}); }}};"
    result = vm.text(vm.hook(script(text, entries=["a.b"]), mode="request"), {"request": {"Body": "hé"}})
    assert json.loads(result)["got"] == "aMOp"


def test_middleware_that_returns_nothing_is_said_so(vm: Vm) -> None:
    text = "var mw = new TykJS.TykMiddleware.NewMiddleware({}); mw.NewProcessRequest(function () {});"
    assert vm.text(vm.hook(script(text, entries=["mw"]), mode="request"), {"request": {"Body": ""}}) == "undefined"
    assert ("error", "Middleware didn't return request object!", "api") in vm.logged


def test_polyfills_work_within_a_call(vm: Vm) -> None:
    text = """
        String.prototype.shout = function () { return this.toUpperCase() + '!'; };
        if (!Array.prototype.own) Object.defineProperty(Array.prototype, 'own', {value: function () { return this.length; }});
        Object.defineProperty(globalThis, 'shared', {value: 7});
        BigInt.prototype.toJSON = function () { return 'big'; };
        Symbol.mine = Symbol.mine || Symbol('mine');
        JSON.extra = Math.twice = function (n) { return 2 * n; };
        log = console = {log: function () { return 'quiet'; }};
        (function () { 'use strict'; Iterator.prototype.total = function () { return [...this].length; }; })();
        function Buffer(n) { var b = new Uint8Array(n); Object.setPrototypeOf(b, Buffer.prototype); return b; }
        (function () {
            'use strict';
            Object.setPrototypeOf(Buffer.prototype, Uint8Array.prototype);
            Buffer.prototype.toString = Buffer.prototype.slice = function () { return 'buffer'; };
        })();
        function h() {
            'use strict';
            return ['a'.shout(), [1, 2].own(), shared, JSON.stringify(1n), typeof Symbol.mine, JSON.extra(Math.twice(1)),
                console.log(), [1].values().total(), String(Buffer(1)), Buffer(2).slice()].join();
        }"""
    assert [text_of(one) for one in vm.results(text, [1, 2, 3])] == ['A!,2,7,"big",symbol,4,quiet,1,buffer,buffer'] * 3


def test_objects_that_inherit_from_built_ins_can_be_changed(vm: Vm) -> None:
    text = """function h() {
        'use strict';
        var e = new TypeError('a');
        e.name = 'Mine'; e.message = 'b'; e.toString = function () { return this.name + this.message; };
        class Bad extends Error { constructor(m) { super(m); this.name = 'Bad'; this.code = 7; } }
        class List extends Array { get last() { return this[this.length - 1]; } }
        class Cache extends Map { get(k) { return super.get(k) || 'none'; } }
        function Old() {} Old.prototype = Object.create(Error.prototype); Old.prototype.constructor = Old; Old.prototype.name = 'Old';
        var d = new Date(0); d.toString = function () { return 'date'; };
        var f = function () {}; f.toString = f.call = function () { return 'f'; };
        var p = Promise.resolve(1); p.then = 1; p.constructor = 2;
        var o = {}; o.toString = o.hasOwnProperty = o.constructor = function () { return 'o'; };
        var l = List.from([1, 2]); l.push = function () { return 'pushed'; };
        try { throw new Bad('x'); } catch (x) { var caught = x instanceof Bad && x instanceof Error && x.name + x.code; }
        return [e, caught, l.last, l.map(String) instanceof List, new Cache().get(1), new Old().name, d, f, o, l.push()].join();
    }"""
    assert vm.text(text) == "Mineb,Bad7,2,true,none,Old,date,f,o,pushed"


def test_modules_are_loaded_once_in_a_call_and_know_their_place(vm: Vm) -> None:
    program = Program(
        sources=(Source("a.js", "var m = require('./lib/m'); function h() { return m.name + require('./lib/m').n() + require('conf').x; }"),),
        entries=("h",),
        modules=(
            Module("lib/m.js", "var n = 0; exports.n = () => ++n; exports.name = __dirname + __filename + require('../conf').x;",
                   (("../conf", "conf.json"),)),
            Module("conf.json", '{"x": "y"}'),
        ),
        requires=(("./lib/m", "lib/m.js"), ("conf", "conf.json")),
    )  # fmt: skip
    hook = vm.hook(program)
    assert [text_of(result) for result in vm.results(hook, [1, 2])] == ["liblib/m.jsy1y"] * 2


def test_modules_that_are_not_there_are_an_error(vm: Vm) -> None:
    result = vm.result("function h() { return require('fs'); }")
    assert "Cannot find module 'fs'" in result.error


def test_stack_traces_name_file_and_line(vm: Vm) -> None:
    program = Program(
        sources=(
            Source("one.js", "// first\r\nvar x;\r// third"),
            Source("dir/two.js", "\n\nfunction h() {\n  return lib();\n}"),
        ),
        entries=("h",),
        library=Source("lib.js", "var m = require('m');\nfunction lib() {\n  m.fail();\n}"),
        modules=(Module("with space/m.js", "exports.fail = function fail() {\n  null.x;\n};"),),
        requires=(("m", "with space/m.js"),),
    )
    error = vm.result(vm.hook(program)).error.splitlines()
    assert error[0].startswith("TypeError: ")
    assert error[0].endswith("(with space/m.js:2:8)")
    assert error[1:4] == [
        "    at Object.fail (with space/m.js:2:8)",
        "    at lib (lib.js:3:5)",
        "    at h (dir/two.js:4:10)",
    ]


def test_what_is_thrown_need_not_be_an_error(vm: Vm) -> None:
    for thrown, message in [
        ("'text'", "text"),
        ("null", "null"),
        ("{}", "[object Object]"),
        ("Symbol('s')", "Symbol"),
        ("[1]", "1"),
    ]:
        assert vm.result(f"function h() {{ throw {thrown}; }}").error == f"Uncaught {message}"
    assert vm.result("function h() { throw {toString() { throw 1; }}; }").error == "Uncaught exception"


def test_asynchronous_handlers_are_awaited(vm: Vm) -> None:
    text = """async function h(r) {
        var both = await Promise.all([TykFetch('one'), TykFetch('two', {method: 'POST', timeout: 3})]);
        return r + JSON.stringify(both);
    }"""

    async def host(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
        return TEXT, json.dumps([name, json.loads(arguments[0])])

    vm.host = host
    results = vm.results(vm.hook(script(text)), ["a", "b", "c"])
    both = json.dumps(
        [["TykFetch", {"url": "one"}], ["TykFetch", {"method": "POST", "timeout": 3, "url": "two"}]], separators=(",", ":")
    )
    assert [text_of(result) for result in results] == [f"{letter}{both}" for letter in "abc"]


def test_rejected_promises_are_errors(vm: Vm) -> None:
    result = vm.result("async function h() {\n  await null;\n  throw new Error('late');\n}")
    assert (result.kind, result.error.splitlines()[0]) == ("error", "Error: late (a.js:3:9)")


def test_asynchronous_calls_do_not_see_each_other(vm: Vm) -> None:
    text = """var n = 0;
    async function h(r) {
        mark = r; Array.prototype.mark = r; n++;
        await TykFetch('x');
        return [mark, [].mark, n].join();
    }"""
    other = "function h(r) { return typeof mark + typeof [].mark; }"
    one, two = vm.hook(script(text), api="one"), vm.hook(script(other), api="two")
    results = vm.all([(one, "a"), (two, 0), (one, "b"), (two, 0), (one, "c"), (two, 0)])
    assert [text_of(result) for result in results] == [
        "a,a,1",
        "undefinedundefined",
        "b,b,1",
        "undefinedundefined",
        "c,c,1",
        "undefinedundefined",
    ]


def test_code_that_is_loaded_meanwhile_does_not_disturb_an_asynchronous_call(vm: Vm) -> None:
    asked: list[str] = []

    async def host(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
        asked.append(name)
        await vm.pool.prepare([vm.hook(script(f"function h() {{ return 'new {len(asked)}'; }}"))])
        return TEXT, "null"

    vm.host = host
    text = "async function h(r) { mark = r; await TykFetch('x'); await TykFetch('y'); return mark; }"
    assert vm.text(vm.hook(script(text)), "m") == "m"
    assert asked == ["TykFetch", "TykFetch"]


def test_host_calls_that_throw_are_caught_by_scripts(vm: Vm) -> None:
    assert (
        vm.text("function h() { try { TykStorageGet('a'); } catch (e) { return e.message + (e instanceof Error); } }")
        == "storage: notrue"
    )


def test_log_output_of_a_call_is_bounded(vm: Vm) -> None:
    vm.text("function h() { for (var i = 0; i < 5000; i++) log(''); log('x'.repeat(1e6)); return ''; }")
    assert 100 < len(vm.logged) < 2000
    assert vm.logged[-1][:2] == ("warning", "log output of this call is cut: preforge.jsvm.max_log_bytes")
    vm.logged.clear()
    vm.text("function h() { log('x'.repeat(1e6)); log('y'); return ''; }")
    assert [level for level, _, _ in vm.logged] == ["warning"]


def test_console_shows_what_it_is_given(vm: Vm) -> None:
    vm.text(
        "function h() { var a = {}; a.a = a; console.log('x', {b: [1]}, a, 1n, null, undefined, Symbol('s')); console.warn(1); return ''; }"
    )
    assert vm.logged == [
        ("info", 'x {"b":[1]} [object Object] 1 null undefined Symbol', "api"),
        ("warning", "1", "api"),
    ]


def test_code_at_load_is_heard_once(vm: Vm) -> None:
    program = script("log('loaded'); function h() { return ''; }")
    vm.report(program)
    vm.results(vm.hook(program), [1, 2, 3])
    assert [text for _, text, _ in vm.logged] == ["loaded"]


def test_binary_bodies_survive(vm: Vm) -> None:
    text = "var mw = new TykJS.TykMiddleware.NewMiddleware({}); mw.NewProcessRequest(function (r) { r.Body += '!'; return mw.ReturnData(r, {}); });"
    result = json.loads(vm.text(vm.hook(script(text, entries=["mw"]), mode="request"), {"request": {"Body": "\udcff\u00e9"}}))
    assert result["Request"]["Body"] == "\udcff\u00e9!"
    assert vm.text("function h() { return b64enc(b64dec('/w+A') + '!'); }") == "/w+AIQ=="
