"""Children that misbehave: every call ends once, with the right outcome, and the next one finds a child that works."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.coprocess.children.child_support import alive, gone, until
from tests.coprocess.jsonrpc.rpc_support import PLUGIN, Bench, bench

FRAMINGS = pytest.mark.parametrize("framing", ["newline", "length"])


async def works_again(b: Bench) -> None:
    """A new child answers."""
    await until(lambda: b.driver.counts()["children_up"] > 0 and b.driver.counts()["restarts"] > 0)
    assert (await b.result("echo", n=3))["n"] == 3
    assert b.driver.state().status == "up"


@FRAMINGS
@pytest.mark.parametrize(
    ("hook", "why"),
    [
        ("garbage", "an answer cannot be read: not a JSON object"),
        ("no frame", ""),
        ("twice", "which no call has"),
        ("unknown id", "which no call has"),
        ("null id", "its id is null"),
        ("long", "longer than 100000 bytes"),
        ("endless", ""),
    ],
)
def test_one_that_breaks_the_protocol_is_replaced_and_all_its_calls_end(framing: str, hook: str, why: str) -> None:
    async def use(b: Bench) -> None:
        others = [b.send("silent") for _ in range(5)]
        bad = b.send(hook, size=200_000)
        replies = await asyncio.gather(*others)
        assert {r.outcome for r in replies} == {"error"}
        assert why in replies[0].detail
        assert "broke the protocol: " in replies[0].detail
        reply = await bad
        assert reply.outcome == ("ok" if hook == "twice" else "error")
        if hook == "twice":
            assert json.loads(reply.message)["hook_name"] == "twice"
        await works_again(b)

    counts = bench(use, framing=framing, max_message=100_000).driver.counts()
    assert (counts["violations"], counts["restarts"], counts["stuck"]) == (1, 1, 0)


@FRAMINGS
@pytest.mark.parametrize(
    ("hook", "why"),
    [
        ("die", "exited with status 7"),
        ("segfault", "ended by SIGSEGV"),
        ("half and die", "exited with status 5"),
        ("close stdout", "closed its standard output"),
    ],
)
def test_one_that_goes_away_takes_its_calls_with_it(framing: str, hook: str, why: str) -> None:
    async def use(b: Bench) -> None:
        calls = [b.send("silent") for _ in range(5)]
        calls.append(b.send(hook))
        replies = await asyncio.gather(*calls)
        assert {r.outcome for r in replies} == {"away"}
        assert why in replies[0].detail
        await works_again(b)

    counts = bench(use, framing=framing).driver.counts()
    assert (counts["away"], counts["restarts"], counts["violations"]) == (6, 1, 0)


@FRAMINGS
def test_the_last_answer_of_one_that_dies_still_counts(framing: str) -> None:
    async def use(b: Bench) -> None:
        for turn in range(5):
            assert (await b.result("answer and die", n=turn))["n"] == turn
            await until(lambda turn=turn: b.driver.counts()["restarts"] == turn + 1)  # type: ignore[misc]

    bench(use, framing=framing)


@FRAMINGS
@pytest.mark.parametrize("hook", ["silent", "half", "read no more", "close stdin"])
def test_one_that_does_not_answer_is_replaced_at_the_deadline(framing: str, hook: str) -> None:
    async def use(b: Bench) -> None:
        await b.result("echo")
        first = b.send(hook, deadline=0.2)
        second = b.send("silent", deadline=30.0)
        assert (await first).outcome == "timeout"
        assert (await second).outcome == "away"
        await works_again(b)

    counts = bench(use, framing=framing).driver.counts()
    assert (counts["timeout"], counts["stuck"], counts["restarts"]) == (1, 1, 1)


def test_twenty_megabytes_for_one_that_does_not_read_end_at_the_deadline() -> None:
    async def use(b: Bench) -> None:
        await b.result("echo")
        stopped = b.send("read no more", deadline=0.3)
        big = b.send("echo", deadline=0.3, raw_body="x" * (20 << 20))
        assert (await stopped).outcome == "timeout"
        assert (await big).outcome in ("timeout", "away")
        await works_again(b)
        assert b.driver.counts()["unsent_bytes"] == 0

    bench(use)


def test_one_late_answer_costs_its_own_call_only() -> None:
    async def use(b: Bench) -> None:
        pid = (await b.result("pid"))["pid"]
        late = b.send("later", deadline=0.15, seconds=1.0, n=1)
        while not late.done():
            assert (await b.result("echo", n=2))["n"] == 2
            await asyncio.sleep(0.01)
        assert late.result().outcome == "timeout"
        assert b.driver.counts()["abandoned"] == 1
        await until(lambda: b.driver.counts()["abandoned"] == 0)
        assert (await b.result("pid"))["pid"] == pid

    counts = bench(use, stuck=30.0).driver.counts()
    assert (counts["timeout"], counts["restarts"]) == (1, 0)


def test_stuck_may_be_longer_than_the_deadline() -> None:
    async def use(b: Bench) -> None:
        pid = (await b.result("pid"))["pid"]
        assert (await b.call("slow", deadline=0.1, seconds=0.3)).outcome == "timeout"
        assert (await b.result("pid"))["pid"] == pid
        assert (await b.call("silent", deadline=0.1)).outcome == "timeout"
        await until(lambda: b.driver.counts()["stuck"] == 1)
        await works_again(b)

    bench(use, stuck=2.0)


def test_one_that_starts_slowly_is_not_taken_for_stuck() -> None:
    async def use(b: Bench) -> None:
        assert (await b.call("slow", deadline=0.2, seconds=0.0)).outcome == "timeout"
        assert (await b.result("echo", n=1))["n"] == 1

    command = ["sh", "-c", 'sleep 0.6; exec "$0" -I -S "$1" newline', sys.executable, str(PLUGIN)]
    counts = bench(use, command=command).driver.counts()
    assert counts["restarts"] == 0


def test_one_that_never_answers_at_all_is_replaced_after_its_start_time() -> None:
    async def use(b: Bench) -> None:
        assert (await b.call("silent", deadline=0.1)).outcome == "timeout"
        assert b.driver.counts()["restarts"] == 0
        await until(lambda: b.driver.counts()["restarts"] == 1)

    counts = bench(use, start_timeout=1.5).driver.counts()
    assert counts["stuck"] == 1


def test_one_that_leaves_out_calls_until_none_is_left_is_replaced() -> None:
    async def use(b: Bench) -> None:
        assert (await b.result("echo", n=1))["n"] == 1
        lost = [b.send("silent", deadline=0.5) for _ in range(3)]
        while not all(call.done() for call in lost):
            await b.result("echo")
            await asyncio.sleep(0.01)
        assert b.driver.counts()["abandoned"] == 3
        assert b.driver.counts()["restarts"] == 0
        assert (await b.call("silent", deadline=0.1)).outcome == "timeout"
        await works_again(b)

    bench(use, max_in_flight=4, stuck=30.0)


def test_callers_that_leave_do_not_cost_a_child() -> None:
    async def use(b: Bench) -> None:
        pid = (await b.result("pid"))["pid"]
        tickets = [b.driver.dispatch(b'{"hook_name":"later","seconds":0.3}', 30.0, print) for _ in range(4)]
        for ticket in tickets:
            ticket.cancel()
        assert (await b.result("pid"))["pid"] == pid, "it waited until one of the four was answered"

    counts = bench(use, max_in_flight=4).driver.counts()
    assert (counts["cancelled"], counts["restarts"]) == (4, 0)


def test_a_call_that_waits_for_its_turn_ends_at_its_deadline() -> None:
    async def use(b: Bench) -> None:
        held = b.send("later", seconds=1.5)
        reply = await b.call("echo", deadline=0.1)
        assert reply.outcome == "timeout"
        assert "waited" in reply.detail
        assert b.driver.counts()["waiting"] == 0
        assert (await held).outcome == "ok"

    assert bench(use, max_in_flight=1).driver.counts()["restarts"] == 0


def test_calls_that_wait_go_to_the_children_that_are_left() -> None:
    async def use(b: Bench) -> None:
        held = [b.send("hold", count=2, n=1), b.send("die")]
        waiting = [b.send("echo", n=i) for i in range(4)]
        assert (await held[1]).outcome == "away"
        await until(lambda: b.driver.counts()["children_up"] == 2)
        assert [json.loads((await call).message)["n"] for call in waiting] == [0, 1, 2, 3]
        assert not held[0].done()

    bench(use, children=2, max_in_flight=1)


def test_one_that_dies_at_its_start_is_down_with_its_reason_and_comes_back(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.touch()

    async def use(b: Bench) -> None:
        await until(lambda: b.driver.counts()["restarts"] >= 3)
        await until(lambda: b.driver.state().status == "down")
        assert b.driver.state().detail == "exited with status 9; it said last: not today"
        reply = await b.call("echo")
        assert (reply.outcome, "exited with status 9" in reply.detail) == ("away", True)
        broken.unlink()
        await until(lambda: b.driver.counts()["children_up"] == 1)
        while (await b.call("echo")).outcome != "ok":
            await asyncio.sleep(0.01)
        assert b.driver.state().status == "up"

    bench(use, arguments=(str(broken),), backoff_max=0.3)


def test_a_program_that_is_not_there_is_down() -> None:
    async def use(b: Bench) -> None:
        assert b.driver.state().status == "down"
        assert "no such program" in b.driver.state().detail
        assert (await b.call("echo")).outcome == "away"
        assert b.driver.event(b"{}")

    counts = bench(use, command="no-such-program --x").driver.counts()
    assert (counts["events"], counts["events_dropped"]) == (0, 1)


def test_one_that_ignores_sigterm_is_killed_on_close() -> None:
    pids: list[int] = []

    async def use(b: Bench) -> None:
        pids.append((await b.result("ignore SIGTERM"))["pid"])

    bench(use)
    assert gone(pids[0])


@pytest.mark.parametrize("rate", [1, 50])
def test_a_flood_of_standard_error_holds_up_no_call(rate: int) -> None:
    async def use(b: Bench) -> None:
        flood = b.send("flood", n=1)
        assert json.loads((await flood).message)["n"] == 1
        assert (await b.result("echo", n=2))["n"] == 2

    b = bench(use, log_rate=rate)
    assert b.driver.counts()["stderr_lines_dropped"] > 100_000
    assert 0 < sum("noise" in text for _, text in b.log) <= rate * 30


def test_children_killed_under_load_cost_their_own_calls_and_nothing_is_mixed_up() -> None:
    async def use(b: Bench) -> None:
        ends = {"ok": 0, "away": 0}
        stop = False

        async def client(number: int) -> None:
            turn = 0
            while not stop:
                turn += 1
                reply = await b.call("echo", client=number, turn=turn)
                ends[reply.outcome] += 1
                if reply.outcome == "ok":
                    assert json.loads(reply.message) == {"hook_name": "echo", "client": number, "turn": turn}
                else:
                    await asyncio.sleep(0.002)

        clients = [asyncio.ensure_future(client(n)) for n in range(32)]
        for _ in range(6):
            before = ends["ok"]
            await until(lambda: ends["ok"] > before + 200)  # noqa: B023
            victim = b.driver._peers[0].child.pid or b.driver._peers[1].child.pid
            os.kill(victim, signal.SIGKILL)
            restarts = b.driver.counts()["restarts"]
            await until(lambda: b.driver.counts()["restarts"] > restarts)  # noqa: B023
        stop = True
        await asyncio.gather(*clients)
        assert ends["ok"] > 1200

    assert bench(use, children=2).driver.counts()["restarts"] >= 6


WORKER = """
import asyncio, json, sys
from coprocess.jsonrpc import JsonRpcDriver, JsonRpcSettings

async def main():
    command = [sys.executable, "-I", "-S", sys.argv[1], "newline"]
    driver = JsonRpcDriver(JsonRpcSettings("plugin", command, children=2), lambda level, text: None)
    await driver.start()
    for hook in ("pid", "ignore SIGTERM"):
        done = asyncio.get_running_loop().create_future()
        driver.dispatch(json.dumps({"hook_name": hook}).encode(), 30.0, done.set_result)
        print(json.loads((await done).message)["pid"], flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_worker_that_is_killed_takes_its_plugins_with_it() -> None:
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen([sys.executable, "-c", WORKER, str(PLUGIN)], cwd=root, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        pids = [int(worker.stdout.readline()) for _ in range(2)]
        assert all(alive(pid) for pid in pids)
        worker.kill()
    assert all(gone(pid) for pid in pids)
