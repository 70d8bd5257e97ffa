"""Scripts that do harm: each is ended, and other programs are served by the same pool afterwards."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from jsvm_pool.pool import CallResult, Hook
from jsvm_pool.program import Module, Source
from tests.jsvm.conftest import SMALL
from tests.support.jsvm import Vm, script, text_of

GOOD = "function h(r) { return 'good ' + r; }"


def _attacked(vm: Vm, hook: Hook) -> CallResult:
    """The result of a call that has begun: on a machine that has much to do there may be no context in time."""
    result = vm.result(hook)
    while result.kind == "busy":
        vm.settle()
        result = vm.result(hook)
    return result


def _survives(vm: Vm, before: int) -> None:
    """Others are served, and no context, thread or slot is lost."""
    assert vm.text(vm.hook(GOOD, api="good", timeout=10.0), "day") == "good day"
    stats = vm.settle()
    assert stats["closing"] == 0
    assert stats["contexts"] <= 4
    assert threading.active_count() <= before


LOOPS = {
    "while": "function h() { while (true); }",
    "recursion_that_is_caught": "function h() { function f() { try { f(); } catch (e) { f(); } } f(); }",
    "catch_all": "function h() { while (true) { try { while (true); } catch (e) {} finally { continue; } } }",
    "regexp": "function h() { return String(/^(a+)+$/.test('a'.repeat(60) + 'b')); }",
    "regexp_in_replace": "function h() { return ('a'.repeat(60) + 'b').replace(/^(a|a)*$/, 'x'); }",
    "proxy_trap": "function h() { return new Proxy({}, {get() { while (true); }}).x; }",
    "proxy_chain": "function h() { var p = {}; p.__proto__ = new Proxy({}, {get(t, k, r) { return r[k + 1]; }}); while (1) try { p.x; } catch (e) {} }",
    "getter": "function h() { return {get x() { while (true); }}.x; }",
    "to_string_of_an_argument": "function h() { log({toString() { while (true); }}); }",
    "to_string_of_the_result": "function h() { return {toString() { while (true); }}; }",
    "to_json_of_the_result": "function h() { return TykJsResponse({toJSON() { while (true); }}, {}); }",
    "message_of_the_error": "function h() { throw {get message() { while (true); }}; }",
    "stack_of_the_error": "function h() { throw {message: 'x', get stack() { while (true); }}; }",
    "prepared_stack_trace": "function h() { Error.prepareStackTrace = () => { while (true); }; throw new Error('x'); }",
    "then": "function h() { return {then() { while (true); }}; }",
    "then_getter": "function h() { return {get then() { while (true); }}; }",
    "thenable_of_itself": "function h() { return {then(f) { f({then: this.then}); }}; }",
    "microtasks": "async function h() { for (;;) await null; }",
    "growing_microtasks": "function h() { var f = () => Promise.resolve().then(f); return f(); }",
    "promise_that_never_settles": "function h() { return new Promise(function () {}); }",
    "generator": "function h() { return [...(function* () { for (;;) yield; })()].length; }",
    "infinite_iterator": "function h() { new Set((function* () { for (;;) yield 1; })()); }",
    "async_generator": "async function h() { for await (var x of (async function* () { for (;;) yield; })()); }",
    "sort": "function h() { for (;;) [3, 2, 1].sort(() => Math.random() - 0.5); }",
    "json_reviver": "function h() { JSON.parse('[1]', function () { while (true); }); }",
    "top_level_of_the_call": "if (typeof seen === 'undefined' && Math.random() < 2) { var n = 0; }\nfunction h() { for (;;) n++; }",
    "class_initializer": "function h() { class A { static { while (true); } } }",
    "indirect_eval": "function h() { (0, eval)('while (true);'); }",
    "async_function": "async function h() { while (true); }",
    "after_an_await": "async function h() { await null; while (true); }",
    "date_parsing": "function h() { for (;;) Date.parse('1 jan 2000 '.repeat(1000)); }",
    "bigint": "function h() { var x = 3n; for (;;) x = x * x; }",
    "native_calls": "function h() { for (;;) TykGetKeyData('a', 'b'); }",
    "native_calls_that_throw": "function h() { for (;;) try { TykStorageGet('a'); } catch (e) {} }",
    "fetches": "function h() { for (;;) TykFetch('x').catch(() => 0); }",
    "logs": "function h() { for (;;) log(''); }",
    "base64": "function h() { var s = 'x'.repeat(1e6); for (;;) b64dec(b64enc(s)); }",
    "underscore": "function h() { _.times(Infinity, function () {}); }",
}


@pytest.mark.parametrize("text", LOOPS.values(), ids=LOOPS)
def test_endless_scripts_are_ended(vm: Vm, text: str) -> None:
    before = threading.active_count()
    result = _attacked(vm, vm.hook(text, api="bad", timeout=0.06))
    assert result.kind in ("timeout", "memory", "error"), result
    _survives(vm, max(before, 2))


LEFTOVERS = {
    "of_a_call": "async function f() { for (;;) await null; } function h() { f(); return 'x'; }",
    "of_an_asynchronous_call": "async function f() { for (;;) await null; } async function h() { f(); await null; return 'x'; }",
    "after_a_fetch": "async function f() { for (;;) await null; } async function h() { await TykFetch('x'); f(); return 'x'; }",
}


@pytest.mark.parametrize("text", LEFTOVERS.values(), ids=LEFTOVERS)
def test_endless_work_that_a_call_leaves_behind_is_ended(vm: Vm, text: str) -> None:
    replaced = vm.pool.stats()["replaced"]
    bad, good = vm.hook(text, api="bad", timeout=0.1), vm.hook(GOOD, api="good", timeout=10.0)
    results = vm.all([(bad, 0), *((good, n) for n in range(5))])
    assert results[0].kind in ("ok", "timeout")
    assert [text_of(result) for result in results[1:]] == [f"good {n}" for n in range(5)]

    async def ended() -> None:
        while vm.pool.stats()["replaced"] == replaced:
            await asyncio.sleep(0.01)

    vm.run(ended())
    _survives(vm, 2)


def test_endless_code_at_load_does_not_stop_others(vm: Vm) -> None:
    bad = vm.hook("while (true);\nfunction h() {}", api="bad", timeout=0.05)
    results: list[CallResult] = []
    bad.call(b"{}", results.append)
    assert vm.text(vm.hook(GOOD, api="good", timeout=10.0), 1) == "good 1"
    vm.pool.configure(SMALL, [])
    _survives(vm, 2)
    assert {result.kind for result in results} <= {"busy", "error"}


BOMBS = {
    "arrays": "function h() { var a = []; for (;;) a.push(new Array(1000).fill('x')); }",
    "numbers": "function h() { var a = []; for (;;) a.push(1); }",
    "objects": "function h() { var a = {}; for (var i = 0; ; i++) a['k' + i] = {i: i}; }",
    "doubling_text": "function h() { var s = 'x'; for (;;) s += s; }",
    "texts": "function h() { var a = []; for (;;) a.push('x'.repeat(1 << 16) + Math.random()); }",
    "flat_text": "function h() { var a = []; for (;;) { var s = 'x'.repeat(1 << 22); /z/.test(s); a.push(s + Math.random()); } }",
    "maps": "function h() { var m = new Map(); for (var i = 0; ; i++) m.set(i, i); }",
    "sets": "function h() { var s = new Set(); for (;;) s.add({}); }",
    "weak_maps": "function h() { var m = new WeakMap(), a = []; for (;;) { var o = {}; a.push(o); m.set(o, [1, 2, 3]); } }",
    "bigints": "function h() { var a = []; for (;;) a.push(7n ** 100000n); }",
    "closures": "function h() { var f = function () {}; for (;;) f = ((g) => function () { return g; })(f); }",
    "symbols": "function h() { var o = {}; for (;;) o[Symbol()] = 1; }",
    "registered_symbols": "function h() { for (var i = 0; ; i++) Symbol.for('x'.repeat(1000) + i); }",
    "promises": "function h() { var a = []; for (;;) a.push(new Promise(function () {}).then(function () {})); }",
    "concatenated_arrays": "function h() { var a = [1]; for (;;) a = a.concat(a); }",
    "spread_arrays": "function h() { var a = [1]; for (;;) a = [...a, ...a]; }",
    "regexps": "function h() { var a = []; for (var i = 0; ; i++) { var r = new RegExp('x{' + i % 999 + '}y' + i); r.test('x'); a.push(r); } }",
    "functions": "function h() { var a = []; for (var i = 0; ; i++) a.push(Function('return ' + i)); }",
    "json": "function h() { var a = 'x'; for (;;) a = JSON.stringify(a + a); }",
    "errors": "function h() { var a = []; for (;;) a.push(new Error('x'.repeat(1000) + a.length)); }",
    "global": "function h() { for (var i = 0; ; i++) globalThis['k' + i] = [i]; }",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_memory_bombs_are_ended(vm: Vm, text: str) -> None:
    before = threading.active_count()
    result = _attacked(vm, vm.hook(text, api="bad", timeout=1.5))
    assert result.kind in ("memory", "timeout", "error"), result
    assert result.kind != "error" or "Range" in result.error, result
    _survives(vm, max(before, 2))


RECURSION = {
    "function": "function h() { return h() + 1; }",
    "callback": "function h() { return [1].map(h); }",
    "getter": "var o = {get x() { return this.x; }}; function h() { return o.x; }",
    "to_string": "var o = {toString() { return '' + this; }}; function h() { return '' + o; }",
    "proxy": "var p = new Proxy({}, {get(t, k, r) { return r[k]; }}); function h() { return p.x; }",
    "json": "function h() { var a = []; for (var i = 0; i < 1e5; i++) a = [a]; return JSON.stringify(a); }",
    "json_text": "function h() { return JSON.parse('['.repeat(1e6)); }",
    "regexp": "function h() { return new RegExp('(?:'.repeat(1e5) + ')'.repeat(1e5)); }",
    "source": "function h() { return eval('('.repeat(1e6)); }",
    "natives": "function h() { TykJS.TykMiddleware.NewMiddleware.prototype.toString = h; return b64enc(new TykJS.TykMiddleware.NewMiddleware()); }",
    "log": "var o = {toString() { log(this); }}; function h() { log(o); }",
    "require": "function h() { return require(String(h())); }",
    "prototype_chain": "function h() { var o = {}; for (var i = 0; i < 1e5; i++) o = Object.create(o); return o.x.y; }",
    "bound_functions": "function h() { var f = h; for (var i = 0; i < 2000; i++) f = f.bind(); return f(); }",
    "flat": "function h() { var a = []; for (var i = 0; i < 1e6; i++) a = [a]; return a.flat(Infinity).length; }",
    "promises": "async function h() { return await h(); }",
    "defined_property": "function h() { Object.defineProperty(Math, {toString() { h(); }}, {}); }",
}


@pytest.mark.parametrize("text", RECURSION.values(), ids=RECURSION)
def test_deep_recursion_ends(vm: Vm, text: str) -> None:
    result = _attacked(vm, vm.hook(text, api="bad", timeout=10.0))
    assert result.kind in ("ok", "error", "memory"), result
    _survives(vm, 2)


MARKS = [chr(code) + rest for code in range(8) for rest in ("", "x", '["a","b"]')]


@pytest.mark.parametrize("answer", MARKS)
def test_results_are_not_taken_for_marks_of_the_runtime(vm: Vm, answer: str) -> None:
    literal = json.dumps(answer)
    replaced = vm.pool.stats()["replaced"]
    assert vm.text(f"function h() {{ return {literal}; }}") == answer
    assert vm.text(f"async function h() {{ return {literal}; }}") == answer
    assert vm.text(f"async function h() {{ await TykFetch('x'); return {literal}; }}") == answer
    assert vm.pool.stats()["replaced"] == replaced


def test_prototypes_with_to_json_do_not_change_what_the_host_is_asked(vm: Vm) -> None:
    spoil = "Array.prototype.toJSON = Object.prototype.toJSON = String.prototype.toJSON = function () { return 7; };"
    assert vm.text(f"function h() {{ {spoil} return TykGetKeyData('a', 'b'); }}") == '["TykGetKeyData", ["a", "b"]]'
    failed = vm.result(f"function h() {{ {spoil} throw new Error('why'); }}")
    assert (failed.kind, failed.error.splitlines()[0][:10]) == ("error", "Error: why")
    fetched = vm.result(f"async function h() {{ {spoil} return String(await TykFetch('a')); }}")
    assert fetched.kind == "ok", fetched


ARGUMENTS = {
    "nothing": ("", ["undefined", "undefined"]),
    "null": ("null, null", ["null", "null"]),
    "array": ("['a', 'b'], []", ["a,b", ""]),
    "symbol": ("Symbol('x'), Symbol.iterator", ["Symbol", "Symbol"]),
    "bigint": ("12n, -1n", ["12", "-1"]),
    "object": ("{}, {toString: () => 'z'}", ["[object Object]", "z"]),
    "control_characters": r"""'\u0000"]\n', '\u0001'""" and (r"""'\u0000"]\n', '\u0001'""", ['\0"]\n', "\1"]),
    "halves_of_surrogate_pairs": (r"'\ud800', '\udfff'", ["\ud800", "\udfff"]),
    "cyclic": ("(function () { var a = []; a[0] = a; return a; })(), 1", ["", "1"]),
}


@pytest.mark.parametrize(("arguments", "texts"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_hostile_arguments_reach_the_host_as_texts(vm: Vm, arguments: str, texts: list[str]) -> None:
    seen: list[object] = []

    async def host(name: str, given: list[str], caller: object, deadline: float) -> tuple[int, str]:
        seen.append((name, given))
        return 0, ""

    vm.host = host
    assert vm.text(f"function h() {{ return String(TykGetKeyData({arguments})); }}") == "undefined"
    assert seen == [("TykGetKeyData", texts)]


def test_arguments_that_throw_or_are_too_long_are_errors_of_the_script(vm: Vm) -> None:
    assert "mine" in vm.result("function h() { TykGetKeyData({toString() { throw new Error('mine'); }}); }").error
    assert "primitive" in vm.result("function h() { b64enc(Object.create(null)); }").error
    long = vm.result("function h() { TykSetKeyData('a', 'x'.repeat((1 << 24) + 1), 'b'); }")
    assert (long.kind, "too much text" in long.error) == ("error", True)
    assert "too much text" in vm.result("async function h() { await TykFetch('x'.repeat((1 << 24) + 1)); }").error
    assert vm.text("function h() { return JSON.parse(TykGetKeyData('a', 'x'.repeat(3e5)))[1][1]; }") == "x" * 40
    _survives(vm, 2)


def test_too_many_requests_at_one_time_are_refused(vm: Vm) -> None:
    text = """async function h() {
        var all = [];
        for (var i = 0; i < 1000; i++) all.push(TykFetch('x'));
        var ends = await Promise.allSettled(all);
        return JSON.stringify([ends.filter((e) => e.status === 'fulfilled').length, String(ends[999].reason)]);
    }"""
    done, why = json.loads(vm.text(text))
    assert 0 < done < 1000
    assert "too many requests" in why


def test_keys_that_are_proto_do_not_pollute(vm: Vm) -> None:
    text = "function h(r, s, c) { return JSON.stringify([({}).x, r.Headers.x, Object.keys(r.Headers), typeof c.x]); }"
    payload = json.loads(
        '{"request": {"Headers": {"__proto__": {"x": 1}, "constructor": {"prototype": {"x": 1}}}}, "config": {}}'
    )
    assert json.loads(vm.text(text, payload)) == [None, None, ["__proto__", "constructor"], "undefined"]


ESCAPES = {
    "constructor_of_the_constructor": "Object.keys(log.constructor.constructor('return this')()).join() + typeof process + typeof os",
    "constructor_of_an_argument": "typeof arguments[0].constructor.constructor('return typeof require + typeof words')()",
    "runtime_names": "[typeof words, typeof bell, typeof programs, typeof restore, typeof dirty, typeof ask, typeof post].join()",
    "caller": "String(h.caller) + String(arguments.callee.caller)",
    "strict_caller": "(() => { try { return String(TykGetKeyData.caller); } catch (e) { return e.name; } })()",
    "shared_memory": "[typeof SharedArrayBuffer, typeof Atomics, typeof WebAssembly, typeof WeakRef, typeof FinalizationRegistry].join()",
    "inner_caller": "(() => { var f; log({toString: function g() { f = g.caller; return ''; }}); return String(f); })()",
}
ESCAPED = {
    "constructor_of_the_constructor": "undefinedundefined",
    "constructor_of_an_argument": "string",
    "runtime_names": ",".join(["undefined"] * 7),
    "caller": "nullnull",
    "strict_caller": "TypeError",
    "shared_memory": ",".join(["undefined"] * 5),
    "inner_caller": "null",
}


@pytest.mark.parametrize("name", ESCAPES)
def test_there_is_no_way_out(vm: Vm, name: str) -> None:
    assert vm.text(f"function h() {{ return String({ESCAPES[name]}); }}", {"request": {}}) == ESCAPED[name]


def test_call_sites_do_not_give_away_functions_of_the_runtime(vm: Vm) -> None:
    text = """function h() {
        Error.prepareStackTrace = (e, sites) => sites.map((s) => typeof s.getFunction() + typeof s.getThis()).join();
        var inside = {};
        b64enc({toString() { inside.stack = new Error('x').stack; return ''; }});
        return inside.stack;
    }"""
    frames = vm.text(text).split(",")
    assert len(frames) >= 4, frames
    assert [frame for frame in frames if frame.startswith("function")] == frames[:1]


def test_entry_names_cannot_bring_statements_with_them(vm: Vm) -> None:
    names = [
        "h); evil = 1; (h",
        "h];evil = 1;[h",
        "h; evil = 1",
        "h//",
        "h/*",
        "",
        "})(); evil = 1; (function(){",
        "return h",
        "...h",
        "h\n);evil=1;(",
    ]
    program = script("function h() { return typeof evil; }", entries=["h", *names])
    assert vm.text(vm.hook(program)) == "undefined"
    for entry, name in enumerate(names, 1):
        result = vm.result(vm.hook(program, entry=entry))
        if name == "h//":
            assert text_of(result) == "undefined"
        else:
            assert result.kind == "error", name
            assert "is not an expression" in result.error, result
            assert json.dumps(name) in result.error


def test_exports_cannot_bring_statements_with_them(vm: Vm) -> None:
    exports = (("h", "good"), ("1); evil = 1; (1", "a"), ("1", "b; evil = 1"), ("h", "if"), ("h", "c"))
    source = Source("a.js", "function h() { return typeof evil + typeof a; }", exports=exports)
    program = script(entries=["good", "c"])
    program = type(program)(sources=(source,), entries=("good", "c"))
    assert vm.text(vm.hook(program)) == "undefinedundefined"
    assert vm.text(vm.hook(program, entry=1)) == "undefinedundefined"


SOURCES = [
    "})(); evil = 1; (function () {",
    "}; evil = 1; {",
    "return; evil = 1;",
    "/* ",
    "`",
    "if (1) {",
    "//# sourceURL=x\nreturn",
    "} catch (e) {} try {",
    "#! x\n",
    "super.x",
    "new.target",
]


@pytest.mark.parametrize("text", SOURCES)
def test_sources_cannot_end_the_function_that_they_are_part_of(vm: Vm, text: str) -> None:
    program = script(text, "function h() { return typeof evil; }")
    report = vm.report(program)
    assert [source for source, _ in report.errors] == [0], report
    assert report.errors[0][1].startswith("SyntaxError")
    assert vm.text(vm.hook(program)) == "undefined"


def test_names_of_modules_cannot_bring_code_with_them(vm: Vm) -> None:
    name = "a\nthrow new Error('evil');//.js"
    program = script(
        "function h() { return require('./a').x; }",
        modules=(Module(name, "exports.x = 'fine'"), Module("__proto__", "exports.y = 1")),
        requires=(("./a", name),),
    )
    assert vm.text(vm.hook(program)) == "fine"


def test_modules_keep_nothing(vm: Vm) -> None:
    text = """
        function h() {
            Object.prototype.code = function (e, r, m) { m.exports = {n: 'leak'}; };
            var m = require('./m');
            m.f.leak = m.n++;
            return String(m.n) + typeof m.callee.leak;
        }"""
    module = "exports.n = 1; exports.f = function () {}; exports.callee = arguments.callee; exports.callee.leak = 1;"
    program = script(text, modules=(Module("m.js", module),), requires=(("./m", "m.js"),))
    hook = vm.hook(program)
    assert [text_of(result) for result in vm.results(hook, [1, 2, 3])] == ["2undefined"] * 3


def test_code_at_load_leaves_nothing_to_the_programs_loaded_next(vm: Vm) -> None:
    spoil = """
        Array.prototype[Symbol.iterator] = function* () { yield 'evil'; yield []; };
        RegExp.prototype.test = RegExp = function () { return {test() { return true; }}; };
        Object.defineProperty(Object.prototype, '0', {set() { throw 1; }, configurable: true});
        Object.prototype.get = 1;
        $at(99); $at('x'); $at(-1);
        throw new Error('at load');"""
    report = vm.report(script(spoil, "function h() { return 'h'; }"))
    assert [source for source, _ in report.errors] == [0]
    assert "at load (a.js:7:15)" in report.errors[0][1]
    assert vm.text("function h() { return [...[1, 2]].join() + /a/.test('a') + typeof evil; }") == "1,2trueundefined"


def test_stacks_that_scripts_make_up_cost_little(vm: Vm) -> None:
    made_up = (
        r"function h() { var e = new Error('x'); e.stack = ('    at ' + ' (eval at , preforge:9:9'.repeat(300)); throw e; }"
    )
    assert vm.result(made_up).error == "Error: x"
    far = "function h() { var e = new Error('x'); e.stack = '    at f (preforge-module:7:1:1)\\n    at preforge:0:999999999:1'; throw e; }"
    assert vm.result(far).error.startswith("Error: x")
