"""What a worker keeps of keys must never outlive them."""

from __future__ import annotations

import asyncio
import os

import pytest

from accel.http1 import KeyCache, KeyEntry
from accel.limits import LimitTable, clock_ms
from core.access.answers import Answers
from core.access.loader import FRESH_MS, MOST_TRIES, SessionLoader
from core.sessions.keyspace import Found, KeySpace
from core.sessions.model import from_value
from tests.support.keys import ORG, keyed, session
from tests.support.site import Site
from tests.support.wire import Client


class Restless(KeySpace):
    """A store in which some key changes during every look-up, up to a number of times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.asked = 0
        self.loader: SessionLoader | None = None

    async def load(self, token: str, org: str, known: Found | None = None) -> Found | None:
        self.asked += 1
        if self.asked <= self.times and self.loader is not None:
            self.loader.changed("another")
        return Found(token, token, from_value(session("a")))


@pytest.mark.parametrize(("times", "asked", "kept"), [(0, 1, 1), (1, 2, 1), (MOST_TRIES, MOST_TRIES, 0)])
def test_a_session_that_may_be_old_already_is_not_kept(times: int, asked: int, kept: int) -> None:
    async def load() -> tuple[int, int]:
        keyspace = Restless(times)
        cache = KeyCache(10, FRESH_MS, LimitTable.create(1))
        loader = keyspace.loader = SessionLoader(keyspace, cache, Answers(lambda *_: None))
        assert await loader._start(b"\0key", "", b"key") is not None
        return keyspace.asked, len(cache)

    assert asyncio.run(load()) == (asked, kept)


@pytest.mark.parametrize("conf", [{}, {"hash_keys": True}, {"hash_keys": True, "hash_key_function": "sha256"}])
def test_a_token_that_is_no_text_is_unknown_and_not_an_outage(site: Site, conf: dict[str, object]) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), **conf)
    for token in (b"\xe9\xff\xfe\xfd", ORG.encode() + b"\xc0\xaf", b"\xed\xa0\x80key"):
        with Client(gateway.address) as client:
            client.send(b"GET /a/x HTTP/1.1\r\nHost: a\r\nAuthorization: " + token + b"\r\n\r\n")
            assert client.read().status == 403, token
    assert "level=error" not in gateway.log()


def test_no_worker_goes_by_what_it_knew_of_a_key_that_another_one_has_changed() -> None:
    """Before any notification has arrived."""

    async def change() -> tuple[bool, bool, int]:
        keyspace = Restless(0)
        table = LimitTable.create(1)
        caches = [KeyCache(10, FRESH_MS, table) for _ in range(2)]
        ours, theirs = (SessionLoader(keyspace, cache, Answers(lambda *_: None)) for cache in caches)
        assert await ours.find("", b"key") is not None
        known = ours.known("", b"key") is not None
        theirs.change("key")
        gone = ours.known("", b"key") is None and ours._cached(b"\0key") is None
        assert await ours.find("", b"key") is not None
        assert ours.known("", b"key") is not None
        return known, gone, keyspace.asked

    assert asyncio.run(change()) == (True, True, 2)


class Marked(Restless):
    """The same, before any notification: the key itself is changed through another worker."""

    async def load(self, token: str, org: str, known: Found | None = None) -> Found | None:
        self.asked += 1
        if self.asked <= self.times and self.loader is not None:
            self.loader.cache.marks.mark(token.encode())
        return Found(token, token, from_value(session("a")))


@pytest.mark.parametrize(("times", "asked", "current"), [(0, 1, True), (1, 2, True), (MOST_TRIES, MOST_TRIES, False)])
def test_a_change_during_the_look_up_is_noticed_without_a_notification(times: int, asked: int, current: bool) -> None:
    async def load() -> tuple[int, bool]:
        keyspace = Marked(times)
        cache = KeyCache(10, FRESH_MS, LimitTable.create(1))
        loader = keyspace.loader = SessionLoader(keyspace, cache, Answers(lambda *_: None))
        entry = await loader.find("", b"key")
        assert entry is not None
        return keyspace.asked, cache.current(entry)

    assert asyncio.run(load()) == (asked, current)


def test_marks_outlive_the_mapping_and_hold_for_one_key() -> None:
    table = LimitTable.create(1)
    other = LimitTable.attach(os.dup(table.fd))
    caches = [KeyCache(300, FRESH_MS, one) for one in (table, other)]
    entries = [KeyEntry(b"", b"key %d" % number, None, clock_ms()) for number in range(200)]
    for entry in entries:
        caches[0].put(entry.name, entry)
    caches[1].marks.mark(b"key 7")
    stale = [entry.name for entry in entries if not caches[0].current(entry)]
    assert b"key 7" in stale
    assert len(stale) < 10      # others share its mark, few of them
    assert (table.changes, other.changes) == (1, 1)
