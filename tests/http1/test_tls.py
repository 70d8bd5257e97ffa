"""TLS in front of the gateway and towards upstreams: names, versions, verification, and plain bytes in the wrong place."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.support.gateway import Gateway, api
from tests.support.tls import Authority
from tests.support.upstream import Upstream
from tests.support.wire import WireError, fetch, get

PROBLEM = b"There was a problem proxying the request"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that test clients trust."""
    return Authority(tmp_path_factory.mktemp("ca"))


def serves_tls(authority: Authority, gateway: Gateway) -> bool:
    """Whether /hello answers over TLS."""
    try:
        return fetch(gateway.address, "/hello", tls=authority.client(), name="one.test").status == 200
    except (OSError, WireError):
        return False


@pytest.fixture(scope="module")
def front(start: Start, upstream: Upstream, authority: Authority) -> Gateway:
    """TLS on the listen port, two certificates, at least TLS 1.3."""
    entries = []
    for name in ("one.test", "two.test"):
        certificate, key = authority.files(name)
        entries.append({"domain_name": name, "cert_file": str(certificate), "key_file": str(key)})
    options = {"use_ssl": True, "certificates": entries, "min_version": 772, "enable_websockets": True}
    return start(
        [api("root", "/", upstream.url)],
        {"http_server_options": options, "preforge": {"timeouts": {"head": 4}}},
        ready=lambda gateway: serves_tls(authority, gateway),
    )


@pytest.mark.parametrize("name", ["one.test", "two.test"])
def test_certificate_is_chosen_by_name(front: Gateway, authority: Authority, name: str) -> None:
    """The client verifies it against the name that it asked for."""
    with front.connect(tls=authority.client(), name=name) as client:
        assert client.send(get("/x")).read().status == 200
        assert client.send(get("/y", "a.test", "Connection: close")).read().status == 200
        client.expect_end()


def test_unknown_name_gets_the_first_certificate(front: Gateway, authority: Authority) -> None:
    """Which a client that verifies refuses."""
    with pytest.raises(ssl.SSLCertVerificationError):
        front.connect(tls=authority.client(), name="three.test")
    lax = authority.client()
    lax.check_hostname = False
    with front.connect(tls=lax, name="three.test") as client:
        assert isinstance(client.sock, ssl.SSLSocket)
        assert (client.sock.getpeercert() or {})["subjectAltName"] == (("DNS", "one.test"),)


def test_version_below_the_minimum_is_refused(front: Gateway, authority: Authority) -> None:
    """min_version 772 is TLS 1.3."""
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        front.connect(tls=authority.client(highest=ssl.TLSVersion.TLSv1_2), name="one.test")


def test_plain_http_on_the_tls_port_gets_no_http_from_an_api(front: Gateway, upstream: Upstream) -> None:
    """The handshake fails; the next client is served."""
    first = len(upstream.requests)
    with front.connect() as client:
        data = client.send(get("/plain")).rest()
    assert b" 200 " not in data[:20]
    assert len(upstream.requests) == first


def test_client_that_never_shakes_hands_is_cut_off(front: Gateway) -> None:
    """A silent connection may not stay."""
    with front.connect() as client:
        client.expect_end()


def test_body_passes_both_ways_over_tls(front: Gateway, authority: Authority) -> None:
    """Larger than TLS records and socket buffers."""
    body = b"0123456789abcdef" * 65536
    answer = fetch(front.address, "/big", method="POST", body=body, tls=authority.client(), name="one.test")
    assert answer.status == 200
    assert answer.body.count(b"0123456789abcdef") >= 65536


def test_refusal_is_readable_over_tls(front: Gateway, authority: Authority) -> None:
    """400, then the end."""
    with front.connect(tls=authority.client(), name="one.test") as client:
        assert client.send(b"GET /x HTTP/1.1\r\nBad Name: x\r\n\r\n").read().status == 400
        client.expect_end()


def test_pipelined_requests_over_tls(front: Gateway, authority: Authority) -> None:
    """In one record."""
    with front.connect(tls=authority.client(), name="one.test") as client:
        client.send(get("/1") + get("/2") + get("/3"))
        assert [client.read().status for _ in range(3)] == [200] * 3


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[Upstream]:
    """An upstream that speaks TLS with a certificate for localhost and 127.0.0.1."""
    with Upstream("0.0.0.0", tls=authority.server("localhost", "127.0.0.1")) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def behind(
    start: Start, secure: Upstream, upstream: Upstream, authority: Authority, monkeypatch_module: pytest.MonkeyPatch
) -> Gateway:
    """A gateway with upstreams over TLS, which trusts the tests' authority as its system's one."""
    monkeypatch_module.setenv("SSL_CERT_FILE", str(authority.bundle))
    port = secure.port
    skip = {"transport": {"ssl_insecure_skip_verify": True}}
    return start(
        [
            api("good", "/good/", f"https://localhost:{port}"),
            api("address", "/address/", f"https://127.0.0.1:{port}"),
            api("skip", "/skip/", f"https://127.0.0.2:{port}", proxy=skip),
            api("wrong-address", "/wrong-address/", f"https://127.0.0.2:{port}"),
            api("plain", "/plain/", f"https://127.0.0.1:{upstream.port}"),
            api("tls-as-plain", "/tls-as-plain/", f"http://127.0.0.1:{port}"),
        ],
        {"proxy_default_timeout": 2},
    )


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    """The monkeypatch fixture with the life of a module."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.mark.parametrize("path", ["/good/x", "/address/x"])
def test_verified_upstream_is_used(behind: Gateway, secure: Upstream, path: str) -> None:
    """And its connection is kept."""
    assert behind.fetch(path).status == 200
    assert behind.fetch(path).status == 200
    assert len({r.connection for r in secure.seen("/x")[-2:]}) == 1


@pytest.mark.parametrize("path", ["/wrong-address/x", "/tls-as-plain/x"])
def test_upstream_that_cannot_be_trusted_gives_the_error_page(behind: Gateway, secure: Upstream, path: str) -> None:
    """Nothing of the request is sent."""
    first = len(secure.requests)
    answer = behind.fetch(path, "Authorization: secret")
    assert answer.status == 500
    assert PROBLEM in answer.body
    assert len(secure.requests) == first


def test_handshake_that_never_ends_gets_504(behind: Gateway) -> None:
    """An upstream that takes the connection and does not answer the hello."""
    answer = behind.fetch("/plain/x", "Authorization: secret")
    assert answer.status == 504


def test_verification_can_be_switched_off_for_one_api(behind: Gateway) -> None:
    """ssl_insecure_skip_verify of its transport; the others still verify (pool identity)."""
    assert behind.fetch("/skip/x").status == 200
    assert behind.fetch("/wrong-address/x").status == 500


def test_untrusted_authority_is_refused(
    start: Start, secure: Upstream, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the tests' authority in the trust store."""
    other = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(other.bundle))
    gateway = start([api("root", "/", f"https://localhost:{secure.port}")])
    assert gateway.fetch("/x").status == 500


def test_upstream_sees_the_name_of_the_target(behind: Gateway, secure: Upstream) -> None:
    """SNI: chosen from target_url, not from the client's Host."""
    names: list[str | None] = []
    context = secure._tls
    assert context is not None
    context.sni_callback = lambda sock, name, _: names.append(name)
    for connection in secure.connections:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
    with behind.connect() as client:
        assert client.send(get("/good/sni", "evil.test")).read().status == 200
    assert names[-1:] == ["localhost"]
