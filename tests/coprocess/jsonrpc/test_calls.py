"""Calls to children that behave: each gets its own answer, in whatever order and size."""

from __future__ import annotations

import asyncio
import functools
import json

import pytest

from coprocess.driver import DriverState
from coprocess.jsonrpc import JsonRpcSettings
from tests.coprocess.children.child_support import until
from tests.coprocess.jsonrpc.rpc_support import Bench, bench

FRAMINGS = pytest.mark.parametrize("framing", ["newline", "length"])


@FRAMINGS
def test_each_call_gets_its_own_answer(framing: str) -> None:
    async def use(b: Bench) -> None:
        for turn in range(4):
            replies = await asyncio.gather(*(b.result("echo", n=turn * 1000 + i, text="\n\u2028\"\\ü") for i in range(200)))
            assert [r["n"] for r in replies] == [turn * 1000 + i for i in range(200)]
            assert {r["text"] for r in replies} == {"\n\u2028\"\\ü"}
        assert b.driver.state() == DriverState("up", "")

    counts = bench(use, framing=framing).driver.counts()
    assert (counts["calls"], counts["ok"], counts["restarts"], counts["in_flight"]) == (800, 800, 0, 0)


@FRAMINGS
def test_answers_may_come_in_any_order(framing: str) -> None:
    async def use(b: Bench) -> None:
        calls = [b.send("hold", count=64, n=i) for i in range(64)]
        ended: list[int] = []
        for i, call in enumerate(calls):
            call.add_done_callback(functools.partial(lambda i, _: ended.append(i), i))
        replies = await asyncio.gather(*calls)
        assert [json.loads(r.message)["n"] for r in replies] == list(range(64))
        assert ended == list(reversed(range(64)))

    bench(use, framing=framing)


@FRAMINGS
def test_a_body_of_twenty_megabytes_goes_and_comes(framing: str) -> None:
    body = "QUJD" * (5 << 20)

    async def use(b: Bench) -> None:
        big = b.send("echo", raw_body=body)
        turns = 0
        while not big.done():
            turns += 1
            await asyncio.sleep(0)
        reply = big.result()
        assert reply.outcome == "ok", reply
        assert json.loads(reply.message) == {"hook_name": "echo", "raw_body": body}
        assert turns > 20, "the loop was held up"

    bench(use, framing=framing)


@FRAMINGS
def test_line_feeds_between_tokens_do_not_break_a_frame(framing: str) -> None:
    async def use(b: Bench) -> None:
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        b.driver.dispatch(b'{\n"hook_name":\r\n"echo"\n,"n":1}', 30.0, lambda reply: done.set_result(reply.message))
        assert json.loads(await done) == {"hook_name": "echo", "n": 1}
        b.ended += 1

    bench(use, framing=framing)


def test_an_error_object_ends_only_its_own_call() -> None:
    async def use(b: Bench) -> None:
        good, bad = b.send("later", seconds=0.05, n=1), b.send("error")
        reply = await bad
        assert reply.outcome == "error"
        assert reply.detail.startswith("plugin: error -32000: boom\n")
        assert len(reply.detail) < 600
        assert json.loads((await good).message)["n"] == 1

    assert bench(use).driver.counts()["restarts"] == 0


def test_a_pool_shares_the_load() -> None:
    async def use(b: Bench) -> None:
        pids = {(await b.result("pid"))["pid"] for _ in range(12)}
        assert len(pids) == 3, "calls one by one go round"
        slow = [b.send("slow", seconds=0.3) for _ in range(3)]
        await asyncio.gather(*slow)
        assert b.driver.counts()["children_up"] == 3

    bench(use, children=3)


def test_the_child_with_fewest_calls_is_taken() -> None:
    async def use(b: Bench) -> None:
        held = [b.send("hold", count=1000) for _ in range(3)]
        pids = {(await b.result("pid"))["pid"] for _ in range(10)}
        assert len(pids) == 1, "of two children one has two calls, the other one"
        assert not any(call.done() for call in held)

    bench(use, children=2)


