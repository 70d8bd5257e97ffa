"""Bundle servers that are slow, dead, wrong or hostile."""

from __future__ import annotations

import base64
import contextlib
import os
import resource
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from coprocess.bundles import BundleError, BundleSettings, Library, load
from coprocess.bundles.address import locate
from coprocess.bundles.fetch import Budget, Unreachable, fetch
from tests.bundles.archives import bundle
from tests.bundles.server import BundleServer, reply
from tests.support.tls import Authority


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BundleSettings:
    """Short times and no pauses: what is tested is that bounds hold."""
    monkeypatch.setattr("coprocess.bundles.fetch._FIRST_PAUSE", 0.001)
    return BundleSettings(middleware_path=str(tmp_path / "mw"), enable_downloader=True, timeout=5.0, retries=2)


@pytest.mark.parametrize(
    ("base", "name", "expected"),
    [
        ("http://h", "a.zip", "http://h:80/a.zip"),
        ("http://h:81/x//y/", "t/a.zip", "http://h:81/x/y/t/a.zip"),
        ("https://h/x?sig=1", "a b.zip", "https://h:443/x/a%20b.zip"),
        ("HTTP://h/", "a?b#c%.zip", "http://h:80/a%3Fb%23c%25.zip"),
        ("http://[::1]:81/", "é.zip", "http://[::1]:81/%C3%A9.zip"),
        ("file:///srv/b", "a.zip", "/srv/b/a.zip"),
        ("file:///srv/b%20c/", "a.zip", "/srv/b c/a.zip"),
        ("shelf/", "a.zip", "shelf/a.zip"),
    ],
)
def test_addresses_are_joined(base: str, name: str, expected: str) -> None:
    assert str(locate(base, name)) == expected


@pytest.mark.parametrize("base", ["ftp://h/", "http://", "http://h:99999/", "http://[::1/", "http://h/ x"])
def test_wrong_addresses_are_named(base: str) -> None:
    with pytest.raises(BundleError, match="bundle_base_url: "):
        locate(base, "a.zip")


def test_a_query_and_credentials_of_the_base_are_sent_and_never_shown(settings: BundleSettings) -> None:
    with BundleServer() as server:
        server.put("/b/a.zip", reply(bundle()))
        base = server.url.replace("http://", "http://user:p%40ss@") + "b?token=hidden"
        assert load("a.zip", replace(settings, base_url=base)).files
        head = server.requests[0]
        assert head.startswith("GET /b/a.zip?token=hidden HTTP/1.1\r\n")
        assert f"Authorization: Basic {base64.b64encode(b'user:p@ss').decode()}" in head
        with pytest.raises(BundleError) as caught:
            load("gone.zip", replace(settings, base_url=base))
    message = str(caught.value)
    assert "404" in message
    assert not any(secret in message for secret in ("hidden", "p%40ss", "p@ss", "user"))


@pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "429 Slow Down"])
def test_answers_that_may_pass_are_asked_for_again(settings: BundleSettings, status: str) -> None:
    with BundleServer() as server:
        server.put("/a.zip", reply(b"", status), reply(b"", status), reply(bundle()))
        assert load("a.zip", replace(settings, base_url=server.url)).files
        assert len(server.requests) == 3


def test_attempts_end_and_the_message_says_what_the_last_one_met(settings: BundleSettings) -> None:
    with BundleServer() as server:
        server.put("/a.zip", reply(b"", "503 Busy"))
        with pytest.raises(BundleError, match=r"/a\.zip: cannot be fetched: the answer was 503, expected 200 \(3 attempts\)"):
            load("a.zip", replace(settings, base_url=server.url))
        assert len(server.requests) == 3


@pytest.mark.parametrize("status", ["404 Not Found", "401 Unauthorized", "206 Partial Content", "204 No Content"])
def test_answers_that_settle_the_matter_are_not_asked_for_again(settings: BundleSettings, status: str) -> None:
    with BundleServer() as server:
        server.put("/a.zip", reply(b"", status))
        with pytest.raises(BundleError, match=f"the answer was {status[:3]}"):
            load("a.zip", replace(settings, base_url=server.url))
        assert len(server.requests) == 1


def test_a_server_that_was_dead_is_not_asked_again_in_the_same_load(settings: BundleSettings) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    library = Library(replace(settings, base_url=f"http://127.0.0.1:{port}/"))
    with pytest.raises(BundleError, match="refused"):
        library.load("a.zip")
    for number in range(50):
        with pytest.raises(BundleError, match="did not answer before during this load"):
            library.load(f"{number}.zip")


