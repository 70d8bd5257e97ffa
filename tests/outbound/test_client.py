"""The client over real sockets: hosts that hang up, lie, lead away or try to get inside."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ipaddress
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from core.outbound.client import Client, ClientSettings, Manner
from core.outbound.messages import Answer, OutboundError, Outgoing
from core.outbound.networks import Network
from core.outbound.proxies import Proxies
from core.outbound.urls import parse
from tests.support.gateway import free_port
from tests.support.tls import Authority
from tests.support.upstream import (
    Connection,
    Seen,
    Upstream,
    abort,
    cut,
    echo,
    head,
    reply,
    sequence,
    silent,
)

MOST = 100_000
PLAIN = Manner(MOST)
FOLLOW = Manner(MOST, follow=True)
PACKED = Manner(MOST, inflate=True)
OK = reply(head("200 OK", "Content-Length: 2"), b"ok")


@pytest.fixture
def server() -> Iterator[Upstream]:
    with Upstream() as found:
        yield found


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def run(
    use: Callable[[Client], Awaitable[Any]], *blocked: str, environ: dict[str, str] | None = None,
    runner: Callable[[Any], Any] = uvloop.run,
) -> Any:  # fmt: skip
    """What `use` returns, with a client of its own."""

    async def body() -> Any:
        proxies = None if environ is None else Proxies(environ)
        client = Client(ClientSettings(networks(*blocked), "the.option", proxies))
        try:
            async with asyncio.timeout(30):
                return await use(client)
        finally:
            await client.close()

    return runner(body())


def get(url: str, manner: Manner = PLAIN, **more: Any) -> Callable[[Client], Awaitable[Answer]]:
    return lambda client: client.send(Outgoing(more.pop("method", "GET"), parse(url), **more), manner)


def refused(use: Callable[[Client], Awaitable[Any]], match: str, *blocked: str, **more: Any) -> str:
    """The reason of the error that must come."""
    with pytest.raises(OutboundError, match=match) as error:
        run(use, *blocked, **more)
    return error.value.reason


def redirect(status: int, location: str) -> Any:
    return reply(head(f"{status} Moved", f"Location: {location}", "Content-Length: 4"), b"away")


def test_a_gateway_that_sends_nothing_loads_the_client() -> None:
    code = "import sys, core.scripts.host, core.events.sender, core.outbound.proxies; print('aiohttp' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_a_request_changes_on_its_way(server: Upstream) -> None:
    headers = (("x-lower", "é"), ("X", "1"), ("X", "2"))
    answer = run(get(f"{server.url}/a%2Fb?x=%41", method="patch", headers=headers, body=b"\xff"))
    seen = server.requests[0]
    assert (seen.method, seen.target, seen.body) == ("patch", "/a%2Fb?x=%41", b"\xff")
    assert [name for name, _ in seen.headers] == ["Host", "x-lower", "X", "X", "Content-Length"]
    assert seen.get("Host") == f"127.0.0.1:{server.port}"
    assert (answer.status, answer.url) == (200, f"{server.url}/a%2Fb?x=%41")


@pytest.mark.parametrize(
    "header",
    [("X", "a\r\nY: b"), ("X", "a\nb"), ("X", "a\rb"), ("X", "a\0b"), ("X", "\x7f"), ("X\r\nY", "b"), ("X:", "b"), ("", "b"),
     ("X ", "b"), ("é", "b"), ("X", "\udcff")],
)  # fmt: skip
def test_a_header_ends_its_line(server: Upstream, header: tuple[str, str]) -> None:
    refused(get(server.url, headers=(header,)), "header")
    assert server.requests == []


@pytest.mark.parametrize("method", ["GET / HTTP/1.1\r\nX: y\r\n", "", "A B", "É", "CONNECT", "connect"])
def test_a_method_ends_its_line(server: Upstream, method: str) -> None:
    refused(get(server.url, method=method), "method")
    assert server.requests == []


def test_headers_of_the_connection_break_it(server: Upstream) -> None:
    names = ("Content-Length", "Transfer-Encoding", "connection", "Upgrade", "TE", "Trailer", "Expect", "Keep-Alive")
    headers = tuple((name, "100-continue" if name == "Expect" else "7") for name in names)
    answer = run(get(server.url, method="POST", headers=headers, body=b"abc"))
    assert answer.status == 200
    assert server.requests[0].body == b"abc"
    assert [name for name, _ in server.requests[0].headers] == ["Host", "Content-Length"]


def test_credentials_of_the_url_are_lost_or_shown(server: Upstream) -> None:
    url = server.url.replace("//", "//user:pass@") + "/x"
    assert run(get(url)).url == f"{server.url}/x"
    run(get(url, headers=(("authorization", "mine"),)))
    assert [seen.get("Authorization") for seen in server.requests] == ["Basic dXNlcjpwYXNz", "mine"]
    assert [seen.get("Host") for seen in server.requests] == [f"127.0.0.1:{server.port}"] * 2


@pytest.mark.parametrize(
    ("handler", "match"),
    [
        (cut, "disconnected"),
        (abort, "."),
        (reply(b"garbage\r\n\r\n", keep=False), "."),
        (reply(head("200 OK", "Content-Length: 10"), b"short", keep=False), "."),
        (reply(head("200 OK", "Transfer-Encoding: chunked"), b"5\r\nshort", keep=False), "."),
        (reply(head("200 OK", "Transfer-Encoding: chunked"), b"zz\r\n", keep=False), "."),
        (reply(head("200 OK", "Content-Length: 1", "Content-Length: 2"), b"xy", keep=False), "."),
        (reply(head("200 OK", "X: " + "y" * 70_000, "Content-Length: 0"), keep=False), "."),
        (reply(head("101 Switching Protocols", "Upgrade: x", "Connection: upgrade"), keep=False), "101"),
    ],
)
def test_a_broken_answer_passes_for_a_whole_one(server: Upstream, handler: Any, match: str) -> None:
    server.on("/x", handler)
    assert refused(get(f"{server.url}/x", method="POST"), match) == "failed"


def test_a_dead_host_is_waited_for() -> None:
    assert refused(get(f"http://127.0.0.1:{free_port()}/"), "Cannot connect") == "failed"
    assert refused(get("http://no-such-name.invalid/"), "Cannot connect") == "failed"


def test_a_body_without_an_end_fills_the_memory(server: Upstream) -> None:
    def endless(connection: Connection, seen: Seen) -> bool:
        connection.read_body(seen)
        connection.send(head("200 OK"))
        while True:
            connection.send(bytes(65536))

    server.on("/x", endless)
    assert refused(get(f"{server.url}/x"), f"more than {MOST} bytes") == "large"
    assert run(get(f"{server.url}/x", Manner(5, cut=True))).body == bytes(5)


def test_the_last_byte_that_fits_is_refused(server: Upstream) -> None:
    server.on("/x", reply(head("200 OK", f"Content-Length: {MOST}"), bytes(MOST)))
    server.on("/y", reply(head("200 OK", f"Content-Length: {MOST + 1}"), bytes(MOST + 1)))
    assert len(run(get(f"{server.url}/x")).body) == MOST
    assert refused(get(f"{server.url}/y"), "more than") == "large"


def packed(raw: bytes, *lines: str) -> Any:
    return reply(head("200 OK", "Content-Encoding: GZIP", f"Content-Length: {len(raw)}", *lines), raw)


def test_a_compressed_answer_is_not_understood(server: Upstream) -> None:
    server.on("/x", packed(gzip.compress(b"hello"), "X: y"))
    answer = run(get(f"{server.url}/x", PACKED))
    assert (answer.body, answer.headers) == (b"hello", (("X", "y"),))
    assert server.requests[0].get("Accept-Encoding") == "gzip"
    own = run(get(f"{server.url}/x", PACKED, headers=(("accept-encoding", "gzip, br"),)))
    assert gzip.decompress(own.body) == b"hello"
    assert ("Content-Encoding", "GZIP") in own.headers
    assert gzip.decompress(run(get(f"{server.url}/x")).body) == b"hello"
    server.on("/head", reply(head("200 OK", "Content-Encoding: gzip", "Content-Length: 99")))
    assert run(get(f"{server.url}/head", PACKED, method="HEAD")).body == b""
    assert [seen.get("Accept-Encoding") for seen in server.requests[1:]] == ["gzip, br", None, None]


@pytest.mark.parametrize("raw", [b"", b"junk", gzip.compress(b"hello", mtime=0)[:-3]])
def test_a_damaged_compressed_answer_is_taken(server: Upstream, raw: bytes) -> None:
    server.on("/x", packed(raw))
    if raw:
        refused(get(f"{server.url}/x", PACKED), "gzip")
    else:
        assert run(get(f"{server.url}/x", PACKED)).body == b""


def test_a_small_answer_is_huge_inside(server: Upstream) -> None:
    bomb = gzip.compress(bytes(30_000_000))
    assert len(bomb) < MOST
    server.on("/bomb", packed(bomb))
    server.on("/empty", packed(gzip.compress(b"") * 20_000))
    assert refused(get(f"{server.url}/bomb", PACKED), "more than") == "large"
    assert refused(get(f"{server.url}/empty", PACKED), "more than") == "large"


def test_redirects_are_followed_to_the_end(server: Upstream) -> None:
    server.on("/a", redirect(302, "/b?x=1"))
    server.on("/b", redirect(307, "c"))
    server.on("/c", OK)
    answer = run(get(f"{server.url}/a", FOLLOW, method="POST", body=b"body", headers=(("Authorization", "s"),)))
    assert (answer.status, answer.body, answer.url) == (200, b"ok", f"{server.url}/c")
    assert [(seen.method, seen.target, seen.body) for seen in server.requests] == [
        ("POST", "/a", b"body"), ("GET", "/b?x=1", b""), ("GET", "/c", b"")
    ]  # fmt: skip
    assert [seen.get("Authorization") for seen in server.requests] == ["s"] * 3
    assert [seen.get("Referer") for seen in server.requests] == [None, f"{server.url}/a", f"{server.url}/b?x=1"]
    assert run(get(f"{server.url}/a")).status == 302


def test_a_loop_of_redirects_does_not_end(server: Upstream) -> None:
    server.on("/a", redirect(302, "/a"))
    assert refused(get(f"{server.url}/a", FOLLOW), "stopped after 10") == "failed"
    assert len(server.requests) == 10


def test_a_huge_answer_that_redirects_is_read(server: Upstream) -> None:
    server.on("/a", reply(head("302 Found", "Location: /b", "Content-Length: 100000000"), bytes(1_000_000), keep=False))
    server.on("/b", OK)
    assert run(get(f"{server.url}/a", FOLLOW)).body == b"ok"


def test_a_redirect_leads_into_a_blocked_network(server: Upstream) -> None:
    with Upstream("127.0.0.2") as inside:
        server.on("/a", redirect(302, f"{inside.url}/secret"))
        server.on("/b", redirect(302, f"http://0x7f000002:{inside.port}/secret"))
        server.on("/c", redirect(307, f"//[::ffff:127.0.0.2]:{inside.port}/secret"))
        for path in ("/a", "/b", "/c"):
            refused(get(f"{server.url}{path}", FOLLOW), "is in a network of the.option", "127.0.0.2/32")
        assert inside.requests == []
        assert run(get(f"{server.url}/a", FOLLOW)).status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f000001", "0177.0.0.1", "0.0.0.0"])
def test_a_blocked_host_is_connected_to(server: Upstream, host: str) -> None:
    url = f"http://{host}:{server.port}/"
    assert refused(get(url), "is in a network of the.option|canonical", "127.0.0.0/8", "::1/128") == "failed"
    assert server.connections == []


def test_refusals_are_not_counted(server: Upstream) -> None:
    async def use(client: Client) -> int:
        for _ in range(3):
            with pytest.raises(OutboundError):
                await get(server.url)(client)
        client.configure(ClientSettings(networks("127.0.0.0/8", "10.0.0.0/8"), "the.option"))
        with pytest.raises(OutboundError):
            await get(server.url)(client)
        return client.blocked

    assert run(use, "127.0.0.0/8") == 4


def answers(monkeypatch: pytest.MonkeyPatch, *rounds: tuple[str, ...]) -> None:
    """Let every look-up of a name give the addresses of the next round."""
    left = list(rounds)
    known = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: Any, **more: Any) -> Any:
        if host != "rebind.test":
            return known(host, port, *rest, **more)
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_a_name_changes_its_address_between_check_and_connection(
    server: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(monkeypatch, ("127.0.0.1",), ("127.0.0.2",))
    inside = Upstream("127.0.0.2")
    url = f"http://rebind.test:{server.port}/"

    async def use(client: Client) -> None:
        assert (await get(url, headers=(("Connection", "close"),))(client)).status == 200
        client.configure(ClientSettings(networks("127.0.0.2/32"), "another.option"))
        with pytest.raises(OutboundError, match=r"127\.0\.0\.2 is in a network of another\.option"):
            await get(f"http://rebind.test:{inside.port}/")(client)

    with inside:
        run(use, "127.0.0.2/32", runner=asyncio.run)
        assert inside.connections == []
    assert len(server.requests) == 1


def test_a_name_with_an_allowed_address_is_refused(server: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ("127.0.0.9", "127.0.0.1"))
    url = f"http://rebind.test:{server.port}/"
    assert run(get(url), "127.0.0.9/32", runner=asyncio.run).status == 200
    assert server.requests[0].get("Host") == f"rebind.test:{server.port}"


def test_names_that_hang_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    asked: list[str] = []

    def look_up(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        release.wait(20)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    async def use(client: Client) -> list[str]:
        tasks = [asyncio.create_task(get(f"http://n{number}.test/")(client)) for number in range(64)]
        tasks += [asyncio.create_task(get("http://n0.test/")(client)) for _ in range(5)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(OutboundError) as busy:
            await get("http://more.test/")(client)
        release.set()
        return [str(busy.value)]

    assert "64 names are being looked up" in run(use, runner=asyncio.run)[0]
    assert asked.count("n0.test") == 1


def test_rules_that_change_leave_old_connections_open(server: Upstream) -> None:
    gate = threading.Event()

    def slow(connection: Connection, seen: Seen) -> bool:
        gate.wait(20)
        return OK(connection, seen)

    server.on("/slow", slow)

    async def use(client: Client) -> tuple[int, bytes]:
        assert (await get(f"{server.url}/a")(client)).status == 200
        assert (await get(f"{server.url}/a")(client)).status == 200
        assert len(server.connections) == 1
        running = asyncio.create_task(get(f"{server.url}/slow")(client))
        while not server.seen("/slow"):
            await asyncio.sleep(0.005)
        client.configure(ClientSettings(networks("127.0.0.0/8"), "the.option"))
        with pytest.raises(OutboundError, match=r"the\.option"):
            await get(f"{server.url}/a")(client)
        gate.set()
        answer = await running
        return answer.status, answer.body

    assert run(use) == (200, b"ok")


def test_a_connection_that_was_closed_meanwhile_loses_a_request(server: Upstream) -> None:
    server.on("/x", sequence([reply(head("200 OK", "Content-Length: 2"), b"ok", keep=False), OK]))

    async def use(client: Client) -> None:
        assert (await get(f"{server.url}/x", method="POST")(client)).body == b"ok"
        await asyncio.sleep(0.05)
        assert (await get(f"{server.url}/x", method="POST")(client)).body == b"ok"

    run(use)
    assert len(server.connections) == 2


def test_a_cancelled_request_goes_on(server: Upstream) -> None:
    server.on("/x", silent)

    async def use(client: Client) -> None:
        task = asyncio.create_task(get(f"{server.url}/x")(client))
        while not server.seen("/x"):
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            while not server.connections[0].ended.is_set():
                await asyncio.sleep(0.005)

    run(use)
    assert server.connections[0].ended.is_set()


def test_a_certificate_is_not_verified(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    loose = ssl.create_default_context()
    loose.check_hostname, loose.verify_mode = False, ssl.CERT_NONE
    with Upstream(tls=authority.server("127.0.0.1")) as server, Upstream(tls=authority.server("other.test")) as other:
        trusted = Manner(MOST, tls=authority.client)
        assert refused(get(server.url), "certificate") == "failed"
        assert refused(get(other.url, trusted), "certificate") == "failed"
        assert run(get(server.url, trusted)).status == 200
        assert run(get(other.url, Manner(MOST, tls=lambda: loose))).status == 200

        async def mixed(client: Client) -> None:
            assert (await get(server.url, Manner(MOST, tls=lambda: loose))(client)).status == 200
            with pytest.raises(OutboundError, match="certificate"):
                await get(server.url)(client)

        run(mixed)


def tunnel(port: int) -> Any:
    """A proxy's CONNECT to whatever: to a port of this machine."""

    def handler(connection: Connection, seen: Seen) -> bool:
        if seen.method != "CONNECT":
            return echo(connection, seen)
        with socket.create_connection(("127.0.0.1", port)) as behind:
            connection.send(head("200 OK"))

            def back() -> None:
                with contextlib.suppress(OSError):
                    while data := behind.recv(65536):
                        connection.sock.sendall(data)

            thread = threading.Thread(target=back, daemon=True)
            thread.start()
            try:
                while True:
                    behind.sendall(connection.receive())
            finally:
                with contextlib.suppress(OSError):
                    behind.shutdown(socket.SHUT_RDWR)
                thread.join(10)

    return handler


