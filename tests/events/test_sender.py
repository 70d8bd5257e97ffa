"""Sending over real sockets: bounds, slow and dead hosts, the cooldown, the end of a worker."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.events.cooldown import Cooldown
from core.events.event import Event
from core.events.sender import Sender
from core.events.settings import EventSettings
from core.events.templates import HookTemplates
from core.events.webhook import WebHook, request_headers
from core.store.client import Store, open_store
from core.store.settings import Address, StoreSettings
from tests.support.gateway import free_port
from tests.support.tls import Authority
from tests.support.upstream import Upstream, head, reply, silent
from tests.support.valkey import valkey

META = {"Message": "m", "OriginatingRequest": "", "Path": "/", "Origin": "192.0.2.1", "Key": "k"}


def event(key: str = "k") -> Event:
    return Event("AuthFailure", {**META, "Key": key}, 0)


def hook(url: str, cooldown: int = 0) -> WebHook:
    template = HookTemplates("", []).get("", "f", "p")
    return WebHook("POST", url, template, request_headers(True, {}), cooldown)


@pytest.fixture
def receiver() -> Iterator[Upstream]:
    with Upstream() as found:
        yield found


def with_sender(
    settings: EventSettings, use: Callable[[Sender], Awaitable[None]], *, port: int = 0, grace: float = 5.0
) -> Sender:
    """Run something with a sender whose store is at a port, 0 for one that is away; returns the closed sender."""

    async def run() -> Sender:
        store: Store = open_store(StoreSettings(addresses=(Address("127.0.0.1", port or free_port()),)))
        await store.start()
        sender = Sender(settings, Cooldown(store))
        try:
            await use(sender)
        finally:
            await sender.close(grace)
            await store.close()
        return sender

    return asyncio.run(run())


async def until(check: Callable[[], Any]) -> None:
    """Poll; the deadline only bounds a failing test."""
    async with asyncio.timeout(15):
        while not check():
            await asyncio.sleep(0.005)


def test_events_get_lost_or_are_sent_twice(receiver: Upstream) -> None:
    async def use(sender: Sender) -> None:
        for number in range(200):
            sender.put(hook(f"{receiver.url}/a"), event(str(number)))
        await until(lambda: sender.sent == 200)

    sender = with_sender(EventSettings(), use)
    assert sorted(int(seen.body.rpartition(b'"key": "')[2][:-2]) for seen in receiver.seen("/a")) == list(range(200))
    assert (sender.dropped, sender.failed, sender.waiting) == (0, 0, 0)
    assert len(receiver.connections) <= 8


def test_a_queue_grows_without_end(receiver: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    receiver.on("/slow", silent)

    async def use(sender: Sender) -> None:
        for _ in range(2):
            sender.put(hook(f"{receiver.url}/slow"), event())
        await until(lambda: len(receiver.seen("/slow")) == 2)
        for _ in range(10):
            sender.put(hook(f"{receiver.url}/slow"), event())
        assert sender.waiting == 5
        assert sender.dropped == 5

    with caplog.at_level(logging.ERROR):
        sender = with_sender(EventSettings(max_queued=5, per_target=2), use, grace=0)
    assert next(record.message for record in caplog.records if "dropped" in record.message).startswith("1 events for http://")
    assert (sender.sent, sender.dropped) == (0, 12)


def test_a_slow_host_delays_another(receiver: Upstream) -> None:
    receiver.on("/slow", silent)
    with Upstream() as other:

        async def use(sender: Sender) -> None:
            for _ in range(50):
                sender.put(hook(f"{receiver.url}/slow"), event())
                sender.put(hook(f"{other.url}/quick"), event())
            await until(lambda: sender.sent == 50)
            assert len(receiver.seen("/slow")) <= 2

        with_sender(EventSettings(per_target=2), use, grace=0)
        assert len(other.seen("/quick")) == 50


def test_a_host_that_fails_ends_the_sending(receiver: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    receiver.on("/500", reply(head("500 Oops", "Content-Length: 0")))
    receiver.on("/moved", reply(head("307 Moved", "Location: /target", "Content-Length: 0")))
    receiver.on("/nonsense", reply(b"what?\r\n\r\n", keep=False))
    receiver.on("/slow", silent)
    dead = f"http://127.0.0.1:{free_port()}/"

    async def use(sender: Sender) -> None:
        for path in ("/500", "/moved", "/nonsense", "/slow"):
            sender.put(hook(receiver.url + path), event())
        sender.put(hook(dead), event())
        await until(lambda: sender.failed == 5)
        sender.put(hook(receiver.url + "/ok"), event())
        await until(lambda: sender.sent == 1)

    with caplog.at_level(logging.WARNING):
        with_sender(EventSettings(timeout=0.3), use)
    assert not receiver.seen("/target")
    said = [record.message for record in caplog.records if record.name == "preforge.events"]
    assert len(said) == 2       # one line per host and period
    assert all("k" not in line.split() for line in said)


def test_an_answer_that_never_ends_is_read_for_ever(receiver: Upstream) -> None:
    receiver.on("/flood", reply(head("200 OK", "Content-Length: 10000000"), *[b"x" * 65536] * 20, keep=False))

    async def use(sender: Sender) -> None:
        sender.put(hook(f"{receiver.url}/flood"), event())
        await until(lambda: sender.sent == 1)

    assert with_sender(EventSettings(), use).failed == 0


def test_a_name_leads_to_a_blocked_network(receiver: Upstream) -> None:
    async def use(sender: Sender) -> None:
        sender.put(hook(f"http://localhost:{receiver.port}/a"), event())
        await until(lambda: sender.failed == 1)

    networks = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
    with_sender(EventSettings(blocked=networks), use)
    assert receiver.requests == []


def test_a_hook_is_sent_to_a_server_with_a_strange_certificate(tmp_path: Path) -> None:
    with Upstream(tls=Authority(tmp_path).server("127.0.0.1")) as receiver:

        async def use(sender: Sender) -> None:
            sender.put(hook(f"{receiver.url}/a"), event())
            await until(lambda: sender.failed == 1)

        assert with_sender(EventSettings(), use).sent == 0
        assert receiver.requests == []


def test_the_same_hook_is_sent_again_within_its_cooldown(receiver: Upstream, tmp_path: Path) -> None:
    with valkey(tmp_path / "store") as store:

        async def use(sender: Sender) -> None:
            for key in ("a", "b", "a"):
                sender.put(hook(f"{receiver.url}/a", cooldown=60), event(key))
            await until(lambda: sender.sent == 2 and sender.suppressed == 1)

        with_sender(EventSettings(), use, port=store.port)
        # another worker, another node
        second = with_sender(EventSettings(), use_once(receiver, "b"), port=store.port)
        assert (second.sent, second.suppressed) == (0, 1)
        (name, _) = sorted(store.ask("KEYS", "webhook.cache.*"))
        assert 50 < store.ask("TTL", name) <= 60
    assert len(receiver.seen("/a")) == 2


def use_once(receiver: Upstream, key: str) -> Callable[[Sender], Awaitable[None]]:
    async def use(sender: Sender) -> None:
        sender.put(hook(f"{receiver.url}/a", cooldown=60), event(key))
        await until(lambda: sender.sent + sender.suppressed == 1)

    return use


def test_a_cooldown_ends_with_the_store(receiver: Upstream) -> None:
    async def use(sender: Sender) -> None:
        for _ in range(3):
            sender.put(hook(f"{receiver.url}/a", cooldown=60), event())
            await until(lambda: sender.waiting == 0)
        await until(lambda: sender.sent + sender.suppressed == 3)

    sender = with_sender(EventSettings(per_target=1), use)
    assert (sender.sent, sender.suppressed) == (1, 2)


def test_what_waits_is_thrown_away_at_the_end(receiver: Upstream) -> None:
    async def use(sender: Sender) -> None:
        for number in range(30):
            sender.put(hook(f"{receiver.url}/a"), event(str(number)))

    sender = with_sender(EventSettings(per_target=1), use)
    assert (sender.sent, sender.dropped) == (30, 0)
    assert len(receiver.seen("/a")) == 30


def test_an_event_after_the_end_is_not_counted(receiver: Upstream) -> None:
    async def nothing(sender: Sender) -> None:
        return

    sender = with_sender(EventSettings(), nothing)
    sender.put(hook(receiver.url), event())
    assert sender.dropped == 1
