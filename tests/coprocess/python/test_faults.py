"""What a fault in a plugin costs: the call that it happened in, and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from coprocess.driver import Reply
from coprocess.proto.coprocess_object_pb2 import Object
from tests.coprocess.python.hosting import gathered, hosted, on_loop, write_bundle

FAULTS = '''
    import ctypes, os, signal, sys, time, threading

    @Hook
    def Fine(request, session, spec):
        request.add_header("Pid", str(os.getpid()))
        request.add_header("Echo", request.object.url)
        return request, session

    @Hook
    def Slow(request, session, spec):
        time.sleep(0.05)
        return request, session

    @Hook
    def Slower(request, session, spec):
        time.sleep(0.4)
        return request, session

    @Hook
    def Raises(request, session, spec):
        inner = {}
        return inner["the key"]

    @Hook
    def SysExit(request, session, spec):
        sys.exit(4)

    @Hook
    def OsExit(request, session, spec):
        os._exit(5)

    @Hook
    def Abort(request, session, spec):
        os.abort()

    @Hook
    def Segfault(request, session, spec):
        ctypes.string_at(0)

    @Hook
    def Killed(request, session, spec):
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    @Hook
    def Recursion(request, session, spec):
        return Recursion(request, session, spec)

    @Hook
    def Loop(request, session, spec):
        while True:
            pass

    @Hook
    def Deaf(request, session, spec):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass

    @Hook
    def InThread(request, session, spec):
        def fail():
            raise ValueError("in a thread")
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        return request, session

    @Hook
    def Prints(request, session, spec):
        print("to stdout")
        print("to stderr", file=sys.stderr)
        os.write(1, b"by descriptor\\n")
        print("not \\u20ac UTF-8 \\udcff and \\x1b[31m control")
        return request, session

    @Hook
    def Flood(request, session, spec):
        for number in range(20000):
            print("line", number)
        return request, session

    @Hook
    def FloodLog(request, session, spec):
        for number in range(5000):
            tyk.log("noise %d" % number, "info")
        return request, session

    @Hook
    def LongReply(request, session, spec):
        request.object.raw_body = b"x" * 3000000
        return request, session

    @Hook
    def ReadsInput(request, session, spec):
        request.add_header("Read", repr(sys.stdin.read()))
        return request, session

    @Hook
    def Forks(request, session, spec):
        import multiprocessing
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        def child():
            try:
                tyk.get_data("k")
            except BaseException as error:
                queue.put(type(error).__name__)
        process = context.Process(target=child)
        process.start()
        request.add_header("Child", queue.get(timeout=10))
        process.join()
        return request, session

    @Hook
    def ForksAndReturns(request, session, spec):
        pid = os.fork()
        request.add_header("Child", str(pid))
        return request, session

    @Hook
    def LeavesChildren(request, session, spec):
        import subprocess
        child = subprocess.Popen(["sleep", "600"])
        request.add_header("Child", str(child.pid))
        return request, session

    def frames():
        """The descriptors that the host program uses, found as a hostile plugin would."""
        return [fd for fd in range(3, 1024) if os.path.exists("/proc/self/fd/%d" % fd)
                and "pipe:" in os.readlink("/proc/self/fd/%d" % fd)]

    def write_all(data):
        for fd in frames():
            try:
                os.write(fd, data)
            except OSError:
                pass

    @Hook
    def WritesGarbage(request, session, spec):
        write_all(b"\\xff" * 100)
        time.sleep(60)

    @Hook
    def WritesHugeLength(request, session, spec):
        write_all(bytes([18]) + (1).to_bytes(8, "big") + b"\\xff" * 4)
        time.sleep(60)

    @Hook
    def WritesUnknownKind(request, session, spec):
        write_all(bytes([99]) + bytes(12))
        time.sleep(60)

    @Hook
    def WritesSecondReady(request, session, spec):
        write_all(bytes([16]) + bytes(8) + (2).to_bytes(4, "big") + b"{}")
        time.sleep(60)

    @Hook
    def WritesForeignAnswer(request, session, spec):
        write_all(bytes([18]) + (10 ** 9).to_bytes(8, "big") + (2).to_bytes(4, "big") + b"hi")
        time.sleep(60)

    @Hook
    def WritesBadStore(request, session, spec):
        write_all(bytes([22]) + bytes(8) + (9).to_bytes(4, "big") + bytes(4) + b"\\xff" * 4 + b"k")
        time.sleep(60)

    @Hook
    def ClosesFrames(request, session, spec):
        for fd in frames():
            os.close(fd)
        return request, session

    @Hook
    def ClosesAll(request, session, spec):
        global opened
        os.closerange(3, 64)
        opened = [open(os.path.join(os.path.dirname(__file__), "opened-%d" % n), "wb") for n in range(8)]
        os.closerange(500, 1024)
        return request, session

    @Hook
    def Hoards(request, session, spec):
        taken = []
        while True:
            taken.append(bytearray(10000000))

    @Hook
    def HalfAFrame(request, session, spec):
        write_all(bytes([18]) + bytes(7))
        os._exit(0)
'''


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "faults", FAULTS)


def echo(url: str) -> Object:
    made = Object(hook_type=1)
    made.request.url = url
    return made


@on_loop
async def test_exceptions_fail_the_call_and_not_the_process(bundle: Path) -> None:
    """sys.exit() included; the log has the traceback without our own frames."""
    async with hosted(bundle) as host:
        pid = (await host.call("Fine")).request.set_headers["Pid"]
        reply = await host.failed("Raises")
        assert (reply.outcome, reply.detail) == ("error", "KeyError: 'the key'")
        assert f'File "{bundle}/middleware.py"' in host.log
        assert "registry.py" not in host.log
        assert (await host.failed("SysExit")).detail == "SystemExit: 4"
        assert "RecursionError" in (await host.failed("Recursion")).detail
        await host.call("InThread")
        await host.until(lambda: "ValueError: in a thread" in host.log)
        assert (await host.call("Fine")).request.set_headers["Pid"] == pid
        assert host.driver.counts()["restarts"] == 0


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("OsExit", "exited with status 5"),
        ("Abort", "ended by SIGABRT"),
        ("Segfault", "ended by SIGSEGV"),
        ("Killed", "ended by SIGKILL"),
        ("WritesGarbage", "answered garbage"),
        ("WritesHugeLength", "answered garbage: a frame of 4294967295 bytes"),
        ("WritesUnknownKind", "answered garbage: frame of kind 99"),
        ("WritesSecondReady", "answered garbage: frame of kind 16"),
        ("WritesForeignAnswer", "answered garbage: an answer to call 1000000000, which was not asked"),
        ("WritesBadStore", "answered garbage: a length beyond its frame"),
        ("HalfAFrame", "exited with status 0"),
        ("ClosesFrames", "closed its standard"),
        ("ClosesAll", "exited with status 0"),
    ],
)
def test_a_crash_costs_the_running_call_only(bundle: Path, name: str, detail: str) -> None:
    """Calls before and behind it are answered, each with what belongs to it."""

    @on_loop
    async def check() -> None:
        async with hosted(bundle) as host:
            await host.up()
            for _ in range(40):
                await host.call("Fine")  # short calls: some are given to the process in advance
            before = [host.send("Fine", echo(f"/before/{n}")) for n in range(10)]
            crash = host.send(name)
            after = [host.send("Fine", echo(f"/after/{n}")) for n in range(10)]
            reply = await crash
            assert reply.outcome == "error"
            if name != "ClosesFrames":
                assert detail in reply.detail
            for kind, calls in (("before", before), ("after", after)):
                for number, call in enumerate(calls):
                    answered = await call
                    assert answered.outcome == "ok", answered
                    assert Object.FromString(answered.message).request.set_headers["Echo"] == f"/{kind}/{number}"
            assert host.driver.counts()["errors"] == 1
            assert host.driver.counts()["restarts"] == 1

    check()


@on_loop
async def test_descriptors_that_a_plugin_closes_never_come_back_as_its_files(bundle: Path) -> None:
    """No answer of any call is written into a file that the plugin opens then."""
    async with hosted(bundle, restart_delay=0.01) as host:
        await host.up()
        calls = [host.send("ClosesAll"), *(host.send("Fine", echo(f"/{n}")) for n in range(10))]
        assert await gathered(*calls) == ["error"] + ["ok"] * 10
    files = sorted(bundle.glob("opened-*"))
    assert len(files) == 8
    assert [file.read_bytes() for file in files] == [b""] * 8


@on_loop
async def test_memory_is_bounded_and_taken_back(bundle: Path) -> None:
    """The call fails; whoever holds the memory is gone before the next one."""
    async with hosted(bundle, restart_delay=0.01, max_memory=300 << 20) as host:
        await host.up()
        pid = host.pids()[0]
        calls = [host.send("Fine"), host.send("Hoards"), *(host.send("Fine", echo(f"/{n}")) for n in range(20))]
        reply = await calls[1]
        assert reply.outcome == "error"
        assert reply.detail == "MemoryError (at most 314572800 bytes, max_memory)"
        assert await gathered(calls[0], *calls[2:]) == ["ok"] * 21
        assert host.pids() != [pid]
    async with hosted(bundle, max_memory=0) as host:
        await host.call("Fine")


@on_loop
async def test_no_more_calls_are_put_behind_one_that_is_stuck(bundle: Path) -> None:
    """Where another process is there for them."""
    async with hosted(bundle, grace=0.1, processes=2) as host:
        await host.up()
        for _ in range(60):
            await asyncio.gather(host.call("Fine"), host.call("Fine"))
        stuck = host.send("Loop", deadline=60)
        await asyncio.sleep(0.05)
        for _ in range(20):
            assert await gathered(*(host.send("Fine", deadline=10) for _ in range(16))) == ["ok"] * 16
        assert not stuck.done()


@on_loop
async def test_a_crash_under_load_costs_one_call(bundle: Path) -> None:
    """With several processes, and again and again."""
    async with hosted(bundle, processes=2, restart_delay=0.01) as host:
        await host.up()
        for _ in range(3):
            calls = [host.send("Segfault" if n == 200 else "Fine", echo(f"/{n}")) for n in range(400)]
            outcomes = await gathered(*calls)
            assert outcomes.count("error") == 1
            assert outcomes.count("ok") == 399


@on_loop
async def test_a_process_killed_from_outside_costs_no_more_than_what_it_ran(bundle: Path) -> None:
    """As by the system's memory killer."""
    async with hosted(bundle, restart_delay=0.01) as host:
        await host.up()
        calls = [host.send("Slow") for _ in range(20)]
        await asyncio.sleep(0.12)
        os.kill(host.pids()[0], signal.SIGKILL)
        outcomes = await gathered(*calls)
        assert outcomes.count("error") <= 1
        assert outcomes.count("ok") >= 19


