"""The HTTP client of web hooks and scripts. Imported when the first request is sent: a gateway that sends none does not
load aiohttp.

HTTP/1.1, plain or over TLS. Connections are kept for a moment and used again (where Tyk opens one for each request of a
script). Cookies are not kept.
"""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from core.outbound.connect import Guard, Lookups
from core.outbound.inflate import Inflater
from core.outbound.messages import Answer, OutboundError, Outgoing, check_headers, check_method
from core.outbound.networks import Network, literal
from core.outbound.proxies import Proxies
from core.outbound.redirects import Trail
from core.outbound.urls import Url

# Shorter than what servers keep: a connection that the server is closing just now loses a request that must not be
# sent twice.
KEEP_SECONDS = 2.0
CONNECT_SECONDS = 10.0
HEAD_BYTES = 65536          # of one line of an answer's head
DISCARDED = 2048            # bytes of an answer that redirects; with more its connection is not used again
MOST_LOOKUPS = 64


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """blocked: networks that nothing is sent to; option: the setting that they are from; proxies: None uses none."""

    blocked: tuple[Network, ...]
    option: str
    proxies: Proxies | None = None


@dataclass(frozen=True, slots=True)
class Manner:
    """How one request is made. most: bytes of the answer's body, decompressed; cut: end a longer one there instead of
    failing; follow: redirects; inflate: ask for gzip where the request does not say what it takes; tls: makes the context
    when one is needed, and may raise OutboundError; without it certificates are verified."""

    most: int
    cut: bool = False
    follow: bool = False
    inflate: bool = False
    tls: Callable[[], ssl.SSLContext] | None = None


class _Lines:
    """The connections under one set of rules. Those to proxies are apart: the operator named them, not the request."""

    def __init__(self, settings: ClientSettings) -> None:
        self.guard = Guard(settings.blocked, settings.option)
        self.users = 0
        self.retired = False
        self._proxies = settings.proxies
        self._direct = _session(self.guard)
        self._proxied = _session(None) if settings.proxies else self._direct

    def choose(self, url: Url) -> tuple[aiohttp.ClientSession, Url | None]:
        """Whom to ask for a URL, and the proxy to ask. Raises OutboundError, OSError."""
        proxy = self._proxies.get(url) if self._proxies else None
        if proxy is None:
            return self._direct, None
        address = literal(url.host)
        if address is not None:
            self.guard.check(address)
        return self._proxied, proxy

    async def close(self) -> None:
        await self._direct.close()
        await self._proxied.close()


def _session(guard: Guard | None) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,
        resolver=Lookups(MOST_LOOKUPS),
        use_dns_cache=False,
        keepalive_timeout=KEEP_SECONDS,
        socket_factory=guard.socket if guard is not None else None,
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_line_size=HEAD_BYTES,
        max_field_size=HEAD_BYTES,
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    )


