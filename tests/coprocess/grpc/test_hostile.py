"""A server that breaks the protocol: its connection ends with the right error, its calls end once, the next one works."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from coprocess.driver import Reply
from tests.coprocess.grpc.model import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEAD,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    Peer,
    frame,
    literal,
    response,
    scripted,
    settings,
    trailers,
)  # fmt: skip
from tests.coprocess.grpc.rig import ask, drive, driving, tell, until

PROTOCOL, FLOW, SIZE, COMPRESSION, CALM = 1, 3, 6, 9, 11
WINDOW = (1 << 31) - 1

# name -> (bytes that the server sends in place of the reply on stream 1, code of the GOAWAY that it gets)
FAULTS = {
    "a frame over the limit": (frame(DATA, 0, 1, b"x" * 16385), SIZE),
    "DATA without a stream": (frame(DATA, 0, 0, b"x"), PROTOCOL),
    "DATA of a stream that was never opened": (frame(DATA, 0, 99, b"x"), PROTOCOL),
    "DATA of a stream of the server's": (frame(DATA, 0, 2, b"x"), PROTOCOL),
    "padding longer than its frame": (frame(DATA, PADDED, 1, b"\x05abc"), PROTOCOL),
    "padding without a length": (frame(DATA, PADDED, 1), SIZE),
    "HEADERS without a stream": (frame(HEADERS, END_HEADERS, 0, HEAD), PROTOCOL),
    "HEADERS of a stream that was never opened": (frame(HEADERS, END_HEADERS, 5, HEAD), PROTOCOL),
    "HEADERS with too much padding": (frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff\x88"), PROTOCOL),
    "HEADERS without their priority": (frame(HEADERS, END_HEADERS | 0x20, 1, b"\0\0"), SIZE),
    "a block that cannot be read": (frame(HEADERS, END_HEADERS, 1, b"\xff"), COMPRESSION),
    "a reference to a dynamic table": (frame(HEADERS, END_HEADERS, 1, b"\xbe"), COMPRESSION),
    "a block that is interrupted": (frame(HEADERS, 0, 1, HEAD) + frame(PING, 0, 0, b"x" * 8), PROTOCOL),
    "a block that goes on elsewhere": (frame(HEADERS, 0, 1, HEAD) + frame(CONTINUATION, END_HEADERS, 3), PROTOCOL),
    "CONTINUATION out of nowhere": (frame(CONTINUATION, END_HEADERS, 1, HEAD), PROTOCOL),
    "a block without an end": (frame(HEADERS, 0, 1, HEAD) + frame(CONTINUATION, 0, 1) * 100, CALM),
    "a block that is too large": (frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1, b"\x88" * 16384) * 3, CALM),
    "PUSH_PROMISE": (frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + HEAD), PROTOCOL),
    "PING of a stream": (frame(PING, 0, 1, b"x" * 8), PROTOCOL),
    "PING of 7 bytes": (frame(PING, 0, 0, b"x" * 7), SIZE),
    "SETTINGS of a stream": (frame(SETTINGS, 0, 1), PROTOCOL),
    "SETTINGS of 5 bytes": (frame(SETTINGS, 0, 0, b"x" * 5), SIZE),
    "an acknowledgement with SETTINGS": (frame(SETTINGS, ACK, 0, b"x" * 6), SIZE),
    "SETTINGS that allow pushes": (settings(push=1), PROTOCOL),
    "SETTINGS with a huge window": (settings(window=1 << 31), FLOW),
    "SETTINGS with a small frame": (settings(frame=16383), PROTOCOL),
    "SETTINGS with a huge frame": (settings(frame=1 << 24), PROTOCOL),
    "GOAWAY of a stream": (frame(GOAWAY, 0, 1, b"\0" * 8), PROTOCOL),
    "GOAWAY of 7 bytes": (frame(GOAWAY, 0, 0, b"\0" * 7), SIZE),
    "RST_STREAM without a stream": (frame(RST_STREAM, 0, 0, b"\0" * 4), PROTOCOL),
    "RST_STREAM of 3 bytes": (frame(RST_STREAM, 0, 1, b"\0" * 3), SIZE),
    "RST_STREAM of a stream that was never opened": (frame(RST_STREAM, 0, 7, b"\0" * 4), PROTOCOL),
    "PRIORITY of 4 bytes": (frame(PRIORITY, 0, 1, b"\0" * 4), SIZE),
    "PRIORITY without a stream": (frame(PRIORITY, 0, 0, b"\0" * 5), PROTOCOL),
    "WINDOW_UPDATE of 3 bytes": (frame(WINDOW_UPDATE, 0, 0, b"\0" * 3), SIZE),
    "WINDOW_UPDATE by nothing": (frame(WINDOW_UPDATE, 0, 0, b"\0" * 4), PROTOCOL),
    "a window that overflows": (frame(WINDOW_UPDATE, 0, 0, WINDOW.to_bytes(4, "big")), FLOW),
    "WINDOW_UPDATE of a stream that was never opened": (frame(WINDOW_UPDATE, 0, 9, b"\0\0\0\1"), PROTOCOL),
    "a response to a call that is yet to come": (response(3, b"guessed"), PROTOCOL),
    "a flood of PINGs": (frame(PING, ACK, 0, b"x" * 8) * 10001, CALM),
    "a flood of empty DATA": (frame(HEADERS, END_HEADERS, 1, HEAD) + frame(DATA, 0, 1) * 10001, CALM),
    "a flood of SETTINGS": (frame(SETTINGS) * 10001, CALM),
    "a flood of unknown frames": (frame(77) * 10001, CALM),
}


@pytest.mark.parametrize(("sent", "code"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_ends_the_connection_with_its_error(sent: bytes, code: int) -> None:
    goodbyes: list[Frame] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, _, body = await peer.request()
        if body[5:] == b"next":
            peer.send(response(stream, b"fine"))
            await peer.rest()
        else:
            peer.send(sent)
            goodbyes.extend(f for f in await peer.rest() if f.kind == GOAWAY)

    async def main() -> tuple[Reply, Reply]:
        async with scripted(script) as server, driving(server.target) as driver:
            first = await tell(driver)
            await until(lambda: driver.state().status == "up")
            second = await tell(driver, b"next")
            assert driver.counts()["protocol_errors"] == 1
            return first, second

    first, second = drive(main())
    assert first.outcome == "error"
    assert (second.outcome, second.message) == ("ok", b"fine")
    assert [int.from_bytes(f.payload[4:8], "big") for f in goodbyes] == [code]


def body(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


OPEN = frame(HEADERS, END_HEADERS, 1, HEAD)
END = frame(HEADERS, END_HEADERS | END_STREAM, 1, trailers())
SPLIT = frame(HEADERS, END_STREAM, 1, HEAD[:3])

# name -> (bytes that the server sends on stream 1, outcome): only the call is at its end
WRONG = {
    "a body before its fields": (frame(DATA, 0, 1, body(b"x")), "error"),
    "no status": (frame(HEADERS, END_HEADERS, 1, literal(b"content-type", b"application/grpc")), "error"),
    "two statuses": (frame(HEADERS, END_HEADERS, 1, b"\x88\x88"), "error"),
    "a pseudo field behind a field": (frame(HEADERS, END_HEADERS, 1, literal(b"a", b"b") + b"\x88"), "error"),
    "a pseudo field of requests": (frame(HEADERS, END_HEADERS, 1, b"\x88\x82"), "error"),
    "a name in upper case": (frame(HEADERS, END_HEADERS, 1, HEAD + literal(b"A", b"b")), "error"),
    "a name with a space": (frame(HEADERS, END_HEADERS, 1, HEAD + literal(b"a b", b"b")), "error"),
    "a field without a name": (frame(HEADERS, END_HEADERS, 1, HEAD + literal(b"", b"b")), "error"),
    "a value with a line break": (frame(HEADERS, END_HEADERS, 1, HEAD + literal(b"a", b"b\nc")), "error"),
    "a field of HTTP/1": (frame(HEADERS, END_HEADERS, 1, HEAD + literal(b"connection", b"close")), "error"),
    "more fields than announced": (frame(HEADERS, END_HEADERS, 1, b"\x88" * 500), "error"),
    "another content type": (frame(HEADERS, END_HEADERS, 1, b"\x88" + literal(b"content-type", b"text/html")), "error"),
    "HTTP status 404": (frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x8d"), "error"),
    "HTTP status 503": (frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(b":status", b"503")), "away"),
    "the end without a status": (OPEN + frame(DATA, END_STREAM, 1, body(b"x")), "error"),
    "trailers without a status": (OPEN + frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(b"a", b"b")), "error"),
    "fields in the middle": (OPEN + frame(HEADERS, END_HEADERS, 1, trailers()), "error"),
    "a status in trailers": (OPEN + frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x88" + trailers()), "error"),
    "success without a reply": (OPEN + END, "error"),
    "half a reply": (OPEN + frame(DATA, 0, 1, body(b"abcdef")[:-1]) + END, "error"),
    "half a prefix": (OPEN + frame(DATA, 0, 1, b"\0\0") + END, "error"),
    "two replies": (OPEN + frame(DATA, 0, 1, body(b"a") + body(b"b")), "error"),
    "a byte behind the reply": (OPEN + frame(DATA, 0, 1, body(b"a")) + frame(DATA, 0, 1, b"x"), "error"),
    "a compressed reply": (OPEN + frame(DATA, 0, 1, b"\1\0\0\0\1x"), "error"),
    "a reply over the limit": (OPEN + frame(DATA, 0, 1, b"\0\x00\x10\x00\x01"), "too_large"),
    "a window that grows by nothing": (frame(WINDOW_UPDATE, 0, 1, b"\0" * 4), "error"),
    "a window that is too large": (frame(WINDOW_UPDATE, 0, 1, WINDOW.to_bytes(4, "big")), "error"),
    "RST_STREAM": (frame(RST_STREAM, 0, 1, b"\0\0\0\2"), "error"),
    "an unknown status": (frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD + trailers(b"99")), "error"),
    "a status that is no number": (frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD + trailers(b"fine")), "error"),
    "the plugin's deadline": (frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD + trailers(b"4")), "timeout"),
    "a plugin behind a proxy is away": (frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD + trailers(b"14")), "away"),
}  # fmt: skip

# name -> bytes on stream 1 that are unusual and fine; the reply is "fine"
UNUSUAL = {
    "a piece at a time": OPEN + b"".join(frame(DATA, 0, 1, bytes([b])) for b in body(b"fine")) + END,
    "padded": OPEN + frame(DATA, PADDED, 1, b"\x03" + body(b"fine") + b"\0" * 3) + END,
    "padded with nothing": OPEN + frame(DATA, PADDED, 1, b"\0" + body(b"fine")) + END,
    "an empty frame between": OPEN + frame(DATA, 0, 1) + frame(DATA, 0, 1, body(b"fine")) + frame(DATA, PADDED, 1, b"\0") + END,
    "fields in pieces": (
        frame(HEADERS, 0, 1, HEAD[:2]) + frame(CONTINUATION, 0, 1, HEAD[2:9]) + frame(CONTINUATION, END_HEADERS, 1, HEAD[9:])
        + frame(DATA, 0, 1, body(b"fine")) + frame(HEADERS, END_STREAM, 1, trailers()[:4])
        + frame(CONTINUATION, END_HEADERS, 1, trailers()[4:])
    ),
    "fields padded and with a priority": (
        frame(HEADERS, END_HEADERS | PADDED | 0x20, 1, b"\x02\0\0\0\0\x10" + HEAD + b"\0\0") + response(1, b"fine")[len(OPEN) :]
    ),
    "huffman": (
        frame(HEADERS, END_HEADERS, 1, literal(b":status", b"200", coded=True)
              + literal(b"content-type", b"application/grpc+proto", coded=True, flags=0x40))
        + frame(DATA, 0, 1, body(b"fine"))
        + frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(b"grpc-status", b"0", coded=True, flags=0x10))
    ),
    "an informational response first": frame(HEADERS, END_HEADERS, 1, literal(b":status", b"103")) + response(1, b"fine"),
    "unknown frames, settings and flags": (
        frame(99, 255, 1, b"abc") + frame(SETTINGS, 0, 0, b"\x77\x77\0\0\0\1") + frame(PRIORITY, 0, 3, b"\0" * 5)
        + response(1, b"fine")
    ),
    "the reserved bit": OPEN[:5] + b"\x80" + OPEN[6:] + response(1, b"fine")[len(OPEN) :],
    "table sizes": frame(HEADERS, END_HEADERS, 1, b"\x20" + HEAD) + response(1, b"fine")[len(OPEN) :],
    "frames of a stream that is over": response(1, b"fine") + response(1, b"late") + frame(RST_STREAM, 0, 1, b"\0" * 4),
}  # fmt: skip


async def one_answer(sent: bytes) -> tuple[Reply, Reply, int]:
    """(reply to the call that gets these bytes, reply to the call after it, connections that were needed)."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.request()
        peer.send(sent)
        while True:
            stream, _, _ = await peer.request()
            peer.send(response(stream, b"next"))

    async with scripted(script) as server, driving(server.target, recv_max_size=1 << 20) as driver:
        first = await tell(driver)
        return first, await tell(driver), server.connections