@pytest.mark.parametrize("name", ["Loop", "Deaf"])
def test_a_stuck_call_ends_at_its_deadline_and_its_process_is_replaced(bundle: Path, name: str) -> None:
    """What waited behind it is answered by the new one."""

    @on_loop
    async def check() -> None:
        async with hosted(bundle, restart_delay=0.01) as host:
            old = (await host.call("Fine")).request.set_headers["Pid"]
            stuck = host.send(name, deadline=0.3)
            behind = host.send("Fine")
            reply = await stuck
            assert reply.outcome == "timeout"
            assert "not done after 0.3 s; the process is replaced" in reply.detail
            answered = await behind
            assert answered.outcome == "ok"
            new = Object.FromString(answered.message).request.set_headers["Pid"]
            assert new != old
            await host.until(lambda: not Path(f"/proc/{old}").exists())
            assert host.driver.counts()["timeouts"] == 1

    check()


@on_loop
async def test_a_call_that_began_late_is_not_taken_for_stuck(bundle: Path) -> None:
    """Under load calls wait; ending the processes that work them off would make it worse."""
    async with hosted(bundle) as host:
        await host.up()
        first, late = host.send("Slower"), host.send("Slower", deadline=0.6)
        assert (await first).outcome == "ok"
        reply = await late
        assert reply.outcome == "timeout"
        assert reply.detail.endswith("not done after 0.6 s; it began late")
        assert (await host.send("Fine")).outcome == "ok"
        assert host.driver.counts()["restarts"] == 0


