"""TykMakeHttpRequest: what is sent, what scripts get, and that nothing holds a worker up (tyk-jsvm 6.1)."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.scripts.host import HostError
from tests.scripts.host_support import TLS, Host, config, said, with_host
from tests.support.gateway import Json, free_port
from tests.support.tls import Authority
from tests.support.upstream import Connection, Seen, Upstream, cut, head, reply, silent

MAKE = "TykMakeHttpRequest"


@pytest.fixture
def server() -> Iterator[Upstream]:
    with Upstream() as found:
        yield found


def made(tmp_path: Path, request: Any, options: Json | None = None, **jsvm: Any) -> Any:
    """What a script gets for a request, decoded; None for undefined."""
    async def use(host: Host) -> Any:
        text = await host.call(MAKE, request)
        return None if text is None else json.loads(text)

    return with_host(use, config(tmp_path, options, **jsvm))


def test_a_request_is_not_what_the_script_says(tmp_path: Path, server: Upstream) -> None:
    request = {
        "METHOD": "Put", "body": "Grüße", "domain": server.url, "resource": "/a%2F%2Fb?x=1&y=a%20b", "unknown": [1],
        "headers": {"x-certificateOuid": "1", "X-Two": "2", "host": "evil", "Content-Length": "1",
                    "Transfer-Encoding": "chunked"},
    }  # fmt: skip
    found = made(tmp_path, request)
    seen = server.requests[0]
    assert (seen.method, seen.target, seen.body) == ("Put", "/a%2F%2Fb?x=1&y=a%20b", "Grüße".encode())
    names = ["Host", "User-Agent", "X-Certificateouid", "X-Two", "Accept-Encoding", "Content-Length"]
    assert [name for name, _ in seen.headers] == names
    assert seen.get("User-Agent") == "Go-http-client/1.1"
    assert seen.get("Host") == server.url[7:]
    assert (found["Code"], found["Body"], found["Headers"]) == (found["code"], found["body"], found["headers"])
    assert found["Code"] == 200
    assert found["Headers"]["Content-Type"] == ["application/json"]


@pytest.mark.parametrize(
    ("body", "form", "sent"),
    [
        (None, {"b": "2 3", "a": "ü&=", "c": None}, b"a=%C3%BC%26%3D&b=2+3&c="),
        ("", {"a": "1"}, b"a=1"),
        ("text", {"a": "1"}, b"text"),
        (None, None, b""),
        (None, {}, b""),
        ("\x00\ud800x\udc80\udcff\ufffd", {}, b"\x00\xef\xbf\xbdx\x80\xff\xef\xbf\xbd"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_body_is_not_what_the_script_says(
    tmp_path: Path, server: Upstream, body: Any, form: Any, sent: bytes, method: str
) -> None:
    assert made(tmp_path, {"Method": method, "Domain": server.url, "Body": body, "FormData": form})["Code"] == 200
    assert server.requests[0].body == sent
    assert server.requests[0].get("Content-Type") is None


def test_header_names_that_are_to_stay_are_changed(tmp_path: Path, server: Upstream) -> None:
    request = {"Domain": server.url, "Headers": {"X-CertificateOuid": "1", "user-AGENT": "mine"}}
    made(tmp_path, request, {"ignore_canonical_mime_header_key": True})
    names = [name for name, _ in server.requests[0].headers]
    assert "X-CertificateOuid" in names
    assert server.requests[0].get("User-Agent") == "mine"


@pytest.mark.parametrize(
    "request_text",
    [
        "", "{", "5", "null5", "[]", '"text"', '{"Domain": 5}', '{"Headers": {"a": 1}}', '{"Headers": []}', '{"Body": {}}',
        '{"Body": 5}', '{"FormData": {"a": [1]}}', '{"Timeout": "5"}', "\udcff", '{"Method": ["GET"]}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_request_throws_or_is_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture, request_text: str) -> None:
    assert made(tmp_path, request_text) is None
    assert ["Failed to deserialise HTTP Request object" in record.message for record in said(caplog)] == [True]
    assert said(caplog)[0].fields["api_id"] == "a"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "request_",
    [
        {}, {"Domain": ""}, {"Domain": "/only/a/path"}, {"Domain": "ftp://h/"}, {"Domain": "file:///etc/passwd"},
        {"Domain": "SELF"}, {"Domain": "SELF", "Resource": "/%zz"}, {"Domain": "SELF", "Method": "A B"},
        {"Domain": "SELF", "Headers": {"A": "b\r\nc: d"}}, {"Domain": "SELF", "Headers": {"A\nb": "c"}},
        {"Domain": "SELF", "Resource": "/ HTTP/1.1\r\nX: y\r\n\r\n"}, {"Domain": "SELF", "Timeout": -1},
    ],
)  # fmt: skip
def test_what_cannot_be_sent_throws(
    tmp_path: Path, server: Upstream, caplog: pytest.LogCaptureFixture, request_: Json
) -> None:
    bad = {key: server.url.replace("http:", "http;") if value == "SELF" and len(request_) == 1 else
           server.url if value == "SELF" else value for key, value in request_.items()}  # fmt: skip
    assert made(tmp_path, bad) is None
    assert [record.message.startswith("Request failed: ") for record in said(caplog)] == [True]
    assert server.requests == []


def test_the_text_undefined_is_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def use(host: Host) -> list[str | None]:
        return [await host.call(MAKE, "undefined"), await host.call(MAKE), await host.call(MAKE, None)]

    assert with_host(use, config(tmp_path)) == [None] * 3
    assert said(caplog) == []


def test_an_unknown_function_is_there(tmp_path: Path) -> None:
    async def use(host: Host) -> None:
        for name in ("TykNothing", "", "call", "__class__"):
            with pytest.raises(HostError, match="is not defined"):
                await host.call(name, "{}")

    with_host(use, config(tmp_path))


def test_bytes_of_an_answer_break_the_json(tmp_path: Path, server: Upstream) -> None:
    raw = b"a\xff\xe2\x82b\xed\xa0\x80\x00<>&"
    server.on("/x", reply(head("404 Not Found", "x-LOWER: \xe9", "X-Lower: 2", f"Content-Length: {len(raw)}"), raw))
    found = made(tmp_path, {"Domain": server.url, "Resource": "/x"})
    assert found["Code"] == 404
    assert found["Body"] == "a\ufffd\ufffd\ufffdb\ufffd\ufffd\ufffd\x00<>&"
    assert found["Headers"]["X-Lower"] == ["\ufffd", "2"]


def test_a_compressed_answer_is_shown_as_it_is(tmp_path: Path, server: Upstream) -> None:
    raw = gzip.compress(b"hello")
    server.on("/x", reply(head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(raw)}"), raw))
    found = made(tmp_path, {"Domain": server.url, "Resource": "/x"})
    assert (found["Body"], found["Headers"]) == ("hello", {})
    own = made(tmp_path, {"Domain": server.url, "Resource": "/x", "Headers": {"accept-encoding": "gzip"}})
    assert own["Headers"]["Content-Encoding"] == ["gzip"]


def test_redirects_end_at_their_answer(tmp_path: Path, server: Upstream) -> None:
    server.on("/a", reply(head("302 Found", "Location: /b", "Content-Length: 0")))
    server.on("/loop", reply(head("307 Again", "Location: /loop", "Content-Length: 0")))
    found = made(tmp_path, {"Domain": server.url, "Resource": "/a", "Method": "POST", "Body": "x"})
    assert found["Code"] == 200
    assert [(seen.method, seen.target, seen.body) for seen in server.requests] == [("POST", "/a", b"x"), ("GET", "/b", b"")]
    assert made(tmp_path, {"Domain": server.url, "Resource": "/loop"}) is None


@pytest.mark.parametrize("kind", ["cut", "dead", "large", "bomb", "blocked", "name"])
def test_a_failed_request_throws(tmp_path: Path, server: Upstream, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    bomb = gzip.compress(bytes(5_000_000))
    server.on("/cut", cut)
    server.on("/large", reply(head("200 OK", "Content-Length: 1000001"), bytes(1_000_001)))
    server.on("/bomb", reply(head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(bomb)}"), bomb))
    domains = {"dead": f"http://127.0.0.1:{free_port()}", "blocked": "http://169.254.169.254", "name": "http://no.invalid"}

    async def use(host: Host) -> dict[str, int]:
        assert await host.call(MAKE, {"Domain": domains.get(kind, server.url), "Resource": f"/{kind}"}) is None
        return host.functions.stats()

    stats = with_host(use, config(tmp_path))
    assert stats["http_requests"] == 1
    assert stats["http_too_large"] == (kind in ("large", "bomb"))
    assert stats["http_failed"] == (kind not in ("large", "bomb"))
    assert stats["http_blocked"] == (kind == "blocked")
    assert [record.message.startswith("Request failed: ") for record in said(caplog)] == [True]
    if kind == "blocked":
        assert "preforge.jsvm.blocked_networks" in said(caplog)[0].message


@pytest.mark.parametrize("bound", ["call", "setting", "deadline"])
def test_a_slow_host_is_waited_for(tmp_path: Path, server: Upstream, bound: str) -> None:
    server.on("/x", silent)
    request: Json = {"Domain": server.url, "Resource": "/x"}
    if bound == "call":
        request["timeout"] = 0.1

    async def use(host: Host) -> dict[str, int]:
        seconds = 0.1 if bound == "deadline" else 30
        assert await host.call(MAKE, request, seconds=seconds) is None
        return host.functions.stats()

    stats = with_host(use, config(tmp_path, http_timeout=0.1 if bound == "setting" else 30))
    assert (stats["http_timeouts"], stats["http_running"], stats["http_waiting"]) == (1, 0, 0)


def test_a_script_without_time_left_sends(tmp_path: Path, server: Upstream) -> None:
    async def use(host: Host) -> None:
        assert await host.call(MAKE, {"Domain": server.url}, seconds=-5) is None

    with_host(use, config(tmp_path))
    assert server.requests == []


def test_a_slow_body_is_waited_for(tmp_path: Path, server: Upstream) -> None:
    def drip(connection: Connection, seen: Seen) -> bool:
        connection.send(head("200 OK", "Content-Length: 100000"))
        while not connection.wait_end(0.02):
            connection.send(b"x")
        return False

    server.on("/x", drip)
    assert made(tmp_path, {"Domain": server.url, "Resource": "/x", "Timeout": 0.3}) is None


def test_more_requests_run_than_may(tmp_path: Path, server: Upstream) -> None:
    server.on("/x", silent)

    async def use(host: Host) -> None:
        call = {"Domain": server.url, "Resource": "/x", "Timeout": 20}
        tasks = [asyncio.create_task(host.call(MAKE, call)) for _ in range(4)]
        while len(server.seen("/x")) < 2:
            await asyncio.sleep(0.005)
        stats = host.functions.stats()
        assert (stats["http_running"], stats["http_waiting"]) == (2, 2)
        assert await host.call(MAKE, call) is None
        assert host.functions.stats()["http_refused"] == 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        stats = host.functions.stats()
        assert (stats["http_running"], stats["http_waiting"], stats["http_cancelled"]) == (0, 0, 4)
        while not all(connection.ended.is_set() for connection in server.connections):
            await asyncio.sleep(0.005)

    with_host(use, config(tmp_path, max_requests=2))
    assert len(server.seen("/x")) == 2


def test_certificates_are_not_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path / "ca")
    loose = {"proxy_ssl_insecure_skip_verify": True}
    with Upstream(tls=authority.server("127.0.0.1")) as server:
        request = {"Domain": server.url}

        async def use(host: Host) -> list[bool]:
            found = [await host.call(MAKE, request, tls=tls) is not None for tls in
                     (TLS, None, TLS.__class__(True, 0, 0, (), ""))]  # fmt: skip
            return [*found, await host.call(MAKE, request) is not None]

        assert with_host(use, config(tmp_path / "1")) == [False, False, True, False]
        assert with_host(use, config(tmp_path / "2", loose)) == [False, True, True, False]
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
        assert with_host(use, config(tmp_path / "3")) == [True] * 4


def test_versions_and_ciphers_of_tls_are_ignored(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    context = authority.server("127.0.0.1")
    context.minimum_version = ssl.TLSVersion.TLSv1_3

    async def use(host: Host) -> list[Any]:
        specs = [(0, ()), (771, ()), (0, ("TLS_NO_SUCH_SUITE",)), (0, ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",))]
        return [await host.call(MAKE, {"Domain": server.url}, tls=TLS.__class__(True, 0, most, ciphers, "")) is not None
                for most, ciphers in specs]  # fmt: skip

    with Upstream(tls=context) as server:
        assert with_host(use, config(tmp_path)) == [True, False, False, True]


def test_a_proxy_of_the_environment_is_not_used(
    tmp_path: Path, server: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    async def use(host: Host) -> tuple[Any, Any]:
        request = {"requests": [{"relative_url": "http://name.invalid/"}]}
        alone = await host.value(MAKE, {"Domain": "http://name.invalid/x"})
        return alone["Code"], await host.value("TykBatchRequest", request)

    code, batch = with_host(use, config(tmp_path), environ={"HTTP_PROXY": server.url})
    assert code == 200
    assert [seen.target for seen in server.requests] == ["http://name.invalid/x"]
    assert batch[0]["code"] == 0
    assert "names are looked up by the proxy" in said(caplog)[0].message


def test_a_reload_changes_nothing(tmp_path: Path, server: Upstream) -> None:
    async def use(host: Host) -> list[bool]:
        request = {"Domain": server.url}
        found = [await host.call(MAKE, request) is not None]
        host.functions.configure(config(tmp_path, blocked_networks=("127.0.0.0/8",)))
        found.append(await host.call(MAKE, request) is not None)
        host.functions.configure(config(tmp_path, max_response_bytes=10))
        found.append(await host.call(MAKE, request) is not None)
        return found

    assert with_host(use, config(tmp_path)) == [True, False, False]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_NAMES = ("Method", "Domain", "Resource", "Body", "Headers", "FormData", "Timeout", "url", "method", "headers", "body",
          "timeout", "redirect", "requests", "relative_url")  # fmt: skip
_OBJECT = st.dictionaries(st.sampled_from(_NAMES), st.text() | _JSON | st.just("http://192.0.2.1/"), max_size=6)


@given(st.lists(_OBJECT.map(json.dumps) | _JSON.map(json.dumps) | st.text(), min_size=20, max_size=20))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_an_input_ends_in_neither_an_answer_nor_an_error(tmp_path: Path, texts: list[str]) -> None:
    async def use(host: Host) -> None:
        for text in texts:
            for name in (MAKE, "TykBatchRequest"):
                assert isinstance(await host.call(name, text), str | None)
            with pytest.raises(HostError):
                await host.call("TykFetch", text)

    with_host(use, config(tmp_path, blocked_networks=("0.0.0.0/0", "::/0")))
