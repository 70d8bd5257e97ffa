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
HIDDEN = "function h(r) { return Function('return asy' + 'nc function (r) { return \"later \" + r; }')()(r); }"
LEAVES = (
    "function h(r) { Function('asy' + 'nc function f() { await 0;' +"
    ' \'String.prototype.toUpperCase = function () { return 666; }; log("left"); TykStorageSet("left", "1", "0"); } f()\')();'
    " return 'quick'; }"
)


async def _owner(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
    return TEXT, getattr(caller, "api_id", "")


def _ready(vm: Vm, *hooks: Hook) -> None:
    """Have a context know the hooks, so that calls of all of them share a batch."""
    for hook in hooks:
        vm.result(hook, 0)


def test_the_host_is_asked_in_the_name_of_the_script_that_asks() -> None:
    with running(ONE, _owner) as vm:
        _ready(vm, vm.hook(QUICK, api="other"), vm.hook(ASK, api="asks"))
        quick, asks = vm.hook(QUICK, api="other"), vm.hook(ASK, api="asks")
        results = vm.all([(quick, 1), (quick, 2), (asks, 3), (quick, 4)])
        assert [text_of(result) for result in results] == ["quick 1", "quick 2", "asks 3", "quick 4"]


def test_a_log_line_has_the_name_of_the_script_that_wrote_it() -> None:
    with running(ONE) as vm:
        say = "function h(r) { log('said ' + r); return ''; }"
        _ready(vm, vm.hook(QUICK, api="other"), vm.hook(say, api="says"))
        vm.logged.clear()
        quick, says = vm.hook(QUICK, api="other"), vm.hook(say, api="says")
        vm.all([(quick, 1), (says, 2), (quick, 3), (says, 4), (quick, 5)])
        assert vm.logged == [("info", "said 2", "says"), ("info", "said 4", "says")]


@pytest.mark.parametrize(
    "source",
    [
        "async function h(r) { return 'later ' + r; }",
        "async function h(r) { await 0; await 0; return 'later ' + r; }",
        "function h(r) { return {then: function (done) { done('later ' + r); }}; }",
        HIDDEN,
    ],
    ids=["at_once", "soon", "thenable", "hidden"],
)
def test_a_promise_settled_at_once_is_that_of_its_call(source: str) -> None:
    with running(ONE) as vm:
        _ready(vm, vm.hook(QUICK, api="other"), vm.hook(source, api="later"))
        quick, later = vm.hook(QUICK, api="other"), vm.hook(source, api="later")
        results = vm.all([(quick, 1), (quick, 2), (later, 3), (quick, 4), (later, 5)])
        assert [text_of(result) for result in results] == ["quick 1", "quick 2", "later 3", "quick 4", "later 5"]


def test_what_a_call_leaves_to_run_later_does_not_meet_an_asynchronous_one() -> None:
    asked: list[str] = []

    async def host(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
        asked.append(name)
        return 0, ""

    with running(ONE, host) as vm:
        _ready(vm, vm.hook(LEAVES, api="leaves"), vm.hook(HIDDEN, api="waits"))
        vm.logged.clear()
        asked.clear()
        leaves, waits = vm.hook(LEAVES, api="leaves"), vm.hook(HIDDEN, api="waits")
        results = vm.all([(leaves, 1), (waits, 2), (leaves, 3), (waits, 4)])
        assert [text_of(result) for result in results] == ["quick", "later 2", "quick", "later 4"]
        assert "waits" not in [api for _, _, api in vm.logged]
        assert asked == []


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


def test_a_program_that_an_old_hook_brings_back_is_forgotten_again() -> None:
    with running(ONE) as vm:
        old, kept = vm.hook("function h() { return 'old'; }"), vm.hook(QUICK)
        for _ in range(3):
            assert (vm.text(old), vm.text(kept, 1)) == ("old", "quick 1")
            vm.pool.configure(ONE, [kept.program])
        assert [len(lane.programs) for lane in vm.pool.lanes.values()] == [1]
        assert (vm.text(old), vm.text(kept, 1)) == ("old", "quick 1")


def test_a_context_that_an_old_hook_brings_back_for_its_state_ends_again() -> None:
    program = script("var n = 0; function h() { return '' + ++n; }", shared=True)
    with running(PoolSettings(contexts=1, max_contexts=4)) as vm:
        old, kept = vm.hook(program), vm.hook(QUICK)
        vm.text(kept, 1)
        for _ in range(3):
            assert vm.text(old) == "1"
            vm.pool.configure(ONE, [kept.program])
            assert vm.settle()["contexts"] == 1