def test_a_server_that_refuses_one_archive_is_asked_for_others(settings: BundleSettings) -> None:
    """But not again and again, because all of them share the time."""
    with BundleServer() as server:
        server.put("/a.zip", reply(b"", "503 Service Unavailable"))
        server.put("/b.zip", reply(bundle()))
        server.put("/c.zip", reply(b"", "500 Internal Server Error"))
        library = Library(replace(settings, base_url=server.url, retries=2))
        with pytest.raises(BundleError, match=r"the answer was 503, expected 200 \(3 attempts\)"):
            library.load("a.zip")
        assert library.load("b.zip").files
        with pytest.raises(BundleError, match=r"the answer was 500, expected 200 \(1 attempt\)"):
            library.load("c.zip")
        assert server.paths() == ["/a.zip"] * 3 + ["/b.zip", "/c.zip"]


def silent(client: socket.socket) -> None:
    """Say nothing until the other side gives up."""
    with contextlib.suppress(OSError):
        client.recv(1)


def drip(client: socket.socket) -> None:
    """An answer that never ends, one byte of its head at a time: every read succeeds."""
    pause = threading.Event()
    with contextlib.suppress(OSError):
        client.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not pause.wait(0.01):
            client.sendall(b"x")


def drip_body(client: socket.socket) -> None:
    """The same with a body, and without a length: the end of the connection would be its end."""
    pause = threading.Event()
    with contextlib.suppress(OSError):
        client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not pause.wait(0.01):
            client.sendall(b"x")


@pytest.mark.parametrize("answer", [silent, drip, drip_body])
@pytest.mark.parametrize("tls", [False, True])
def test_a_server_that_never_finishes_costs_its_time_and_no_thread_stays(
    settings: BundleSettings, tmp_path: Path, answer: object, tls: bool
) -> None:
    authority = Authority(tmp_path / "ca") if tls else None
    with BundleServer(authority.server("localhost") if authority else None) as server:
        server.put("/a.zip", answer)  # type: ignore[arg-type]
        seconds = 1.5 if tls else 0.3  # a handshake takes its time on a busy machine
        short = replace(settings, base_url=server.url, timeout=seconds, retries=1, insecure_skip_verify=True)
        with pytest.raises(BundleError, match=rf"no complete answer within {seconds} s \(2 attempts\)"):
            load("a.zip", short)
        assert len(server.requests) == 2
    for thread in threading.enumerate():
        if thread.name == "bundle-download":
            thread.join(10)
    assert not [thread for thread in threading.enumerate() if thread.name == "bundle-download"]


def test_all_downloads_of_a_load_share_one_time(settings: BundleSettings) -> None:
    with BundleServer() as server:
        server.put("/a.zip", silent)
        library = Library(replace(settings, base_url=server.url, load_timeout=0.3, retries=100))
        with pytest.raises(BundleError, match="load_timeout"):
            library.load("a.zip")
        with pytest.raises(BundleError):
            library.load("b.zip")
        assert set(server.paths()) == {"/a.zip"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\xff garbage \r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        reply(b"half", length=100),
    ],
)
def test_answers_that_are_no_http_or_end_early_are_failures(settings: BundleSettings, raw: bytes) -> None:
    with BundleServer() as server:
        server.put("/a.zip", raw)
        with pytest.raises(BundleError, match="cannot be fetched"):
            load("a.zip", replace(settings, base_url=server.url))
        assert len(server.requests) == 3


def endless(client: socket.socket) -> None:
    """More bytes than any limit, without a length."""
    with contextlib.suppress(OSError):
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            client.sendall(bytes(65536))


def test_an_archive_over_the_limit_is_refused_by_length_and_by_bytes(settings: BundleSettings, tmp_path: Path) -> None:
    small = replace(settings, max_bytes=1000)
    with BundleServer() as server:
        server.put("/length.zip", reply(b"", length=10**15))
        server.put("/bytes.zip", endless)
        for name in ("length.zip", "bytes.zip"):
            with pytest.raises(BundleError, match="max_bytes"):
                load(name, replace(small, base_url=server.url))
        assert len(server.requests) == 2
    (tmp_path / "large.zip").write_bytes(bytes(1001))
    with pytest.raises(BundleError, match="max_bytes"):
        load("large.zip", replace(small, base_url=str(tmp_path)))


def test_an_archive_of_exactly_the_limit_is_taken(settings: BundleSettings) -> None:
    raw = bundle()
    with BundleServer() as server:
        server.put("/a.zip", reply(raw))
        assert load("a.zip", replace(settings, base_url=server.url, max_bytes=len(raw))).files


