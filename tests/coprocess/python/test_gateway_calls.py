"""TykGateway: the log, data in a real store, system events, and the bounds of all of them (tyk-plugins 5.4)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.store.client import Store, open_store
from core.store.settings import Address, StoreSettings
from tests.coprocess.python.hosting import Kept, gathered, hosted, on_loop, write_bundle
from tests.support.valkey import valkey

CODE = '''
    import threading, time

    @Hook
    def Store(request, session, spec):
        tyk.store_data("key \\u20ac", "value \\u20ac", 60)
        tyk.store_data("binary", bytes(range(256)), 5)
        tyk.store_data("for ever", "", 0)
        return request, session

    @Hook
    def Get(request, session, spec):
        value = tyk.get_data("key \\u20ac")
        assert type(value) is bytes
        request.add_header("Value", value.decode())
        request.add_header("Binary", str(tyk.get_data("binary") == bytes(range(256))))
        request.add_header("Missing", repr(tyk.get_data("missing")))
        return request, session

    @Hook
    def Log(request, session, spec):
        tyk.log("a debug line", "debug")
        tyk.log("an info line", "info")
        tyk.log("a warning line", "warning")
        tyk.log("an error line", "error")
        tyk.log("another line", "unheard of")
        tyk.log_error("a plain error")
        try:
            1 / 0
        except ZeroDivisionError:
            tyk.log_error()
        return request, session

    @Hook
    def Trigger(request, session, spec):
        tyk.trigger_event("MyEvent", '{"a": 1}')
        return request, session

    @Hook
    def LongKey(request, session, spec):
        tyk.store_data("k" * 2000, "v", 1)
        return request, session

    @Hook
    def LongValue(request, session, spec):
        tyk.store_data("k", "v" * 2000, 1)
        return request, session

    @Hook
    def NotText(request, session, spec):
        tyk.store_data("k", 5, 1)
        return request, session

    @Hook
    def Catches(request, session, spec):
        from tyk.gateway import Refused
        try:
            tyk.get_data("k" * 2000)
        except Refused as error:
            request.add_header("Refused", str(error))
        return request, session

    @Hook
    def Many(request, session, spec):
        refused = 0
        for n in range(50):
            try:
                tyk.get_data("k")
            except RuntimeError:
                refused += 1
        request.add_header("Refused", str(refused))
        return request, session

    @Hook
    def FromThreads(request, session, spec):
        found = []
        def work(n):
            for turn in range(20):
                tyk.store_data("t%d" % n, "v%d.%d" % (n, turn), 60)
                found.append(tyk.get_data("t%d" % n) == b"v%d.%d" % (n, turn))
        threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
        for thread in threads:
            thread.start()
        work(99)
        for thread in threads:
            thread.join()
        request.add_header("Good", "%d of %d" % (sum(found), len(found)))
        return request, session

    @Hook
    def Crowd(request, session, spec):
        for n in range(8):
            threading.Thread(target=lambda: tyk.get_data("k"), daemon=True).start()
        time.sleep(60)

    def later():
        while True:
            time.sleep(0.01)
            if tyk.get_data("stop"):
                tyk.store_data("stopped", "yes", 60)
                return

    @Hook
    def Background(request, session, spec):
        threading.Thread(target=later, daemon=True).start()
        return request, session

    @Hook
    def Fine(request, session, spec):
        return request, session

    @Hook
    def LongTrigger(request, session, spec):
        tyk.trigger_event("n", "v" * 5000)
        return request, session
'''


class InStore(Kept):
    """Services as a worker has them: a real store, and the prefix that Tyk uses."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    async def store_data(self, key: str, value: bytes, ttl: int) -> None:
        await self._store.call("SET", f"coprocess-data:{key}", value, *(("EX", ttl) if ttl > 0 else ()))

    async def get_data(self, key: str) -> bytes:
        value: bytes | None = await self._store.call("GET", f"coprocess-data:{key}")
        return value or b""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "calls", CODE)


@on_loop
async def test_data_are_kept_in_the_store(bundle: Path, tmp_path: Path) -> None:
    """Bytes in, the same bytes out, with a lifetime; a store that goes away refuses, and does not answer "missing"."""
    with valkey(tmp_path / "valkey") as server:
        store = open_store(StoreSettings((Address("127.0.0.1", server.port),), command_timeout=0.5))
        await store.start()
        try:
            async with hosted(bundle, InStore(store)) as host:
                await host.call("Store")
                assert server.ask("GET", "coprocess-data:key €") == "value €".encode()
                assert 0 < server.ask("TTL", "coprocess-data:binary") <= 5
                assert server.ask("TTL", "coprocess-data:for ever") == -1
                got = dict((await host.call("Get")).request.set_headers)
                assert got == {"Value": "value €", "Binary": "True", "Missing": "b''"}
                assert (await host.call("FromThreads")).request.set_headers["Good"] == "120 of 120"
                await host.call("Background")
                server.ask("SET", "coprocess-data:stop", "1")
                await host.until(lambda: server.ask("GET", "coprocess-data:stopped") == b"yes")
                server.stop()
                reply = await host.failed("Get")
                assert reply.outcome == "error"
                assert reply.detail.startswith("tyk.gateway.Refused: ")
                assert (await host.send("Fine")).outcome == "ok"
        finally:
            await store.close()