@on_loop
async def test_crashing_calls_do_not_keep_a_bundle_away(bundle: Path) -> None:
    """The pause before a restart stays short however often they come."""
    async with hosted(bundle, restart_delay=0.4, restart_delay_most=60) as host:
        await host.up()
        for _ in range(5):
            assert (await host.failed("OsExit")).outcome == "error"
        delays = [float(text.rpartition(" in ")[2][:-2]) for _, text in host.logged if "the next try is in" in text]
        assert len(delays) == 5
        assert max(delays) <= 1.0


@on_loop
async def test_a_cancelled_call_that_is_stuck_is_ended_too(bundle: Path) -> None:
    """Nobody waits for it any more, but its process must not stay stuck."""
    async with hosted(bundle, restart_delay=0.01) as host:
        await host.up()
        done: list[object] = []
        message = Object(hook_type=1, hook_name="Loop").SerializeToString()
        ticket = host.driver.dispatch(message, 0.3, done.append)
        await host.begun(1)
        ticket.cancel()
        assert (await host.send("Fine")).outcome == "ok"
        assert done == []
        counts = host.driver.counts()
        assert (counts["cancelled"], counts["timeouts"], counts["restarts"]) == (1, 0, 1)


@on_loop
async def test_calls_that_wait_too_long_end_without_harm_to_the_process(bundle: Path) -> None:
    """Their deadline passes in the queue."""
    async with hosted(bundle) as host:
        await host.up()
        first = host.send("Slow")
        late = [host.send("Slow", deadline=0.02) for _ in range(5)]
        assert await gathered(*late) == ["timeout"] * 5
        assert (await first).outcome == "ok"
        assert (await host.send("Fine")).outcome == "ok"
        assert host.driver.counts()["restarts"] == 0


