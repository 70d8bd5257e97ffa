"""Contexts: which call gets one, what ends it, and what happens to the others. Each test has a pool of its own."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from jsvm_pool.pool import CallResult
from jsvm_pool.settings import PoolSettings
from tests.support.jsvm import TEXT, running, script, text_of

GOOD = "function h(r) { return 'good ' + r; }"
SPIN = "function h() { while (true); }"
ASK = "function h(r) { return String(TykGetKeyData('a', 'b')); }"


async def _wait(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
    await asyncio.sleep(30)
    return TEXT, "late"


async def _slowly(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
    await asyncio.sleep(0.02)
    return TEXT, "said"


def test_scripts_that_wait_for_the_host_do_not_hold_up_others() -> None:
    with running(PoolSettings(contexts=1, max_contexts=4), _slowly) as vm:
        slow, quick = vm.hook(ASK, api="slow"), vm.hook(GOOD, api="quick")
        results = vm.all([(slow, 0), (slow, 0), (quick, 1), (quick, 2), (slow, 0), (slow, 0), (slow, 0), (quick, 3)])
        assert [text_of(result) for result in results] == ["said", "said", "good 1", "good 2", "said", "said", "said", "good 3"]
        assert vm.pool.stats()["replaced"] == 0


def test_the_first_call_of_a_script_does_not_wait_behind_an_endless_one() -> None:
    """What a context needs for it waits there, while another context is free."""
    with running(PoolSettings(contexts=2, max_contexts=4)) as vm:
        spin = vm.hook("function h(r) { while (r === 'spin'); return ''; }", api="bad", timeout=2.0)
        vm.text(spin)

        async def calls() -> tuple[CallResult, bool]:
            endless = vm.start(spin, "spin")
            await asyncio.sleep(0.003)
            good = await vm.start(vm.hook(GOOD, api="good", timeout=1.5), 1)
            ended = endless.done()
            await endless
            return good, ended

        good, ended = vm.run(calls())
        assert (text_of(good), ended) == ("good 1", False)


def test_time_that_runs_out_while_the_host_is_asked_ends_the_call() -> None:
    with running(PoolSettings(contexts=1, max_contexts=2), _wait) as vm:
        vm.text(GOOD)
        for text in (
            ASK,
            "async function h() { return await TykFetch('x'); }",
            "function h() { return new Promise(() => 0); }",
        ):
            result = vm.result(vm.hook(text, timeout=0.1))
            assert (result.kind, result.error) == ("timeout", "timed out after 0.1s")
            assert vm.text(vm.hook(GOOD), 1) == "good 1"
            vm.settle()
        assert vm.settle()["closing"] == 0


def test_the_host_learns_whose_script_asks_and_until_when() -> None:
    async def host(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
        return TEXT, f"{getattr(caller, 'api_id', '')} {0 < deadline - asyncio.get_running_loop().time() <= 9.5}"

    with running(PoolSettings(contexts=1, max_contexts=4), host) as vm:
        hooks = [vm.hook(ASK, api=name, timeout=9.5) for name in ("one", "two", "three")]
        assert [text_of(result) for result in vm.all([(hook, 0) for hook in hooks * 2])] == [
            "one True",
            "two True",
            "three True",
        ] * 2


def test_a_host_function_that_fails_is_undefined_to_the_script() -> None:
    async def host(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
        raise RuntimeError("broken")

    with running(PoolSettings(contexts=1), host) as vm:
        assert vm.text(ASK) == "undefined"
        assert vm.logged == [("error", "internal: TykGetKeyData: RuntimeError: broken", "api")]


def test_more_calls_than_may_wait_are_busy() -> None:
    with running(PoolSettings(contexts=1, max_contexts=1, max_queued=4)) as vm:
        spin, good = vm.hook(SPIN, api="bad", timeout=0.1), vm.hook(GOOD, timeout=10.0)
        vm.text(good, 0)
        results = vm.all([(spin, 0)] + [(good, n) for n in range(60)])
        kinds = [result.kind for result in results[1:]]
        assert set(kinds) == {"ok", "busy"}
        busy = next(result for result in results if result.kind == "busy")
        assert busy.error == "too many calls wait for a context: preforge.jsvm.max_queued"
        assert vm.pool.stats()["busy"] == kinds.count("busy")
        assert vm.pool.stats()["waiting"] == 0


def test_calls_that_no_context_is_free_for_are_busy_in_time() -> None:
    with running(PoolSettings(contexts=1, max_contexts=1)) as vm:
        vm.text("function h() { return 'there is a context'; }")
        spin = vm.hook(SPIN, api="bad", timeout=1.0)
        results = vm.all([(spin, 0)] + [(vm.hook(GOOD, timeout=0.05), n) for n in range(3)])
        assert [result.kind for result in results] == ["timeout", "busy", "busy", "busy"]
        assert results[1].error == "no context was free in time: preforge.jsvm.max_contexts"


def test_results_that_are_too_long_are_refused() -> None:
    with running(PoolSettings(contexts=1, result_bytes=1000)) as vm:
        for text in ("function h() { return 'x'.repeat(1001); }", "async function h() { return 'x'.repeat(1001); }"):
            assert vm.result(text).kind == "long"
        assert vm.text("function h() { return 'x'.repeat(1000); }") == "x" * 1000


def test_programs_that_keep_their_state_have_a_context_of_their_own() -> None:
    text = "var n = 0, seen = []; function h(r) { n++; seen.push(r); globalThis.mine = n; return n + ' ' + typeof other; }"
    with running(PoolSettings(contexts=1, max_contexts=4)) as vm:
        shared, plain = vm.hook(script(text, shared=True), api="shared"), vm.hook(script(text), api="plain")
        other = vm.hook(script("other = 1; function h() { return typeof mine; }", shared=True), api="other")
        results = vm.all([(shared, 1), (plain, 1), (shared, 2), (other, 0), (plain, 2), (shared, 3)])
        assert [text_of(one).split()[0] for one in results] == ["1", "1", "2", "undefined", "1", "3"]
        assert vm.pool.stats()["contexts"] == 3
        assert vm.text(shared, 4) == "4 undefined"


def test_state_is_new_after_the_context_was_ended() -> None:
    with running(PoolSettings(contexts=1, max_contexts=4)) as vm:
        text = "var n = 0; function h(r) { if (r === 'spin') while (true); return String(++n); }"
        hook = vm.hook(script(text, shared=True), timeout=1.0)
        assert [vm.text(hook), vm.text(hook)] == ["1", "2"]
        assert vm.result(hook, "spin").kind == "timeout"
        assert vm.text(hook) == "1"


def test_contexts_that_are_ended_are_replaced() -> None:
    with running(PoolSettings(contexts=2, max_contexts=3)) as vm:
        vm.text(GOOD)
        for _ in range(6):
            assert vm.result(vm.hook(SPIN, timeout=0.03)).kind == "timeout"
            stats = vm.settle()
        assert stats["replaced"] >= 6
        assert stats["timeouts"] == 6
        assert 2 <= stats["contexts"] <= 3
        assert vm.text(GOOD, 1) == "good 1"


def test_contexts_do_not_leave_threads_or_slots_behind() -> None:
    with running(PoolSettings(contexts=1, max_contexts=2)) as vm:
        before = threading.active_count()
        vm.text(GOOD, 1)
        for _ in range(12):
            vm.result(vm.hook(SPIN, timeout=0.02))
            vm.settle()
        assert threading.active_count() <= before
        assert max(vm.pool.lanes) < 6


FILLED = {
    "global": "for (var i = 0; i < 900000; i++) globalThis[i] = i;",
    "names": "for (var i = 0; i < 100000; i++) globalThis['k' + i] = i;",
    "built_in": "for (var i = 0; i < 100000; i++) Math['k' + i] = i;",
    "hidden": "for (var i = 0; i < 100000; i++) Object.defineProperty(Math, 'k' + i, {value: i});",
    "symbols": "for (var i = 0; i < 100000; i++) Math[Symbol()] = i;",
}


@pytest.mark.parametrize("fills", FILLED.values(), ids=FILLED)
def test_what_a_call_leaves_costs_the_next_neither_its_time_nor_its_memory(fills: str) -> None:
    with running(PoolSettings(contexts=1, max_contexts=1, memory=32 << 20)) as vm:
        good, bad = vm.hook(GOOD, timeout=5.0), vm.hook(f"function h() {{ {fills} return ''; }}", api="bad")
        vm.text(bad)
        assert vm.text(good, 1) == "good 1"
        stats = vm.settle()
        assert (stats["replaced"], stats["memory"]) == (1, 0)
        assert not good.slow


def test_programs_are_forgotten_when_they_are_not_configured_any_more() -> None:
    with running(PoolSettings(contexts=1, max_contexts=3)) as vm:
        old, kept = vm.hook(script("function h() { return 'old'; }")), vm.hook(GOOD)
        state = vm.hook(script(GOOD, shared=True))
        assert [text_of(one) for one in vm.all([(old, 0), (kept, 1), (state, 2)])] == ["old", "good 1", "good 2"]
        vm.pool.configure(PoolSettings(contexts=1, max_contexts=3, log_bytes=100), [kept.program])
        assert vm.settle()["contexts"] <= 2
        assert vm.text(kept, 2) == "good 2"
        assert vm.text(old) == "old", "requests that began before are answered"
        vm.text("function h() { log('x'.repeat(50)); return ''; }")
        assert vm.logged[-1][0] == "warning", "settings reach contexts that are there"


def test_prepared_programs_have_reports() -> None:
    with running(PoolSettings(contexts=2, max_contexts=3)) as vm:
        good, bad = script(GOOD), script("throw new Error('no');", GOOD)
        hooks = [vm.hook(good), vm.hook(good, mode="event"), vm.hook(bad)]
        reports = vm.run(vm.pool.prepare(hooks))
        assert {program: [source for source, _ in report.errors] for program, report in reports.items()} == {good: [], bad: [0]}
        assert len(vm.pool.lanes) == 2
        assert vm.run(vm.pool.prepare([])) == {}


def test_calls_that_are_under_way_are_answered_when_the_pool_ends() -> None:
    with running(PoolSettings(contexts=1, max_contexts=3), _wait) as vm:
        vm.text(GOOD, 0)
        calls = [vm.hook(ASK, api="a"), vm.hook(SPIN, api="b"), vm.hook("async function h() { await TykFetch('x'); }", api="c")]
        results: list[CallResult] = []

        async def end() -> None:
            for hook in [*calls, *calls, vm.hook(GOOD)]:
                hook.call(json.dumps({"request": 1}).encode(), results.append)
            await asyncio.sleep(0.05)
            await vm.pool.close(10.0)

        vm.run(end())
        assert len(results) == 7
        assert {result.kind for result in results} <= {"closed", "ok"}
        assert [result.kind for result in results].count("closed") >= 6
        after = vm.result(GOOD)
        assert (after.kind, after.error) == ("closed", "the worker is ending")


def test_what_an_asynchronous_call_leaves_running_does_not_speak_for_the_next() -> None:
    asked: list[tuple[str, str]] = []

    async def host(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
        asked.append((getattr(caller, "api_id", ""), name))
        return TEXT, "null"

    left = """async function h() {
        (async () => { for (var i = 0; i < 50; i++) await null; TykGetKeyData('mine', 'x'); log('late'); TykFetch('late'); })();
        return 'done';
    }"""
    with running(PoolSettings(contexts=1, max_contexts=1), host) as vm:
        one, other = vm.hook(left, api="one"), vm.hook(GOOD, api="other")
        results = vm.all([(one, 1), (other, 2), (one, 3), (other, 4)])
        assert [text_of(result) for result in results] == ["done", "good 2", "done", "good 4"]
        assert not [entry for entry in vm.logged if entry[1] == "late"]
    assert asked == []


def test_answers_that_come_late_are_not_given_to_the_next_call() -> None:
    release = asyncio.Event()

    async def host(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
        await release.wait()
        return TEXT, '"late"'

    left = "function h(r) { TykFetch('x').then(function (t) { leak = t; log('late'); }); return typeof leak; }"
    with running(PoolSettings(contexts=1, max_contexts=1), host) as vm:
        hook = vm.hook(left)
        assert vm.text(hook) == "undefined"
        release.set()
        assert [text_of(result) for result in vm.results(hook, [1, 2, 3])] == ["undefined"] * 3
        assert vm.logged == []


def test_attacks_of_one_api_leave_contexts_to_another() -> None:
    with running(PoolSettings(contexts=1, max_contexts=4)) as vm:
        bad = vm.hook(SPIN, api="bad", timeout=0.15)
        good = vm.hook(GOOD, api="good", timeout=10.0)
        results = vm.all([(bad, 0)] * 12 + [(good, n) for n in range(12)])
        assert {result.kind for result in results[:12]} <= {"timeout", "busy"}
        assert [text_of(result) for result in results[12:]] == [f"good {n}" for n in range(12)]
        assert vm.settle()["closing"] == 0


def test_calls_are_interleaved_without_mixing_their_state_over_several_contexts() -> None:
    text = """var mine = [];
    function h(r) {
        mark = r; mine.push(r); Array.prototype.mark = r;
        TykGetKeyData('a', 'b');
        return [mark, mine.length, mine[0], [].mark].join();
    }"""
    with running(PoolSettings(contexts=2, max_contexts=6), _slowly) as vm:
        hooks = [vm.hook(script(text, f"// {n}"), api=str(n)) for n in range(3)]
        results = vm.all([(hooks[n % 3], n) for n in range(30)])
        assert [text_of(result) for result in results] == [f"{n},1,{n},{n}" for n in range(30)]
        assert vm.pool.stats()["contexts"] > 1
