"""Lives of host processes as a whole: reload, the end of the worker, many faults at once, settings."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from coprocess.proto.coprocess_object_pb2 import Object
from coprocess.python import PythonDriver, PythonSettings
from tests.coprocess.python.hosting import gathered, hosted, on_loop, write_bundle

VERSION = """
    import time

    @Hook
    def Which(request, session, spec):
        time.sleep(0.02)
        request.add_header("Version", "{version}")
        return request, session
"""


@on_loop
async def test_a_changed_bundle_is_another_driver_and_the_old_one_drains(tmp_path: Path) -> None:
    """Calls that are under way end with the code that they began with."""
    bundle = write_bundle(tmp_path / "b", VERSION.format(version=1))

    def settings() -> PythonSettings:
        return PythonSettings(str(bundle), {"middleware.py": sha256((bundle / "middleware.py").read_bytes()).hexdigest()})

    before = settings()
    assert before == settings()
    async with hosted(bundle, verified=before.verified) as old:
        await old.up()
        calls = [old.send("Which") for _ in range(10)]
        write_bundle(bundle, VERSION.format(version=2))
        assert before != settings()
        async with hosted(bundle, verified=settings().verified) as new:
            closing = asyncio.ensure_future(old.driver.close(10))
            assert (await new.call("Which")).request.set_headers["Version"] == "2"
            for call in calls:
                answered = await call
                assert answered.outcome == "ok"
                assert Object.FromString(answered.message).request.set_headers["Version"] == "1"
            await closing


WORKER = """
import asyncio, sys
import uvloop
from coprocess.proto.coprocess_object_pb2 import Object
from coprocess.python import PythonDriver, PythonSettings

async def main():
    driver = PythonDriver(PythonSettings(sys.argv[1], processes=2), None, lambda level, text: None)
    await driver.start()
    while driver.counts()["processes_ready"] < 2:
        await asyncio.sleep(0.01)
    driver.dispatch(Object(hook_name="Stuck").SerializeToString(), 600, print)
    await asyncio.sleep(0.1)
    print(*(process.child.pid for process in driver._processes), flush=True)
    await asyncio.sleep(600)

uvloop.run(main())
"""


def test_hosts_end_with_their_worker_however_it_ends(tmp_path: Path) -> None:
    """Also the one that is stuck in a call."""
    bundle = write_bundle(tmp_path / "b", """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

        @Hook
        def Stuck(request, session, spec):
            while True:
                pass
    """)  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", WORKER, str(bundle)], stdout=subprocess.PIPE, cwd=Path.cwd()) as worker:
        assert worker.stdout is not None
        pids = worker.stdout.readline().split()
        assert len(pids) == 2
        worker.send_signal(signal.SIGKILL)
    end = time.monotonic() + 10
    for pid in pids:
        while os.path.exists(f"/proc/{int(pid)}"):  # noqa: PTH110
            assert time.monotonic() < end, "a host outlives its worker"
            time.sleep(0.01)


MIXED = """
    import os, ctypes, sys, time

    @Hook
    def Do(request, session, spec):
        what = request.get_header("What")
        request.add_header("Echo", request.object.url)
        if what == "exit":
            os._exit(1)
        if what == "segfault":
            ctypes.string_at(0)
        if what == "raise":
            raise ValueError(request.object.url)
        if what == "stuck":
            time.sleep(60)
        if what == "store":
            tyk.store_data(request.object.url, request.object.url, 1)
            request.add_header("Stored", tyk.get_data(request.object.url).decode())
        if what == "large":
            request.object.raw_body = request.object.raw_body * 2
        return request, session