@on_loop
async def test_the_queue_is_bounded(bundle: Path) -> None:
    """More is busy; waiting calls that were cancelled do not count, nor stay."""
    async with hosted(bundle, queue=4) as host:
        await host.up()
        calls = [host.send("Slow") for _ in range(8)]
        outcomes = await gathered(*calls)
        assert outcomes == ["ok"] * 5 + ["busy"] * 3
        first = host.send("Slow")
        for _ in range(1000):
            message = Object(hook_type=1, hook_name="Slow").SerializeToString()
            host.driver.dispatch(message, 5, lambda reply: None).cancel()
        assert len(host.driver._calls) < 200
        assert host.driver.counts()["waiting"] == 0
        assert (await first).outcome == "ok"
        assert host.driver.counts()["busy"] == 3


@on_loop
async def test_no_call_overtakes_those_that_wait(bundle: Path) -> None:
    """Not even one that is dispatched while another is answered: it would do so for ever under load."""
    async with hosted(bundle, pipeline=1) as host:
        await host.up()
        order: list[int] = []
        message = Object(hook_type=1, hook_name="Fine").SerializeToString()

        def dispatch(number: int) -> None:
            def done(reply: Reply) -> None:
                order.append(number)
                if number < 100:
                    dispatch(number + 10)

            host.driver.dispatch(message, 20, done)

        for first in range(10):
            dispatch(first)
        await host.until(lambda: len(order) == 110)
        assert order == list(range(110))


@on_loop
async def test_sizes_are_bounded(bundle: Path) -> None:
    """Of calls and of replies; the process lives on."""
    async with hosted(bundle, max_message=1 << 20) as host:
        pid = (await host.call("Fine")).request.set_headers["Pid"]
        large = Object(hook_type=1)
        large.request.raw_body = b"x" * (1 << 20)
        assert (await host.failed("Fine", large)).outcome == "too_large"
        reply = await host.failed("LongReply")
        assert reply.outcome == "too_large"
        assert "LongReply: the reply has 3000" in reply.detail
        assert (await host.call("Fine")).request.set_headers["Pid"] == pid


