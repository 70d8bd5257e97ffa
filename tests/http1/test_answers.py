"""Answers of the gateway's own: error pages, 404, redirects, health; and the limits with their counters."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Start
from tests.support.gateway import Gateway, api, free_port, wait_for
from tests.support.upstream import Upstream
from tests.support.wire import Response, get

JSON = b'{\n    "error": "There was a problem proxying the request"\n}'
XML = b'<?xml version = "1.0" encoding = "UTF-8"?>\n<error>There was a problem proxying the request</error>\n'


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """One API that works and one whose upstream is down."""
    return start([api("good", "/good/", upstream.url), api("down", "/down/", f"http://127.0.0.1:{free_port()}")])


def test_error_page_is_json(gateway: Gateway) -> None:
    """The exact bytes of tyk-core 3.3."""
    answer = gateway.fetch("/down/x")
    assert (answer.status, answer.body) == (500, JSON)
    assert answer.get("Content-Type") == "application/json"
    assert answer.get("X-Generator")


@pytest.mark.parametrize("kind", ["application/xml", "text/xml", "application/soap+xml"])
def test_error_page_is_xml_for_xml_requests(gateway: Gateway, kind: str) -> None:
    """By the request's Content-Type."""
    answer = gateway.fetch("/down/x", f"Content-Type: {kind}", method="POST", body=b"<a/>")
    assert (answer.status, answer.body) == (500, XML)
    assert (answer.get("Content-Type") or "").startswith(kind)


def test_error_page_for_head_has_no_body(gateway: Gateway) -> None:
    """Its length is that of the page."""
    answer = gateway.fetch("/down/x", method="HEAD")
    assert answer.status == 500
    assert answer.get("Content-Length") == str(len(JSON))


def test_unknown_path_is_404(gateway: Gateway) -> None:
    """Plain text, no newline, no X-Generator (tyk-core 3.2)."""
    answer = gateway.fetch("/nothing")
    assert (answer.status, answer.body) == (404, b"Not Found")
    assert answer.get("Content-Type") == "text/plain; charset=utf-8"
    assert answer.get("X-Generator") is None


def test_unknown_path_with_a_body_keeps_the_connection_in_step(gateway: Gateway) -> None:
    """The body of a request that is answered early is not read as the next request."""
    with gateway.connect() as client:
        body = get("/good/smuggled")
        client.send(get("/nothing", method="POST", body=body) + get("/good/next"))
        assert client.read().status == 404
        rest = client.rest() if client.buffer == b"" else client.buffer
    assert b"smuggled" not in rest


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/good//x", "/good/x"),
        ("/good/a/../b", "/good/b"),
        ("/good/./b", "/good/b"),
        ("/good/a%20b/%2fc?x=1", "/good/a%20b/c?x=1"),
        ("//evil.test/x", "/evil.test/x"),
        ("/good/../../etc/passwd", "/etc/passwd"),
    ],
)
def test_unclean_path_is_redirected(gateway: Gateway, target: str, location: str) -> None:
    """301 before anything else (tyk-core 3.2); the location is never another host."""
    answer = gateway.fetch(target)
    assert (answer.status, answer.get("Location")) == (301, location)


@pytest.mark.parametrize("path", ["/hello", "/ready"])
def test_hello_and_ready(gateway: Gateway, path: str) -> None:
    """Liveness and readiness (tyk-core 8.1)."""
    answer = gateway.fetch(path)
    assert answer.status == 200
    assert answer.get("Content-Type") == "application/json"
    health = json.loads(answer.body)
    assert health["status"] == "pass"
    assert {"version", "description"} <= health.keys()


def test_hello_takes_get_alone(gateway: Gateway) -> None:
    """405 with Tyk's body."""
    answer = gateway.fetch("/hello", method="POST", body=b"")
    assert answer.status == 405
    assert json.loads(answer.body) == {"status": "error", "message": "Method Not Allowed"}


def test_options_asterisk_is_404(gateway: Gateway) -> None:
    """It belongs to no API; the connection goes on."""
    with gateway.connect() as client:
        assert client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").read().status == 404
        assert client.send(get("/good/x")).read().status == 200


