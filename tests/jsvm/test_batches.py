"""Calls of one batch do not meet: what one of them asks, says, returns or leaves behind is its own."""

from __future__ import annotations

import asyncio
import json

import pytest

from jsvm_pool.pool import CallResult, Hook
from jsvm_pool.program import Program
from jsvm_pool.settings import PoolSettings
from tests.support.jsvm import TEXT, Vm, running, script, text_of

ONE = PoolSettings(contexts=1, max_contexts=2)
QUICK = "function h(r) { return 'quick ' + r; }"
ASK = "function h(r) { return TykGetKeyData('key', 'api') + ' ' + r; }"
# Dynamic code: the pool cannot tell beforehand that it makes promises.
HIDDEN = (
    "function h(r) { return r === null ? '' : Function('return asy' + 'nc function (r) { return \"later \" + r; }')()(r); }"
)
LEAVES = (
    "function h(r) { if (r !== null) Function('asy' + 'nc function f() { await 0;' +"
    ' \'String.prototype.toUpperCase = function () { return 666; }; log("left"); TykStorageSet("left", "1", "0"); } f()\')();'
    " return 'quick'; }"
)


TWO = script("function one() { return 'one'; } function two() { return 'two'; }", entries=("one", "two"))


async def _owner(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
    return TEXT, getattr(caller, "api_id", "")


def _ready(vm: Vm, *scripts: tuple[str, str]) -> list[Hook]:
    """Hooks of (source, API) that a context knows, so that calls of all of them share a batch, and that have never been called:
    the hooks behind them have. Keep all: a context knows no more than hooks need."""
    called = [vm.hook(source, api=api) for source, api in scripts]
    for hook in called:
        vm.result(hook, None)
    return [vm.hook(source, api=api) for source, api in scripts] + called


def test_the_host_is_asked_in_the_name_of_the_script_that_asks() -> None:
    with running(ONE, _owner) as vm:
        quick, asks, *_called = _ready(vm, (QUICK, "other"), (ASK, "asks"))
        results = vm.all([(quick, 1), (quick, 2), (asks, 3), (quick, 4)])
        assert [text_of(result) for result in results] == ["quick 1", "quick 2", "asks 3", "quick 4"]


def test_a_log_line_has_the_name_of_the_script_that_wrote_it() -> None:
    with running(ONE) as vm:
        say = "function h(r) { log('said ' + r); return ''; }"
        quick, says, *_called = _ready(vm, (QUICK, "other"), (say, "says"))
        vm.logged.clear()
        vm.all([(quick, 1), (says, 2), (quick, 3), (says, 4), (quick, 5)])
        assert vm.logged == [("info", "said 2", "says"), ("info", "said 4", "says")]


@pytest.mark.parametrize(
    "source",
    [
        "async function h(r) { return 'later ' + r; }",
        "async function h(r) { await 0; await 0; return 'later ' + r; }",
        "function h(r) { return r === null ? '' : {then: function (done) { done('later ' + r); }}; }",
        HIDDEN,
    ],
    ids=["at_once", "soon", "thenable", "hidden"],
)
def test_a_promise_settled_at_once_is_that_of_its_call(source: str) -> None:
    with running(ONE) as vm:
        quick, later, *_called = _ready(vm, (QUICK, "other"), (source, "later"))
        results = vm.all([(quick, 1), (quick, 2), (later, 3), (quick, 4), (later, 5)])
        assert [text_of(result) for result in results] == ["quick 1", "quick 2", "later 3", "quick 4", "later 5"]


def test_what_a_call_leaves_to_run_later_does_not_meet_an_asynchronous_one() -> None:
    asked: list[str] = []

    async def host(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
        asked.append(name)
        return 0, ""

    with running(ONE, host) as vm:
        leaves, waits, *_called = _ready(vm, (LEAVES, "leaves"), (HIDDEN, "waits"))
        vm.logged.clear()
        asked.clear()
        results = vm.all([(leaves, 1), (waits, 2), (leaves, 3), (waits, 4)])
        assert [text_of(result) for result in results] == ["quick", "later 2", "quick", "later 4"]
        assert "waits" not in [api for _, _, api in vm.logged]
        assert asked == []


ASKS_AND_RETURNS = [
    "return Function('return asy' + 'nc function (r) { return String(r); }')()(r);",
    "return eval('(asy' + 'nc () => String(r))()');",
    "return (function* () {}).constructor('yield (asy' + 'nc () => 1)()')().next().value.then(function () { return String(r); });",
    "return globalThis['Prom' + 'ise'].resolve(String(r));",
    "return Prom\\u0069se.resolve(String(r));",
    "return Array['from' + 'Asy' + 'nc']([]).then(function () { return String(r); });",
    "return globalThis['Tyk' + 'Fetch']('x').then(function () { return String(r); }, function () { return String(r); });",
    "var Stack = globalThis['Asy' + 'ncDisposableStack']; return new Stack().disposeAsync().then(function () { return String(r); });",
    "return {then: function (done) { done(String(r)); }};",
]


@pytest.mark.parametrize("returns", ASKS_AND_RETURNS)
def test_no_call_runs_twice_however_it_makes_its_promise(returns: str) -> None:
    asked: list[str] = []

    async def host(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
        if name == "TykStorageIncr":
            asked.append(arguments[0])
        return TEXT, "1"

    with running(ONE, host) as vm:
        text = f"function h(r) {{ if (r === null) return ''; TykStorageIncr('n' + r, 0); {returns} }}"
        quick, later, *_called = _ready(vm, (QUICK, "other"), (text, "later"))
        results = vm.all([(quick, 1), (quick, 2), (later, 3), (quick, 4), (later, 5), (later, 6)])
        assert [text_of(result) for result in results] == ["quick 1", "quick 2", "3", "quick 4", "5", "6"]
        assert sorted(asked) == ["n3", "n5", "n6"]


# (what a call has in hand, what it does with it after it has ended, what later calls look at)
LEFT_IN_HAND = {
    "symbol": ("Symbol.for('leak')", "Math[x] = 1", "typeof Math[Symbol.for('leak')]"),
    "proxy": ("new Proxy(Math, {})", "Object.defineProperty(x, 'leak', {value: 1, configurable: true})", "typeof Math.leak"),
    "fixed_proxy": ("new Proxy(Math, {})", "Object.defineProperty(x, 'leak', {value: 1})", "typeof Math.leak"),
}
LATER = {
    "hidden": "Function('x', 'asy' + 'nc function f() {{ await 0; ' + {code} + '; }} f()')(x)",
    "open": "Function('x', 'async function f() {{ await 0; ' + {code} + '; }} f()')(x)",
    "promise": "globalThis['Prom' + 'ise'].resolve().then(function () {{ eval({code}); }})",
}


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
@pytest.mark.parametrize(("taken", "does", "look"), LEFT_IN_HAND.values(), ids=LEFT_IN_HAND)
def test_what_a_call_does_when_it_has_ended_is_undone(taken: str, does: str, look: str, later: str) -> None:
    change = f"var x = {taken}; {later.format(code=json.dumps(does))};"
    text = f"function h(r) {{ if (r === 0) {{ {change} }} return r === 9 ? {look} : 'done'; }}"
    with running(ONE) as vm:
        hook = vm.hook(text)
        vm.text(hook, 1)
        assert [text_of(result) for result in vm.results(hook, [1, 0, 1, 1, 1])] == ["done"] * 5
        assert [text_of(result) for result in vm.results(hook, [9, 9, 9])] == ["undefined"] * 3


@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
@pytest.mark.parametrize(("taken", "does", "look"), LEFT_IN_HAND.values(), ids=LEFT_IN_HAND)
def test_what_loading_leaves_to_run_later_is_undone(taken: str, does: str, look: str, later: str) -> None:
    spoil = f"var x = {taken}; {later.format(code=json.dumps(does))};\nfunction h() {{}}"
    with running(PoolSettings(contexts=1, max_contexts=1)) as vm:
        vm.report(script(spoil))
        assert vm.text(f"function h() {{ return {look}; }}") == "undefined"


def test_scripts_that_use_eval_and_function_see_them_as_ever() -> None:
    text = """function h() {
        var local = 'local', strict = (function () { 'use strict'; return eval('typeof this'); })();
        class Made extends Function { constructor() { super('a', 'b', 'return a + b'); } twice(n) { return this(n, n); } }
        return [eval('local'), (0, eval)('typeof local'), strict, new Function('a', 'return a + 1')(1), Function()(), new Made().twice(2),
            Function.name, Function.length, h.constructor === Function, h instanceof Function, Made.__proto__ === Function,
            Object.getPrototypeOf(Function) === Function.prototype, Object.getPrototypeOf((function* () {}).constructor) === Function,
            (function* () {}).constructor('yield 7')().next().value, new Function('a,b', 'c', 'return a + b + c')(1, 2, 3)].join();
    }"""
    with running(ONE) as vm:
        assert vm.text(text) == "local,undefined,undefined,2,,4,Function,1,true,true,true,true,true,7,6"


def test_many_results_that_are_too_long_for_a_batch_all_arrive() -> None:
    with running(ONE) as vm:
        hook = vm.hook("function h(r) { return 'x'.repeat(40000) + r; }")
        results = vm.results(hook, list(range(64)))
        assert [(result.kind, (result.text or b"")[40000:].decode()) for result in results] == [
            ("ok", str(n)) for n in range(64)
        ]


LENGTHS = (0, 1, 3, 16374, 16376, 16380, 16384, 32750, 32759, 32760, 32761, 32767, 32768, 32769)


@pytest.mark.parametrize("later", ["", "async "], ids=["now", "later"])
@pytest.mark.parametrize("character", ["a", "\u00e9", "\u20ac", "\U0001f600", "\ud800"], ids=ascii)
def test_results_around_the_bounds_of_a_batch_are_whole(character: str, later: str) -> None:
    """Halves of surrogate pairs become U+FFFD, however long the text is."""
    one = character.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    with running(ONE) as vm:
        hook = vm.hook(f"{later}function h(r) {{ return r[0] + {json.dumps(character)}.repeat(r[1]) + r[0]; }}")
        payloads = [(f"<{n}>", length) for length in LENGTHS for n in range(3)]
        results = vm.results(hook, payloads)
        assert [text_of(result) for result in results] == [mark + one * length + mark for mark, length in payloads]


@pytest.mark.parametrize("issued", [2**31 - 5, 2**31 + 5, 2**32 - 5, 2**32 - 1])
def test_calls_are_begun_when_their_numbers_wrap(issued: int) -> None:
    with running(PoolSettings(contexts=1, max_contexts=1), _owner) as vm:
        hook = vm.hook(QUICK)
        vm.text(hook)
        (lane,) = vm.pool.lanes.values()
        lane.issued = issued
        assert [text_of(result) for result in vm.results(hook, list(range(40)))] == [f"quick {n}" for n in range(40)]
        assert text_of(vm.result(vm.hook(ASK, api="asks"), 1)) == "asks 1"
        assert vm.pool.stats()["busy"] == 0


def test_a_receiver_that_fails_does_not_lose_the_results_of_others() -> None:
    with running(ONE) as vm:
        hook = vm.hook(QUICK)
        vm.text(hook)

        def fails(result: CallResult) -> None:
            raise RuntimeError("this one cannot take it")

        async def calls() -> list[CallResult]:
            first = vm.start(hook, 1)
            hook.call(b'{"request":2,"session":null,"config":null,"extra":null}', fails)
            return [await first, *await asyncio.gather(*(vm.start(hook, n) for n in (3, 4)))]

        assert [text_of(result) for result in vm.run(calls())] == ["quick 1", "quick 3", "quick 4"]
        assert [text for _, text, _ in vm.logged] == ["internal: RuntimeError: this one cannot take it"]


def test_reloads_with_other_constants_leave_nothing_behind() -> None:
    program: Program = script(QUICK)
    with running(ONE) as vm:
        for n in range(50):
            hook = Hook(vm.pool, program, 0, "virtual", vm.hook(program).caller, 10.0, constants=_constants(n))
            vm.pool.configure(ONE, [program])
            assert text_of(vm.result(hook, n)) == f"quick {n}"
        sizes = [(len(lane.runners), len(lane.programs)) for lane in vm.pool.lanes.values()]
        assert all(runners <= 2 and programs <= 1 for runners, programs in sizes), sizes
        assert len(vm.pool.keys) <= 2


def _constants(n: int) -> str:
    return f'{{"config": "[{n}]", "api": "", "name": "", "hook": ""}}'


def test_a_runner_that_comes_for_a_program_that_goes_is_not_taken_for_another() -> None:
    """The calls run the script that they are for, although a reload drops what the context has just been asked for."""

    async def body(vm: Vm, two: Hook, kept: Hook, others: list[Hook]) -> list[CallResult]:
        call = vm.start(two)
        await asyncio.sleep(0)  # its runner is asked for
        vm.pool.configure(ONE, [kept.program, *(other.program for other in others)])
        first = await call
        return [first, *await asyncio.gather(*(vm.start(hook, 1) for hook in [*others, two, kept, two]))]

    with running(ONE) as vm:
        kept, one = vm.hook(QUICK), vm.hook(TWO)
        assert (vm.text(kept, 0), vm.text(one)) == ("quick 0", "one")
        others = [vm.hook(f"function h() {{ return 'other {n}'; }}", api=f"other{n}") for n in range(3)]
        results = vm.run(body(vm, vm.hook(TWO, entry=1), kept, others))
        wanted = ["two", "other 0", "other 1", "other 2", "two", "quick 1", "two"]
        assert [text_of(result) for result in results] == wanted
        assert vm.pool.stats()["busy"] == 0


def test_a_runner_that_comes_for_a_program_that_goes_and_comes_back_is_there() -> None:
    async def body(vm: Vm, two: Hook, third: Hook, kept: Program) -> list[CallResult]:
        calls = [vm.start(two)]
        await asyncio.sleep(0)  # its runner is asked for
        vm.pool.configure(ONE, [kept])
        calls.append(vm.start(third))  # brings the program back
        return list(await asyncio.gather(*calls, vm.start(two)))

    with running(ONE) as vm:
        kept, one = vm.hook(QUICK), vm.hook(TWO)
        assert (vm.text(kept, 0), vm.text(one)) == ("quick 0", "one")
        third = Hook(vm.pool, TWO, 0, "virtual", one.caller, 10.0, constants=_constants(3))
        results = vm.run(body(vm, vm.hook(TWO, entry=1), third, kept.program))
        assert [text_of(result) for result in results] == ["two", "one", "two"]
        vm.pool.configure(ONE, [kept.program])
        assert [len(lane.programs) for lane in vm.pool.lanes.values()] == [1]


def test_a_program_that_an_old_hook_brings_back_is_forgotten_again() -> None:
    with running(ONE) as vm:
        old, kept = vm.hook("function h() { return 'old'; }"), vm.hook(QUICK)
        for _ in range(3):
            assert (vm.text(old), vm.text(kept, 1)) == ("old", "quick 1")
            vm.pool.configure(ONE, [kept.program])
        assert [len(lane.programs) for lane in vm.pool.lanes.values()] == [1]
        assert (vm.text(old), vm.text(kept, 1)) == ("old", "quick 1")


def test_a_call_of_a_program_with_state_runs_once_while_the_program_goes() -> None:
    asked: list[str] = []
    settings = PoolSettings(contexts=1, max_contexts=4)

    async def body(vm: Vm, old: Hook, kept: Program) -> CallResult:
        call = vm.start(old)
        while not asked:
            await asyncio.sleep(0.001)
        vm.pool.configure(settings, [kept])
        return await call

    async def host(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
        asked.append(arguments[0])
        await asyncio.sleep(0.02)
        return TEXT, "said"

    async def gone(vm: Vm) -> None:
        while vm.pool.stats()["contexts"] > 1:
            await asyncio.sleep(0.01)

    with running(settings, host) as vm:
        program = script("var n = 0; function h() { n++; return TykStorageIncr('n', 0) + n; }", shared=True)
        old, kept = vm.hook(program), vm.hook(QUICK)
        vm.text(kept, 1)
        assert text_of(vm.run(body(vm, old, kept.program))) == "said1"
        assert asked == ["n"]
        vm.run(gone(vm))


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.004])
def test_a_program_with_state_may_go_while_its_context_begins(delay: float) -> None:
    settings = PoolSettings(contexts=1, max_contexts=4)

    async def body(vm: Vm, old: Hook, kept: Program) -> CallResult:
        call = vm.start(old)
        await asyncio.sleep(delay)
        vm.pool.configure(settings, [kept])
        return await call

    with running(settings) as vm:
        old, kept = vm.hook(script("var n = 0; function h() { return '' + ++n; }", shared=True)), vm.hook(QUICK)
        vm.text(kept, 1)
        assert text_of(vm.run(body(vm, old, kept.program))) == "1"


def test_a_context_that_an_old_hook_brings_back_for_its_state_ends_again() -> None:
    program = script("var n = 0; function h() { return '' + ++n; }", shared=True)
    with running(PoolSettings(contexts=1, max_contexts=4)) as vm:
        old, kept = vm.hook(program), vm.hook(QUICK)
        vm.text(kept, 1)
        for _ in range(3):
            assert vm.text(old) == "1"
            vm.pool.configure(ONE, [kept.program])
            assert vm.settle()["contexts"] == 1