@pytest.mark.parametrize(("sent", "outcome"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_response_ends_its_call_alone(sent: bytes, outcome: str) -> None:
    first, second, connections = drive(one_answer(sent))
    assert (first.outcome, first.message) == (outcome, b"")
    assert first.detail
    assert (second.outcome, second.message, connections) == ("ok", b"next", 1)


@pytest.mark.parametrize("sent", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_an_unusual_response_is_read(sent: bytes) -> None:
    first, second, connections = drive(one_answer(sent))
    assert (first.outcome, first.message) == ("ok", b"fine"), first
    assert (second.outcome, second.message, connections) == ("ok", b"next", 1)


GREETINGS = {
    "silence": b"",
    "garbage": b"\x00\xff" * 400,
    "half a frame": settings(window=1000)[:7],
    "HTTP/1": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "another frame first": frame(PING, 0, 0, b"x" * 8) + settings(),
    "an acknowledgement first": frame(SETTINGS, ACK) + settings(),
    "a TLS alert": bytes.fromhex("15030300020246"),
}


@pytest.mark.parametrize("sent", GREETINGS.values(), ids=GREETINGS.keys())
def test_a_server_that_does_not_greet_is_away(sent: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.preface()
        peer.send(sent)
        await peer.rest()

    async def main() -> Reply:
        async with scripted(script) as server, driving(server.target, up=False, connect_timeout=0.2) as driver:
            reply = await tell(driver)
            assert driver.state().status == "down"
            assert driver.state().detail
            assert driver.counts()["connect_failures"] >= 1
            return reply

    assert drive(main()).outcome == "away"


def test_what_a_server_says_is_logged_without_control_characters() -> None:
    said = b"no%0Asuch%C3%A9 %zz\x1b[31m" + b"x" * 3000
    reply, *_ = drive(one_answer(frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD + trailers(b"5", said))))
    assert reply.outcome == "error"
    assert reply.detail.startswith("NOT_FOUND: no suché %zz [31mxxx")
    assert len(reply.detail) < 1100


WHOLE = response(1, b"fine" * 20)


@given(st.lists(st.integers(1, len(WHOLE) - 1), max_size=12))
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.request()
        for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(WHOLE)], strict=True):
            peer.send(WHOLE[begin:end])
            await asyncio.sleep(0)
        await peer.rest()

    async def main() -> Reply:
        async with scripted(script) as server, driving(server.target) as driver:
            return await tell(driver)

    assert drive(main()) == Reply("ok", b"fine" * 20)


FRAMES = st.lists(
    st.one_of(
        st.just(response(1, b"a")), st.just(response(3, b"b" * 20000)), st.just(OPEN), st.just(END),
        st.builds(
            frame, st.integers(0, 10), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 5, 7]), st.binary(max_size=40)
        ),
        st.binary(max_size=12),
    ),
    max_size=8,
).map(b"".join)  # fmt: skip


@given(FRAMES, st.data())
@hypothesis_settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_a_server_sends_every_call_ends_once(sent: bytes, data: st.DataObject) -> None:
    if sent and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(sent) - 1))
        sent = sent[:at] + bytes([data.draw(st.integers(0, 255))]) + sent[at + 1 :]

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.find(HEADERS)
        peer.send(sent)
        peer.writer.close()

    async def main() -> list[Reply]:
        async with scripted(script) as server, driving(server.target) as driver:
            calls = [ask(driver, b"m" * size, 0.5) for size in (3, 70000)]
            replies = [await call.reply() for call in calls]
            counts = driver.counts()
            assert counts["in_flight"] == counts["waiting"] == 0
            return replies

    for reply in drive(main()):
        assert reply.outcome in {"ok", "error", "away", "timeout", "too_large"}
        assert (reply.outcome == "ok") or reply.detail