@on_loop
async def test_twenty_megabytes_go_both_ways(bundle: Path) -> None:
    """Binary, unchanged."""
    async with hosted(bundle) as host:
        large = Object(hook_type=1)
        large.request.raw_body = os.urandom(1 << 20) * 20
        calls = [host.send("Fine", large) for _ in range(3)]
        for call in calls:
            assert Object.FromString((await call).message).request.raw_body == large.request.raw_body


@on_loop
async def test_prints_go_to_the_log(bundle: Path) -> None:
    """However they are written; control characters cannot forge lines."""
    async with hosted(bundle) as host:
        await host.call("Prints")
        for text in ("to stdout", "to stderr", "by descriptor"):
            await host.until(lambda text=text: f"python faults: {text}" in host.log)  # type: ignore[misc]
        await host.until(lambda: r"\x1b[31m control" in host.log)
        assert (await host.call("ReadsInput")).request.set_headers["Read"] == "''"


@pytest.mark.parametrize("name", ["Flood", "FloodLog"])
def test_floods_of_lines_are_bounded(bundle: Path, name: str) -> None:
    """What is over the rate is counted, and said."""

    @on_loop
    async def check() -> None:
        async with hosted(bundle, notices_per_second=100) as host:
            await host.call(name, deadline=30)
            assert len(host.logged) < 2000
            counts = host.driver.counts()
            assert counts["lines_dropped" if name == "Flood" else "notices_dropped"] > 1000

    check()


@on_loop
async def test_a_forked_child_cannot_speak_for_its_parent(bundle: Path) -> None:
    """Its calls to the gateway fail, and the parent's go on."""
    async with hosted(bundle) as host:
        assert (await host.call("Forks")).request.set_headers["Child"] == "Ended"
        assert (await host.call("Fine")).request.set_headers["Pid"]


@on_loop
async def test_a_forked_child_that_returns_answers_nothing(bundle: Path) -> None:
    """It would answer the same call once more."""
    async with hosted(bundle) as host:
        child = (await host.call("ForksAndReturns")).request.set_headers["Child"]
        assert int(child) > 0
        for number in range(20):
            assert (await host.call("Fine", echo(f"/{number}"))).request.set_headers["Echo"] == f"/{number}"
        assert host.driver.counts()["restarts"] == 0


@on_loop
async def test_a_caller_that_fails_harms_no_other(bundle: Path) -> None:
    """Its own fault is told to the loop."""
    async with hosted(bundle) as host:
        await host.up()
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))

        def fails(reply: Reply) -> None:
            raise ValueError("the caller's")

        message = Object(hook_type=1, hook_name="Fine").SerializeToString()
        calls = []
        for _ in range(20):
            host.driver.dispatch(message, 20, fails)
            calls.append(host.send("Fine"))
        assert await gathered(*calls) == ["ok"] * 20
        assert [str(error) for error in told] == ["the caller's"] * 20


@on_loop
async def test_children_of_a_plugin_end_with_it(bundle: Path) -> None:
    """The whole process group does."""
    async with hosted(bundle) as host:
        child = (await host.call("LeavesChildren")).request.set_headers["Child"]
        assert Path(f"/proc/{child}").exists()
    end = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().rpartition(")")[2][:3]:
        assert time.monotonic() < end
        time.sleep(0.01)


@on_loop
async def test_close_lets_calls_end_within_the_grace(bundle: Path) -> None:
    """And refuses new ones."""
    async with hosted(bundle) as host:
        await host.up()
        calls = [host.send("Slow") for _ in range(4)]
        closing = asyncio.ensure_future(host.driver.close(10))
        await asyncio.sleep(0)
        late = await host.send("Fine")
        assert late.outcome == "disabled"
        assert await gathered(*calls) == ["ok"] * 4
        await closing
        assert host.driver.state().status == "disabled"


@on_loop
async def test_close_ends_what_does_not_end(bundle: Path) -> None:
    """Each call gets an answer."""
    async with hosted(bundle) as host:
        await host.up()
        calls = [host.send("Deaf"), host.send("Fine")]
        await host.begun(1)
        await host.driver.close(0.2)
        assert await gathered(*calls) == ["error", "away"]