"""
EXPECTED = {"exit": "error", "segfault": "error", "raise": "error", "stuck": "timeout"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_faults_mixed_with_calls_end_each_call_once_with_its_own_answer(tmp_path: Path, seed: int) -> None:
    """Several processes, crashes and stuck calls among them, cancelled calls too."""

    @on_loop
    async def check() -> None:
        chance = random.Random(seed)
        bundle = write_bundle(tmp_path / "b", MIXED)
        kinds = ["fine"] * 60 + ["store"] * 20 + ["large"] * 8 + ["raise"] * 6 + ["exit", "segfault", "stuck"]
        async with hosted(bundle, processes=3, restart_delay=0.005, restart_delay_most=0.02) as host:
            await host.up()
            calls: list[tuple[str, str, Any, asyncio.Future[Any]]] = []
            tickets = []
            cancelled: list[object] = []
            for number in range(500):
                kind = chance.choice(kinds)
                made = Object(hook_type=1)
                made.request.headers["What"] = kind
                made.request.url = f"/{seed}/{number}"
                made.request.raw_body = made.request.url.encode() * (20000 if kind == "large" else 1)
                if chance.random() < 0.05:
                    made.hook_name = "Do"
                    tickets.append(host.driver.dispatch(made.SerializeToString(), 0.5, cancelled.append))
                else:
                    calls.append((kind, made.request.url, made, host.send("Do", made, 0.5 if kind == "stuck" else 60)))
                if chance.random() < 0.1:
                    await asyncio.sleep(0.001)
                if tickets and chance.random() < 0.5:
                    tickets.pop().cancel()
            for ticket in tickets:
                ticket.cancel()
            for kind, url, made, call in calls:
                reply = await call
                if kind in EXPECTED:
                    assert reply.outcome in {EXPECTED[kind], "timeout"}, (kind, reply)
                    continue
                assert reply.outcome == "ok", (kind, reply)
                got = Object.FromString(reply.message)
                assert got.request.set_headers["Echo"] == url
                assert got.request.raw_body == made.request.raw_body * (2 if kind == "large" else 1)
                assert got.request.set_headers.get("Stored", url) == url
            counts = host.driver.counts()
            endings = ("answered", "errors", "timeouts", "busy", "away", "too_large", "disabled", "cancelled")
            assert sum(counts[name] for name in endings) == counts["calls"] == 500
            assert counts["restarts"] >= 3

    check()


@on_loop
async def test_crashes_in_a_row_are_restarted_ever_more_slowly(tmp_path: Path) -> None:
    """A bundle that dies at its start does not take the machine."""
    bundle = write_bundle(tmp_path / "b", "import os\nos._exit(1)\n")
    async with hosted(bundle, restart_delay=0.05, restart_delay_most=60) as host:
        await host.until(lambda: host.driver.counts()["restarts"] >= 3)
        assert await gathered(host.send("Any"), host.send("Any")) == ["away"] * 2
        delays = [float(text.rpartition(" in ")[2][:-2]) for _, text in host.logged if "the next try is in" in text]
        assert delays[0] < delays[1] < delays[2]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"processes": 0}, "processes: 0 is not between 1 and 64"),
        ({"threads": 65}, "threads: 65 is not between 1 and 64"),
        ({"max_message": 10}, "max_message"),
        ({"queue": -1}, "queue"),
        ({"event_deadline": 0}, "event_deadline"),
        ({"interpreter": ""}, "interpreter: expected the path of a Python interpreter"),
        ({"bundle": ""}, "bundle: expected the directory of a bundle"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any], field: str) -> None:
    """Before anything is started."""
    with pytest.raises(ValueError, match=field):
        PythonSettings(**{"bundle": "b", **wrong})


@on_loop
async def test_a_driver_that_never_started_can_be_asked_and_closed(tmp_path: Path) -> None:
    """A reload may end between the two."""
    driver = PythonDriver(PythonSettings(str(tmp_path)), None, lambda level, text: None)  # type: ignore[arg-type]
    assert driver.state().status == "connecting"
    assert driver.counts()["calls"] == 0
    await driver.close(1)
    assert driver.state().status == "disabled"