def test_what_waits_is_bounded_and_the_rest_is_busy() -> None:
    async def use(b: Bench) -> None:
        held = [b.send("hold", count=2, n=i) for i in range(2)]
        waiting = [b.send("echo", n=i) for i in range(3)]
        refused = await asyncio.gather(*(b.send("echo") for _ in range(5)))
        assert {r.outcome for r in refused} == {"busy"}
        assert b.driver.counts()["waiting"] == 3
        assert b.driver.counts()["in_flight"] == 2
        assert [json.loads((await call).message)["n"] for call in (*held, *waiting)] == [0, 1, 0, 1, 2]

    counts = bench(use, max_in_flight=2, max_waiting=3).driver.counts()
    assert (counts["busy"], counts["ok"]) == (5, 5)


def test_bytes_that_wait_are_bounded_too() -> None:
    async def use(b: Bench) -> None:
        held = b.send("later", seconds=0.3)
        first = b.send("echo", raw_body="x" * 3000)
        assert (await b.call("echo", raw_body="x" * 3000)).outcome == "busy"
        assert (await first).outcome == (await held).outcome == "ok"

    bench(use, max_in_flight=1, max_waiting_bytes=4096)


def test_a_call_that_does_not_fit_behind_events_is_sent_once_they_are_read() -> None:
    async def use(b: Bench) -> None:
        held = b.send("slow", seconds=0.2)
        await asyncio.sleep(0)
        for _ in range(8):
            assert b.driver.event(b'"' + b"x" * 60_000 + b'"')
        await asyncio.sleep(0.01)
        reply = await b.call("echo", raw_body="y" * 400_000)
        assert reply.outcome == "ok"
        assert (await held).outcome == "ok"

    bench(use, max_waiting_bytes=500_000)


def test_a_call_over_the_limit_is_not_sent() -> None:
    async def use(b: Bench) -> None:
        reply = await b.call("echo", raw_body="x" * 5000)
        assert reply.outcome == "too_large"
        assert (await b.call("echo", raw_body="x" * 1000)).outcome == "ok"

    counts = bench(use, max_message=4096).driver.counts()
    assert (counts["too_large"], counts["restarts"]) == (1, 0)


def test_a_call_that_was_cancelled_is_not_told_and_its_answer_reaches_nobody() -> None:
    async def use(b: Bench) -> None:
        told: list[object] = []
        ticket = b.driver.dispatch(b'{"hook_name":"later","seconds":0.8}', 30.0, told.append)
        await b.result("echo")
        ticket.cancel()
        ticket.cancel()
        assert b.driver.counts()["abandoned"] == 1
        await until(lambda: b.driver.counts()["abandoned"] == 0)
        assert (await b.result("echo", n=5))["n"] == 5
        early = b.driver.dispatch(b'{"hook_name":"echo"}' + b" " * (1 << 20), 30.0, told.append)
        early.cancel()
        await b.result("echo")
        assert told == []

    counts = bench(use, max_message=2 << 20).driver.counts()
    assert (counts["cancelled"], counts["restarts"]) == (2, 0)


def test_a_call_that_waits_can_be_cancelled_and_a_refusal_too() -> None:
    async def use(b: Bench) -> None:
        told: list[object] = []
        held = b.send("later", seconds=0.2)
        waiting = b.driver.dispatch(b'{"hook_name":"echo"}', 30.0, told.append)
        refused = b.driver.dispatch(b'{"hook_name":"echo"}', 30.0, told.append)
        refused.cancel()
        waiting.cancel()
        assert b.driver.counts()["waiting"] == 0
        assert (await held).outcome == "ok"
        await b.result("echo")
        assert told == []

    bench(use, max_in_flight=1, max_waiting=1)


