"""TLS towards a plugin server: who is believed, who is not, and what the server gets to see."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from coprocess.driver import Reply
from coprocess.grpc import GrpcSettings, SettingsError
from coprocess.grpc.tls import client_context
from tests.coprocess.grpc.rig import MIB, Child, ask, child, drive, driving, free_port, grpcio, tell, until


class Files:
    """An authority, a certificate of the server for localhost, and one for clients."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        self.cert, self.key = self.issue("server", "localhost", "127.0.0.1")
        self.client_cert, self.client_key = self.issue("client", "gateway.example")

    def issue(self, stem: str, *names: str, authority: trustme.CA | None = None) -> tuple[Path, Path]:
        made = (authority or self.authority).issue_cert(*names)
        cert, key = self.directory / f"{stem}.crt", self.directory / f"{stem}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(key)
        return cert, key


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def outcome(target: str, **settings: Any) -> tuple[Reply, str]:
    """(reply, detail of the state) of one call with these settings."""
    async with driving(target, up=False, tls=True, **settings) as driver:
        reply = await tell(driver)
        return reply, driver.state().detail


def test_tls_with_large_messages(files: Files) -> None:
    message = b"0123456789abcdef" * (20 * MIB // 16)

    async def main(port: int) -> list[Reply]:
        async with driving(f"localhost:{port}", tls=True, ca_file=str(files.ca), recv_max_size=32 * MIB) as driver:
            calls = [ask(driver, message), *(ask(driver, b"%d" % n) for n in range(100))]
            return [await call.reply() for call in calls]

    with child(*grpcio("aio", "127.0.0.1:0", files.cert, files.key)) as server:
        replies = drive(main(server.port))
    assert replies[0].message == message[::-1]
    assert [reply.message for reply in replies[1:]] == [(b"%d" % n)[::-1] for n in range(100)]


def test_tls_over_a_unix_socket(files: Files, tmp_path: Path) -> None:
    with child(*grpcio("aio", f"unix:{tmp_path}/s", files.cert, files.key)):
        reply, _ = drive(outcome(f"unix:{tmp_path}/s", ca_file=str(files.ca)))
    assert reply == Reply("ok", b"olleh")


def test_the_certificate_has_to_be_trusted(files: Files) -> None:
    """Not by default, and not by another authority; nothing is sent."""
    other = files.directory / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    with child(*grpcio("aio", "127.0.0.1:0", files.cert, files.key)) as server:
        for settings in ({}, {"ca_file": str(other)}):
            reply, detail = drive(outcome(f"localhost:{server.port}", **settings))
            assert reply.outcome == "away"
            assert "certificate verify failed" in detail
        reply, _ = drive(outcome(f"localhost:{server.port}", insecure_skip_verify=True))
        assert reply.outcome == "ok"


def test_the_certificate_has_to_name_the_server(files: Files) -> None:
    cert, key = files.issue("named", "plugins.example")
    with child(*grpcio("aio", "127.0.0.1:0", cert, key)) as server:
        reply, detail = drive(outcome(f"localhost:{server.port}", ca_file=str(files.ca)))
        assert reply.outcome == "away"
        assert "not valid for 'localhost'" in detail
        reply, _ = drive(outcome(f"localhost:{server.port}", ca_file=str(files.ca), server_name="plugins.example"))
        assert reply.outcome == "ok"
        reply, _ = drive(outcome(f"localhost:{server.port}", insecure_skip_verify=True))
        assert reply.outcome == "ok"


def test_mutual_tls(files: Files) -> None:
    stranger = files.issue("stranger", "gateway.example", authority=trustme.CA())
    with child(*grpcio("aio", "127.0.0.1:0", files.cert, files.key, files.ca)) as server:
        target, ca = f"localhost:{server.port}", str(files.ca)
        reply, _ = drive(outcome(target, ca_file=ca, cert_file=str(files.client_cert), key_file=str(files.client_key)))
        assert reply == Reply("ok", b"olleh")
        for settings in ({}, {"cert_file": str(stranger[0]), "key_file": str(stranger[1])}):
            reply, detail = drive(outcome(target, ca_file=ca, **settings))
            assert reply.outcome == "away"
            assert detail


def test_cleartext_and_tls_do_not_mix(files: Files) -> None:
    with child(*grpcio("aio", "127.0.0.1:0")) as server:
        reply, _ = drive(outcome(f"localhost:{server.port}", ca_file=str(files.ca)))
        assert reply.outcome == "away"

    async def cleartext(port: int) -> Reply:
        async with driving(f"localhost:{port}", up=False, connect_timeout=0.5) as driver:
            return await tell(driver)

    with child(*grpcio("aio", "127.0.0.1:0", files.cert, files.key)) as server:
        assert drive(cleartext(server.port)).outcome == "away"


@pytest.mark.parametrize(
    ("protocols", "highest", "expected"),
    [
        (["http/1.1"], ssl.TLSVersion.TLSv1_3, "does not offer HTTP/2"),
        ([], ssl.TLSVersion.TLSv1_3, "does not offer HTTP/2"),
        (["h2"], ssl.TLSVersion.TLSv1_2, "127.0.0.1"),
    ],
)
def test_a_server_that_cannot_do_it_is_refused(
    files: Files, protocols: list[str], highest: ssl.TLSVersion, expected: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    context.maximum_version = highest
    if protocols:
        context.set_alpn_protocols(protocols)

    async def main() -> tuple[Reply, str]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        try:
            return await outcome(f"localhost:{port}", ca_file=str(files.ca), tls_min_version="1.3")
        finally:
            server.close()

    reply, detail = drive(main())
    assert reply.outcome == "away"
    assert expected in detail


def test_a_renewed_client_certificate_is_used_without_a_restart(files: Files) -> None:
    """The old one was of an authority that the server does not know any more."""
    port = free_port()
    old = trustme.CA()
    files.issue("client", "gateway.example", authority=old)

    async def main() -> Reply:
        server = None
        async with driving(
            f"localhost:{port}", up=False, tls=True, ca_file=str(files.ca), cert_file=str(files.client_cert),
            key_file=str(files.client_key),
        ) as driver:  # fmt: skip
            try:
                server = await asyncio.to_thread(Child, *grpcio("aio", f"127.0.0.1:{port}", files.cert, files.key, files.ca))
                failed = driver.counts()["connect_failures"]
                await until(lambda: driver.counts()["connect_failures"] > failed + 1 or driver.counts()["disconnects"] > 1)
                assert (await tell(driver)).outcome == "away"
                files.issue("client", "gateway.example")
                await until(lambda: driver.state().status == "up")
                return await tell(driver)
            finally:
                if server:
                    server.kill()

    assert drive(main()).outcome == "ok"


@pytest.mark.parametrize("field", ["ca_file", "cert_file", "key_file"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_files_that_cannot_be_used_are_named(files: Files, field: str, content: bytes | None) -> None:
    names = {"ca_file": str(files.ca), "cert_file": str(files.client_cert), "key_file": str(files.client_key)}
    names[field] = str(files.directory / "broken.pem")
    if content is not None:
        (files.directory / "broken.pem").write_bytes(content)
    settings = GrpcSettings("billing", "localhost:1", tls=True, **names)
    with pytest.raises(SettingsError) as caught:
        client_context(settings)
    assert 'gRPC server "billing"' in str(caught.value)
    assert "broken.pem" in str(caught.value)
    assert caught.value.field in {field, "cert_file"}


def test_a_key_of_another_certificate_and_an_encrypted_key_are_refused(files: Files) -> None:
    names = {"cert_file": str(files.client_cert), "key_file": str(files.key)}
    with pytest.raises(SettingsError, match="no certificate and its key"):
        client_context(GrpcSettings("billing", "localhost:1", tls=True, **names))


def test_a_driver_without_its_files_is_disabled() -> None:
    async def main() -> tuple[Reply, str, str, bool]:
        async with driving("localhost:1", up=False, tls=True, ca_file="/nonexistent/ca.pem") as driver:
            state = driver.state()
            return await tell(driver), state.status, state.detail, driver.event(b"{}")

    reply, status, detail, taken = drive(main())
    assert (reply.outcome, status, taken) == ("disabled", "disabled", False)
    assert detail == reply.detail == 'gRPC server "plugin": ca_file: "/nonexistent/ca.pem" is not a file'
