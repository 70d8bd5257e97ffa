"""Getting in: passwords, ACL users, databases, TLS with and without certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.store.errors import StoreAway, StoreError, StoreReply
from core.store.settings import Address, Tls
from tests.store.conftest import opened, run, settings, until
from tests.support.tls import Authority, TlsFront
from tests.support.valkey import Valkey, valkey


async def refused(server: Valkey | TlsFront, text: str, **more: Any) -> None:
    """The store does not get in, and commands fail with this text."""
    async with opened(settings(server, **more)) as store:
        assert not store.available
        with pytest.raises(StoreAway, match=text):
            await store.call("PING")


def test_password_and_database(tmp_path: Path) -> None:
    with valkey(tmp_path / "valkey") as server:
        server.ask("CONFIG", "SET", "requirepass", "open sesame")
        server.login = ("open sesame",)

        async def body() -> None:
            async with opened(settings(server, password="open sesame", database=3)) as store:
                await store.call("SET", "a", 1)
            await refused(server, "WRONGPASS", password="wrong")
            await refused(server, "NOAUTH")

        run(body())
        assert server.ask_all(("SELECT", 3), ("GET", "a")) == [b"OK", b"1"]
        assert server.ask("GET", "a") is None


def test_acl_user_may_do_what_it_may_and_nothing_else(server: Valkey) -> None:
    server.ask("ACL", "SETUSER", "gateway", "on", ">pw", "~apikey-*", "+get", "+set", "+ping")
    server.ask("ACL", "SETUSER", "silent", "on", ">pw", "~*", "+get")

    async def body() -> None:
        async with opened(settings(server, username="gateway", password="pw")) as store:
            assert await store.call("SET", "apikey-1", "x") == b"OK"
            with pytest.raises(StoreReply, match="NOPERM"):
                await store.call("SET", "other", "x")
        async with opened(settings(server, username="silent", password="pw")) as store:
            assert await store.call("GET", "apikey-1") == b"x"
        await refused(server, "WRONGPASS", username="nobody", password="pw")

    run(body())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "tls").mkdir()
    return Authority(tmp_path / "tls")


@pytest.fixture
def tls_server(server: Valkey, authority: Authority) -> Iterator[TlsFront]:
    """Speaks TLS 1.2 and 1.3, wants a client certificate, and is certified for 127.0.0.1 alone."""
    context = authority.server("127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(str(authority.bundle))
    with TlsFront(context, server.port) as front:
        yield front


def test_tls_with_a_client_certificate(tls_server: TlsFront, authority: Authority) -> None:
    certificate, key = authority.files("gateway")
    good: dict[str, Any] = {"ca_file": str(authority.bundle), "cert_file": str(certificate), "key_file": str(key)}

    async def body() -> None:
        ranges: list[dict[str, Any]] = [{}, {"lowest": "1.3"}, {"highest": "1.2"}]
        for more in ranges:
            async with opened(settings(tls_server, tls=Tls("storage", **good, **more))) as store:
                assert await store.call("ECHO", "secret") == b"secret"
        async with opened(settings(tls_server, tls=Tls("storage", insecure=True, **good))) as store:
            assert await store.call("ECHO", "secret") == b"secret"
        own: dict[str, Any] = {"cert_file": str(certificate), "key_file": str(key)}
        await refused(tls_server, "(?i)certificate verify failed", tls=Tls("storage", **own))
        await refused(tls_server, "cannot be reached", tls=Tls("storage", ca_file=str(authority.bundle)))
        await refused(tls_server, "cannot be reached")

    run(body())


def test_tls_is_refused_when_the_name_is_not_in_the_certificate(tls_server: TlsFront, authority: Authority) -> None:
    certificate, key = authority.files("gateway")
    files: dict[str, Any] = {"ca_file": str(authority.bundle), "cert_file": str(certificate), "key_file": str(key)}

    async def body() -> None:
        elsewhere = replace(settings(tls_server), addresses=(Address("localhost", tls_server.port),))
        async with opened(replace(elsewhere, tls=Tls("storage", **files))) as store:
            with pytest.raises(StoreAway, match=r"(?i)certificate"):
                await store.call("PING")
        async with opened(replace(elsewhere, tls=Tls("storage", insecure=True, **files))) as store:
            assert await store.call("PING") == b"PONG"

    run(body())


def test_a_renewed_client_certificate_is_used_without_a_restart(tls_server: TlsFront, authority: Authority) -> None:
    certificate, key = authority.files("gateway")
    good = certificate.read_bytes(), key.read_bytes()

    async def body() -> None:
        tls = Tls("storage", ca_file=str(authority.bundle), cert_file=str(certificate), key_file=str(key))
        other = Authority(authority.directory / "other")
        for source, target in zip(other.files("stranger"), (certificate, key), strict=True):
            target.write_bytes(source.read_bytes())
        async with opened(settings(tls_server, tls=tls)) as store:
            assert not store.available
            certificate.write_bytes(good[0])
            key.write_bytes(good[1])
            await until(lambda: store.available, "it gets in with the new certificate")
            assert await store.call("PING") == b"PONG"

    run(body())


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"ca_file": "/nowhere/ca.pem"}, r"storage\.ca_file: expected a PEM file .* '/nowhere/ca\.pem'"),
        ({"cert_file": "/nowhere/c.pem", "key_file": "/nowhere/k.pem"}, r"storage\.cert_file: '/nowhere/c\.pem'"),
        ({"lowest": "1.9"}, r"storage\.tls_min_version: expected one of"),
    ],
    ids=["ca", "certificate", "version"],
)
def test_tls_options_that_cannot_be_used_are_named(values: dict[str, str], text: str) -> None:
    with pytest.raises(StoreError, match=text):
        Tls("storage", **values).context()  # type: ignore[arg-type]


def test_old_tls_versions_are_off_unless_asked_for() -> None:
    assert Tls("storage").context().minimum_version == ssl.TLSVersion.TLSv1_2
    assert Tls("storage", highest="1.2").context().maximum_version == ssl.TLSVersion.TLSv1_2