@on_loop
async def test_log_levels(bundle: Path) -> None:
    """Anything unknown is info; an error without text is the exception at hand."""
    async with hosted(bundle) as host:
        await host.call("Log")
        lines = [(level, text.partition(": ")[2]) for level, text in host.logged]
        for line in (
            ("debug", "a debug line"), ("info", "an info line"), ("warning", "a warning line"), ("error", "an error line"),
            ("info", "another line"), ("error", "a plain error"),
        ):  # fmt: skip
            assert line in lines
        assert any(level == "error" and "ZeroDivisionError" in text for level, text in lines)


@on_loop
async def test_system_events_are_fired(bundle: Path) -> None:
    """With the plugin's text as their payload; too long ones are dropped and counted."""
    services = Kept()
    async with hosted(bundle, services, max_value=4096) as host:
        await host.call("Trigger")
        assert services.fired == [("MyEvent", '{"a": 1}')]
        await host.call("LongTrigger")
        assert len(services.fired) == 1
        assert host.driver.counts()["notices_dropped"] == 1
        assert "trigger_event: a key has at most" in host.log


@on_loop
async def test_sizes_of_keys_and_values_are_bounded(bundle: Path) -> None:
    """The plugin is told by an exception, which it may catch."""
    async with hosted(bundle, max_key=1000, max_value=1000) as host:
        for name in ("LongKey", "LongValue"):
            reply = await host.failed(name)
            assert "Refused: a key has at most 1000 bytes, a value at most 1000" in reply.detail
        assert "expected str or bytes, not int" in (await host.failed("NotText")).detail
        got = await host.call("Catches")
        assert got.request.set_headers["Refused"] == "a key has at most 1000 bytes, a value at most 1000"
        assert host.driver.counts()["questions_refused"] == 3


@on_loop
async def test_a_stored_value_that_is_too_long_is_refused(bundle: Path) -> None:
    """Another program may have put it there."""
    services = Kept()
    services.data["k"] = bytes(2000)
    async with hosted(bundle, services, max_value=1000) as host:
        assert (await host.call("Many")).request.set_headers["Refused"] == "50"


@on_loop
async def test_rate_of_questions_is_bounded(bundle: Path) -> None:
    """Per process."""
    async with hosted(bundle, questions_per_second=10) as host:
        refused = int((await host.call("Many")).request.set_headers["Refused"])
        assert 30 <= refused <= 40
        assert host.driver.counts()["questions_refused"] == refused


@on_loop
async def test_open_questions_are_bounded_and_end_with_the_process(bundle: Path) -> None:
    """A store that does not answer must not gather tasks."""

    class Slow(Kept):
        async def get_data(self, key: str) -> bytes:
            await asyncio.sleep(60)
            return b""

    def questions() -> int:
        return sum("Questions" in repr(task) for task in asyncio.all_tasks())

    async with hosted(bundle, Slow(), questions_open=3, restart_delay=0.01) as host:
        await host.up()
        crowd = host.send("Crowd", deadline=0.5)
        await host.until(lambda: host.driver.counts()["questions_refused"] == 5)
        assert questions() == 3
        assert (await crowd).outcome == "timeout"
        await host.until(lambda: questions() == 0)
        assert (await host.send("Fine")).outcome == "ok"


@on_loop
async def test_threads_run_calls_at_once(tmp_path: Path) -> None:
    """With `threads`, calls of one process meet; without, they do not."""
    code = """
        import threading
        barrier = threading.Barrier(4)

        @Hook
        def Meet(request, session, spec):
            barrier.wait(10)
            tyk.store_data("k", "v", 1)
            request.add_header("Thread", threading.current_thread().name)
            return request, session

        @Hook
        def Die(request, session, spec):
            import os
            os._exit(1)
    """
    async with hosted(write_bundle(tmp_path / "b", code), threads=4, restart_delay=0.01) as host:
        for _ in range(20):
            assert await gathered(*(host.send("Meet") for _ in range(4))) == ["ok"] * 4
        waits = [host.send("Meet") for _ in range(3)]
        await host.begun(83)
        assert await gathered(host.send("Die"), *waits) == ["error"] * 4, "all that had begun in the process end with it"
        assert await gathered(*(host.send("Meet") for _ in range(4))) == ["ok"] * 4