def test_chunked_answers_are_read(settings: BundleSettings) -> None:
    raw = bundle()
    body = b"%x\r\n" % len(raw) + raw + b"\r\n0\r\n\r\n"
    with BundleServer() as server:
        server.put("/a.zip", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        assert load("a.zip", replace(settings, base_url=server.url)).files


def test_redirects_stay_on_the_host_and_end(settings: BundleSettings) -> None:
    with BundleServer() as server, BundleServer() as other:
        settings = replace(settings, base_url=server.url)
        server.put("/a.zip", reply(b"", "302 Found", "Location: /moved/a.zip"))
        server.put("/moved/a.zip", reply(bundle()))
        assert load("a.zip", settings).files
        server.put("/port.zip", reply(b"", "302 Found", f"Location: {other.url}port.zip"))
        other.put("/port.zip", reply(bundle()))
        assert load("port.zip", settings).files
        for name, location in (
            ("off.zip", f"http://127.0.0.1:{other.port}/off.zip"),
            ("file.zip", "file:///etc/passwd"),
            ("none.zip", "http://"),
        ):
            server.put(f"/{name}", reply(b"", "302 Found", f"Location: {location}"))
            with pytest.raises(BundleError, match="redirect"):
                load(name, settings)
        server.put("/loop.zip", reply(b"", "301 Moved", "Location: /loop.zip"))
        with pytest.raises(BundleError, match="more than 5 redirects"):
            load("loop.zip", settings)
        assert other.paths() == ["/port.zip"]


def test_credentials_follow_a_redirect_to_the_same_server_only(settings: BundleSettings) -> None:
    with BundleServer() as server, BundleServer() as other:
        settings = replace(settings, base_url=server.url.replace("http://", "http://u:p@"))
        server.put("/a.zip", reply(b"", "302 Found", "Location: /moved.zip"))
        server.put("/moved.zip", reply(b"", "302 Found", f"Location: {other.url}a.zip"))
        other.put("/a.zip", reply(bundle()))
        assert load("a.zip", settings).files
        assert ["Authorization: Basic" in head for head in server.requests] == [True, True]
        assert "Authorization" not in other.requests[0]


def test_tls_certificates_are_verified_unless_that_is_turned_off(
    settings: BundleSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path / "ca")
    with BundleServer(authority.server("localhost")) as server:
        server.put("/a.zip", reply(bundle()))
        settings = replace(settings, base_url=server.url)
        with pytest.raises(BundleError, match="certificate is not accepted"):
            load("a.zip", settings)
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
        with pytest.raises(BundleError, match="certificate is not accepted"):
            load("a.zip", replace(settings, base_url=server.url.replace("localhost", "127.0.0.1")))
        assert load("a.zip", settings).files
    with BundleServer(Authority(tmp_path / "other").server("localhost")) as server:
        server.put("/b.zip", reply(bundle()))
        assert load("b.zip", replace(settings, base_url=server.url, insecure_skip_verify=True)).files


def test_https_never_becomes_http(settings: BundleSettings, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with BundleServer() as plain, BundleServer(authority.server("localhost")) as server:
        plain.put("/a.zip", reply(bundle()))
        server.put("/a.zip", reply(b"", "302 Found", f"Location: {plain.url}a.zip"))
        with pytest.raises(BundleError, match="redirects to http://"):
            load("a.zip", replace(settings, base_url=server.url, insecure_skip_verify=True))
        assert plain.requests == []


def test_paths_that_are_no_files_are_named_and_do_not_block(settings: BundleSettings, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "folder.zip").mkdir()
    for name in ("pipe.zip", "folder.zip"):
        with pytest.raises(BundleError, match=f"{name}: expected a regular file"):
            load(name, replace(settings, base_url=str(tmp_path)))
    with pytest.raises(BundleError, match=r"gone\.zip: cannot be read"):
        load("gone.zip", replace(settings, base_url=str(tmp_path)))


def test_no_time_left_means_no_request(settings: BundleSettings) -> None:
    with BundleServer() as server:
        with pytest.raises(Unreachable, match="load_timeout"):
            fetch(locate(server.url, "a.zip"), settings, Budget(0))
        assert server.requests == []


@pytest.mark.parametrize("served", [False, True])
def test_no_room_for_the_archive_is_not_the_servers_fault(settings: BundleSettings, tmp_path: Path, served: bool) -> None:
    """Said as it is, and not asked for again. The limit on the size of files stands for a full disk."""
    raw = bundle({"mw.js": os.urandom(2 << 20)})
    (tmp_path / "a.zip").write_bytes(raw)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with BundleServer() as server:
        server.put("/a.zip", reply(raw))
        there = replace(settings, base_url=server.url if served else str(tmp_path))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        try:
            with pytest.raises(BundleError, match=r"no room for it in .*: File too large"):
                load("a.zip", there)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert len(server.requests) == served
    assert list((tmp_path / "mw" / "bundles").iterdir()) == []