class Client:
    """One per worker and purpose, on its loop. The caller bounds the time, and how many requests there are."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._lines = _Lines(settings)
        self._refused = 0
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def blocked(self) -> int:
        """Connections that were not made because of the networks."""
        return self._refused + self._lines.guard.refused

    def configure(self, settings: ClientSettings) -> None:
        """Other rules, also for connections that are open: requests that run keep theirs."""
        if settings == self._settings:
            return
        old, self._lines, self._settings = self._lines, _Lines(settings), settings
        self._refused += old.guard.refused
        old.retired = True
        if not old.users:
            self._retire(old)

    def _retire(self, lines: _Lines) -> None:
        task = asyncio.get_running_loop().create_task(lines.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def send(self, request: Outgoing, manner: Manner) -> Answer:
        """Send a request and read its answer; one with an error status is an answer too. Raises OutboundError."""
        lines = self._lines
        lines.users += 1
        try:
            return await self._follow(lines, request, manner)
        except TimeoutError:
            raise OutboundError(f"no connection within {CONNECT_SECONDS:g} s", "timeout") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise OutboundError(str(error) or type(error).__name__) from None
        finally:
            lines.users -= 1
            if lines.retired and not lines.users:
                self._retire(lines)

    async def _follow(self, lines: _Lines, request: Outgoing, manner: Manner) -> Answer:
        method, headers = check_method(request.method), check_headers(request.headers)
        now = dataclasses.replace(request, method=method, headers=headers)
        trail = Trail(now) if manner.follow else None
        while True:
            answer, following = await self._once(lines, now, manner, trail)
            if following is None:
                return answer
            now = following

    async def _once(
        self, lines: _Lines, request: Outgoing, manner: Manner, trail: Trail | None
    ) -> tuple[Answer, Outgoing | None]:
        """One request; also the one that follows."""
        url = request.url
        headers = [("Host", request.get("host") or url.authority)]
        headers += [header for header in request.headers if header[0].lower() != "host"]
        if url.user and request.get("authorization") is None:
            headers.append(("Authorization", url.authorization()))
        # As Go's transport decides.
        packed = manner.inflate and request.method != "HEAD" and \
            request.get("accept-encoding") is None and request.get("range") is None  # fmt: skip
        if packed:
            headers.append(("Accept-Encoding", "gzip"))
        session, proxy = lines.choose(url)
        login = {"Proxy-Authorization": proxy.authorization()} if proxy is not None and proxy.user else {}
        if url.scheme == "http":
            # aiohttp sends the headers for a proxy in front of a tunnel only.
            headers += login.items()
        async with session.request(
            _Verbatim(request.method),
            URL(url.text(), encoded=True),
            data=request.body or None,
            headers=headers,
            allow_redirects=False,
            ssl=manner.tls() if manner.tls is not None and url.scheme == "https" else True,
            proxy=None if proxy is None else URL(proxy.text(), encoded=True),
            proxy_headers=login,
        ) as response:
            if response.status < 200:
                response.close()
                raise OutboundError(f"the answer {response.status} changes the protocol")
            answer = Answer(response.status, _headers(response), b"", url.text())
            following = trail.follow(request, answer) if trail is not None else None
            if following is not None:
                await _read(response, Manner(DISCARDED, cut=True), None)
                return answer, following
            packed = packed and response.headers.get("Content-Encoding", "").lower() == "gzip"
            body = await _read(response, manner, Inflater() if packed else None)
            if packed:
                kept = (one for one in answer.headers if one[0].lower() not in ("content-encoding", "content-length"))
                answer = dataclasses.replace(answer, headers=tuple(kept))
            return dataclasses.replace(answer, body=body), None

    async def close(self) -> None:
        await asyncio.gather(self._lines.close(), *self._closing)


class _Verbatim(str):
    """A method as it is: they are case-sensitive (RFC 9110 section 9.1), and aiohttp would write them in capitals."""

    __slots__ = ()

    def upper(self) -> str:
        return self


def _headers(response: aiohttp.ClientResponse) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
        for name, value in response.raw_headers
    )


async def _read(response: aiohttp.ClientResponse, manner: Manner, inflater: Inflater | None) -> bytes:
    """The body. What is compressed is bounded too: many empty members hold nothing for ever."""
    with _watched(response):
        found = bytearray()
        taken = 0
        async for raw in response.content.iter_any():
            taken += len(raw)
            for piece in (raw,) if inflater is None else inflater.feed(raw):
                found += piece
                if len(found) > manner.most:
                    break
                if inflater is not None:
                    await asyncio.sleep(0)
            if max(len(found), taken) > manner.most:
                response.close()
                if manner.cut:
                    return bytes(found[: manner.most])
                raise OutboundError(f"the answer has more than {manner.most} bytes", "large")
        if inflater is not None:
            inflater.check_end()
        return bytes(found)


@contextmanager
def _watched(response: aiohttp.ClientResponse) -> Iterator[None]:
    """Let a body fail when its connection ends: aiohttp's parser forgets the body on some errors in its framing, and
    whoever reads it would wait until the time is up."""
    content, connection = response.content, response.connection

    def lost(closed: asyncio.Future[None] | None) -> None:
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the connection ended within the answer"))

    protocol = connection.protocol if connection is not None else None
    closed = protocol.closed if protocol is not None else None
    if closed is None:
        lost(None)
        yield
        return
    # One for the life of the connection, so that its end is never an error that nobody looked at.
    closed.remove_done_callback(_seen)
    closed.add_done_callback(_seen)
    closed.add_done_callback(lost)
    try:
        yield
    finally:
        closed.remove_done_callback(lost)


def _seen(closed: asyncio.Future[None]) -> None:
    if not closed.cancelled():
        closed.exception()