def test_a_proxy_is_passed_by(server: Upstream) -> None:
    environ = {"HTTP_PROXY": server.url.replace("//", "//u:p@"), "NO_PROXY": "direct.test"}
    answer = run(get("http://name.test/x?y"), environ=environ)
    assert answer.url == "http://name.test/x?y"
    seen = server.requests[0]
    assert (seen.target, seen.get("Host")) == ("http://name.test/x?y", "name.test")
    assert seen.get("Proxy-Authorization") == "Basic dTpw"
    refused(get("http://direct.test:1/"), "direct.test:1", environ=environ)
    assert len(server.requests) == 1


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
def test_tls_goes_through_a_proxy(tmp_path: Path, server: Upstream, runner: Any) -> None:
    authority = Authority(tmp_path)
    with Upstream(tls=authority.server("secure.test")) as secure:
        server.on("secure.test:443", tunnel(secure.port))
        environ = {"HTTPS_PROXY": server.url.replace("//", "//u:p@")}
        use = get("https://secure.test/x", Manner(MOST, tls=authority.client), headers=(("Authorization", "mine"),))
        assert run(use, environ=environ, runner=runner).status == 200
        assert secure.requests[0].get("Proxy-Authorization") is None
        assert secure.requests[0].get("Authorization") == "mine"
    connect = server.requests[0]
    assert (connect.method, connect.get("Proxy-Authorization"), connect.get("Authorization")) == ("CONNECT", "Basic dTpw", None)


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "0xa9fea9fe", "169.254.43518", "[::ffff:169.254.169.254]"])
def test_a_proxy_is_the_way_into_a_blocked_network(server: Upstream, host: str) -> None:
    environ = {"HTTP_PROXY": server.url}
    refused(get(f"http://{host}/latest"), "the.option", "169.254.0.0/16", environ=environ)
    assert server.connections == []


def test_a_proxy_in_a_blocked_network_cannot_be_used(server: Upstream) -> None:
    answer = run(get("http://name.test/"), "127.0.0.0/8", environ={"HTTP_PROXY": server.url})
    assert answer.status == 200


def test_a_proxy_that_cannot_be_used_is_passed_by(server: Upstream) -> None:
    environ = {"HTTP_PROXY": "socks5://127.0.0.1:1"}
    refused(get("http://name.test/"), "HTTP_PROXY cannot be used", environ=environ)
    assert run(get(server.url), environ=environ).status == 200
