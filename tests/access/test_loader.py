"""What a worker keeps of keys must never outlive them."""

from __future__ import annotations

import asyncio

import pytest

from accel.http1 import KeyCache
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
        cache = KeyCache(10, FRESH_MS)
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