def test_refusals_are_counted_by_reason(gateway: Gateway) -> None:
    """A bound or a refusal that nobody can see is half a bound."""
    cases = {
        'limit="head_bytes"': b"GET /x HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70000 + b"\r\n\r\n",
        'limit="headers"': b"GET /x HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 300 + b"\r\n",
        'limit="target"': b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        'reason="bad_request"': b"GET /x HTTP/1.1\r\n\r\n",
        'reason="version"': b"GET /x HTTP/3.0\r\nHost: a\r\n\r\n",
        'reason="expectation"': b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: 1\r\n\r\n",
        'reason="not_implemented"': b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        'limit="chunk_extension"': b"POST /good/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;"
        + b"a" * 2000 + b"\r\n",
        'limit="trailers"': b"POST /good/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "
        + b"a" * 9000 + b"\r\n\r\n",
    }  # fmt: skip
    for name, data in cases.items():
        before = gateway.counters(name)
        with gateway.connect() as client:
            assert client.send(data).read().status >= 400
        assert gateway.counters(name) == before + 1, name


def test_connections_over_the_limit_get_503(start: Start, upstream: Upstream) -> None:
    """preforge.limits.max_connections; a place that becomes free can be used."""
    gateway = start([api("root", "/", upstream.url)], {"preforge": {"limits": {"max_connections": 3}}})
    clients = []

    def fill() -> Response | None:
        client = gateway.connect()
        clients.append(client)
        client.send(get("/x"))
        answer = client.read()
        return answer if answer.status == 503 else None

    try:
        refused = wait_for(fill, "a connection is refused")
        assert len(clients) == 4
        assert refused.closes
        clients[-1].expect_end()
        clients[0].sock.close()

        def served() -> bool:
            with gateway.connect() as client:
                return client.send(get("/again")).read().status == 200

        wait_for(served, "a freed place is used")
        assert gateway.counters('limit="connections"') >= 1
    finally:
        for client in clients:
            client.sock.close()


def test_requests_per_connection_are_limited(start: Start, upstream: Upstream) -> None:
    """preforge.limits.max_requests_per_connection: the last answer says that it is the last."""
    gateway = start([api("root", "/", upstream.url)], {"preforge": {"limits": {"max_requests_per_connection": 3}}})
    with gateway.connect() as client:
        answers = [client.send(get("/x")).read() for _ in range(3)]
        assert [a.closes for a in answers] == [False, False, True]
        client.expect_end()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_body_over_the_limit_gets_413(start: Start, upstream: Upstream, framing: str) -> None:
    """http_server_options.max_request_body_size, with Tyk's text (tyk-core 3.5)."""
    gateway = start([api("root", "/", upstream.url)], {"http_server_options": {"max_request_body_size": 1000}})
    line = b"Content-Length: 2000" if framing == "length" else b"Transfer-Encoding: chunked"
    with gateway.connect() as client:
        client.send(b"POST /big HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n7d0\r\n" + b"x" * 1500)
        answer = client.read()
        assert (answer.status, answer.body) == (413, b"Request Entity Too Large\n")
        client.expect_end()
    assert not any(r.complete for r in upstream.seen("/big"))
    assert gateway.fetch("/small", method="POST", body=b"x" * 1000).status == 200


@pytest.mark.parametrize(
    ("mode", "line", "status", "arrives"),
    [
        ("ambiguous", "Content_Length: 5", 400, False),
        ("ambiguous", "X_Other: 5", 200, True),
        ("refuse", "X_Other: 5", 400, False),
        ("drop", "Content_Length: 5", 200, False),
        ("allow", "Content_Length: 5", 200, True),
    ],
)
def test_underscores_in_names(start: Start, upstream: Upstream, mode: str, line: str, status: int, arrives: bool) -> None:
    """preforge.limits.underscore_headers."""
    gateway = start([api("root", "/", upstream.url)], {"preforge": {"limits": {"underscore_headers": mode}}})
    path = f"/under-{mode}-{status}"
    assert gateway.fetch(path, line).status == status
    names = [n.lower() for r in upstream.seen(path) for n, _ in r.headers]
    assert (line.partition(":")[0].lower() in names) == arrives
