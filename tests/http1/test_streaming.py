"""Big bodies pass through a worker that stays small, at the pace of the slower side."""

from __future__ import annotations

import hashlib
import os
import threading
import time

import pytest

from tests.conftest import Start
from tests.support.gateway import Gateway, api, resident, wait_for
from tests.support.upstream import Connection, Seen, Upstream, head
from tests.support.wire import get

GB = 1 << 30
SIZE = int(os.environ.get("PREFORGE_TEST_BODY", 2 * GB))
PIECE = os.urandom(1 << 20)
ROOM = 64 << 20


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """One worker with default settings."""
    return start([api("root", "/", upstream.url)])


class Watch:
    """Samples the memory of the gateway's workers while a test runs."""

    def __init__(self, gateway: Gateway) -> None:
        self.pids = gateway.workers() or [gateway.pid]
        self.before = self.now()
        self.most = self.before
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def now(self) -> int:
        """PSS of all workers together, bytes."""
        return sum(resident(pid) for pid in self.pids)

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self.most = max(self.most, self.now())

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


def drain(connection: Connection, count: int) -> int:
    """Read and drop `count` bytes."""
    left = count
    while left:
        data = connection.receive(min(left, 1 << 18))
        left -= len(data)
    return count


@pytest.mark.timeout(240)
def test_big_upload_does_not_fill_the_worker(gateway: Gateway, upstream: Upstream) -> None:
    """2 GB (PREFORGE_TEST_BODY) to the upstream: every byte arrives, and the worker stays below 64 MB."""
    got = [0]

    def handler(connection: Connection, seen: Seen) -> bool:
        got[0] = drain(connection, int(seen.get("Content-Length") or 0))
        connection.send(head("200 OK", "Content-Length: 0"))
        return True

    upstream.on("/upload", handler)
    with Watch(gateway) as watch, gateway.connect() as client:
        client.sock.settimeout(120)
        client.send(f"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n".encode())
        for _ in range(SIZE // len(PIECE)):
            client.sock.sendall(PIECE)
        assert client.read().status == 200
    assert got[0] == SIZE
    assert watch.most < ROOM


@pytest.mark.timeout(240)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_big_download_does_not_fill_the_worker(gateway: Gateway, upstream: Upstream, chunked: bool) -> None:
    """The same the other way, to a client that reads as fast as it can."""
    size = SIZE // 4 if chunked else SIZE
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"

    def handler(connection: Connection, seen: Seen) -> bool:
        connection.send(head("200 OK", "Content-Type: a/b", framing))
        piece = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE
        for _ in range(size // len(PIECE)):
            connection.sock.sendall(piece)
        if chunked:
            connection.send(b"0\r\n\r\n")
        return True

    upstream.on("/download", handler)
    buffer = bytearray(1 << 20)
    with Watch(gateway) as watch, gateway.connect() as client:
        client.send(get("/download"))
        assert client.read_head().status == 200
        count = len(client.buffer)
        while count < size:
            read = client.sock.recv_into(buffer)
            assert read, f"the connection ended after {count} bytes"
            count += read
    assert watch.most < ROOM


def test_slow_reader_slows_the_upstream_down(gateway: Gateway, upstream: Upstream) -> None:
    """The worker stops reading from the upstream while the client does not read; then every byte arrives."""
    sent = [0]
    digest = hashlib.sha256()

    def handler(connection: Connection, seen: Seen) -> bool:
        connection.send(head("200 OK", "Content-Type: a/b", f"Content-Length: {128 << 20}"))
        for i in range(128):
            piece = bytes([i]) + PIECE[1:]
            connection.sock.sendall(piece)
            digest.update(piece)
            sent[0] += len(piece)
        return True

    upstream.on("/slow-reader", handler)
    with gateway.connect(receive_buffer=65536) as client:
        client.send(get("/slow-reader"))
        answer = client.read_head()
        settled(sent)
        assert sent[0] < 64 << 20
        client.sock.settimeout(60)
        body = hashlib.sha256(client.buffer)
        left = int(answer.get("Content-Length") or 0) - len(client.buffer)
        while left:
            data = client.sock.recv(min(left, 1 << 20))
            assert data
            body.update(data)
            left -= len(data)
    assert body.digest() == digest.digest()


def settled(value: list[int]) -> None:
    """Wait until a number that other threads increase stands still."""
    wait_for(lambda: value[0], "something was sent")
    last = -1
    while last != value[0]:
        last = value[0]
        time.sleep(0.4)


def test_slow_upstream_slows_the_client_down(gateway: Gateway, upstream: Upstream) -> None:
    """The worker stops reading from the client while the upstream does not read; then every byte arrives."""
    go_on = threading.Event()
    got = hashlib.sha256()

    def handler(connection: Connection, seen: Seen) -> bool:
        go_on.wait(30)
        left = int(seen.get("Content-Length") or 0)
        while left:
            data = connection.receive(min(left, 1 << 20))
            got.update(data)
            left -= len(data)
        connection.send(head("200 OK", "Content-Length: 0"))
        return True

    upstream.on("/slow-upstream", handler)
    sent = [0]
    digest = hashlib.sha256()

    with gateway.connect() as client:
        client.sock.settimeout(60)

        def feed() -> None:
            client.send(f"POST /slow-upstream HTTP/1.1\r\nHost: a\r\nContent-Length: {128 << 20}\r\n\r\n".encode())
            for i in range(128):
                piece = bytes([i]) + PIECE[1:]
                client.sock.sendall(piece)
                digest.update(piece)
                sent[0] += len(piece)

        thread = threading.Thread(target=feed, daemon=True)
        thread.start()
        settled(sent)
        assert sent[0] < 64 << 20
        go_on.set()
        thread.join(60)
        assert client.read().status == 200
    assert got.digest() == digest.digest()


def test_chunks_are_passed_on_when_they_come(gateway: Gateway, upstream: Upstream) -> None:
    """Server-sent events: the first event must not wait for the second."""
    seen_first = threading.Event()

    def handler(connection: Connection, seen: Seen) -> bool:
        connection.send(head("200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked"))
        connection.send(b"9\r\ndata: 1\n\n\r\n")
        assert seen_first.wait(15)
        connection.send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        return True

    upstream.on("/events", handler)
    with gateway.connect() as client:
        client.send(get("/events"))
        answer = client.read_head()
        assert answer.get("Content-Type") == "text/event-stream"
        assert client.exactly(14) == b"9\r\ndata: 1\n\n\r\n"
        seen_first.set()
        assert client.exactly(19) == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"


def test_request_chunks_are_passed_on_when_they_come(gateway: Gateway, upstream: Upstream) -> None:
    """The upstream can answer the first part before the second is sent."""

    def handler(connection: Connection, seen: Seen) -> bool:
        assert connection.exactly(10) == b"5\r\nfirst\r\n"
        connection.send(head("200 OK", "Content-Type: a/b", "Transfer-Encoding: chunked") + b"3\r\none\r\n")
        assert connection.exactly(16) == b"6\r\nsecond\r\n0\r\n\r\n"
        connection.send(b"3\r\ntwo\r\n0\r\n\r\n")
        return True

    upstream.on("/dialogue", handler)
    with gateway.connect() as client:
        client.send(b"POST /dialogue HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        answer = client.read_head()
        assert client.exactly(8) == b"3\r\none\r\n"
        client.send(b"6\r\nsecond\r\n0\r\n\r\n")
        assert client.exactly(13) == b"3\r\ntwo\r\n0\r\n\r\n"
    assert answer.status == 200