def test_a_caller_that_fails_holds_up_nobody_and_may_call_again_from_its_end() -> None:
    async def use(b: Bench) -> None:
        again: asyncio.Future[object] = asyncio.get_running_loop().create_future()

        def fails(reply: object) -> None:
            b.driver.dispatch(b'{"hook_name":"echo"}', 30.0, again.set_result)
            raise RuntimeError("in the caller")

        b.driver.dispatch(b'{"hook_name":"echo"}', 30.0, fails)
        assert (await b.result("echo", n=1))["n"] == 1
        await again
        b.ended += 2
        assert b.said("in the caller")
        b.log.clear()

    bench(use)


@FRAMINGS
def test_events_are_notifications_and_several_that_wait_are_one_batch(framing: str) -> None:
    async def use(b: Bench) -> None:
        assert b.driver.event(b'{"message":{"Type":"A"}}')
        await b.result("echo")
        for i in range(7):
            assert b.driver.event(b'{"n":%d}' % i)
        await asyncio.sleep(0)
        got = (await b.result("events"))["events"]
        assert got[0] == [{"message": {"Type": "A"}}, 0]
        assert [entry[0] for entry in got[1:]] == [{"n": i} for i in range(7)]
        assert [entry[1] for entry in got[1:]] == [5] * 5 + [2] * 2

    counts = bench(use, framing=framing, max_batch=5).driver.counts()
    assert (counts["events"], counts["events_dropped"], counts["calls"]) == (8, 0, 2)


def test_events_over_the_bound_are_dropped_and_counted() -> None:
    async def use(b: Bench) -> None:
        taken = [b.driver.event(b'{"n":%d}' % i) for i in range(10)]
        assert taken == [True] * 4 + [False] * 6
        assert not b.driver.event(b'"' + b"x" * 5000 + b'"')
        await asyncio.sleep(0)
        assert len((await b.result("events"))["events"]) == 4

    counts = bench(use, max_events=4, max_message=4096).driver.counts()
    assert (counts["events"], counts["events_dropped"]) == (4, 7)


def test_a_child_that_does_not_read_gets_no_heap_of_events() -> None:
    async def use(b: Bench) -> None:
        stopped = b.send("read no more")
        payload = b'"' + b"x" * 60_000 + b'"'
        for _ in range(200):
            b.driver.event(payload)
            await asyncio.sleep(0)
        counts = b.driver.counts()
        assert counts["unsent_bytes"] < 400_000
        assert counts["events_dropped"] > 100
        assert not stopped.done()

    bench(use, max_events=20, max_batch=2, grace=0.05)


def test_calls_under_way_may_end_within_the_grace() -> None:
    late: list[asyncio.Future[object]] = []

    async def use(b: Bench) -> None:
        call = b.send("later", seconds=0.3, n=1)
        await b.result("echo")
        closing = asyncio.ensure_future(b.driver.close(20.0))
        await asyncio.sleep(0)
        assert (await b.call("echo")).outcome == "away"
        await closing
        assert call.done()
        assert call.result().outcome == "ok"
        late.append(call)  # type: ignore[arg-type]
        assert b.driver.state().status == "disabled"
        assert not b.driver.event(b"{}")

    bench(use)
    assert late


def test_what_does_not_end_within_the_grace_is_away() -> None:
    async def use(b: Bench) -> None:
        call = b.send("silent")
        await b.result("echo")
        await b.driver.close(0.05)
        assert (await call).outcome == "away"

    bench(use)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"command": ""}, "command"),
        ({"command": []}, "command"),
        ({"framing": "xml"}, "framing"),
        ({"children": 0}, "children"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"max_waiting": -1}, "max_waiting"),
        ({"max_message": 0}, "max_message"),
        ({"start_timeout": -1.0}, "start_timeout"),
        ({"backoff_min": 0.0}, "backoff_min"),
    ],
)
def test_wrong_settings_name_their_field(change: dict[str, object], field: str) -> None:
    given: dict[str, object] = {"name": "n", "command": "x"} | change
    with pytest.raises(ValueError, match=f"^{field}: "):
        JsonRpcSettings(**given)  # type: ignore[arg-type]
