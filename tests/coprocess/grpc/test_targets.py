"""Targets and settings: what is accepted means one address, what is not says why."""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coprocess.driver import Reply
from coprocess.grpc import GrpcSettings, SettingsError
from coprocess.grpc.target import Target, parse_target
from tests.coprocess.grpc.model import Peer, Reader, response, scripted
from tests.coprocess.grpc.rig import child, drive, driving, free_port, grpcio, tell, until

GOOD = {
    "tcp://127.0.0.1:5555": (Target("127.0.0.1", 5555), "127.0.0.1:5555"),
    "tcp://plugins:80": (Target("plugins", 80), "plugins:80"),
    "tcp://[::]:5555": (Target("::", 5555), "[::]:5555"),
    "127.0.0.1:5555": (Target("127.0.0.1", 5555), "127.0.0.1:5555"),
    "my_host.example-1.com.:1": (Target("my_host.example-1.com.", 1), "my_host.example-1.com.:1"),
    "[::1]:65535": (Target("::1", 65535), "[::1]:65535"),
    "dns:///plugins.svc:5555": (Target("plugins.svc", 5555), "plugins.svc:5555"),
    "dns:plugins:5555": (Target("plugins", 5555), "plugins:5555"),
    "dns:///[2001:db8::1]:5555": (Target("2001:db8::1", 5555), "[2001:db8::1]:5555"),
    "unix:///run/p.sock": (Target(path="/run/p.sock"), "localhost"),
    "unix:/run/p.sock": (Target(path="/run/p.sock"), "localhost"),
    "unix:p.sock": (Target(path="p.sock"), "localhost"),
}


@pytest.mark.parametrize("text", GOOD)
def test_a_target_means_one_address(text: str) -> None:
    target, authority = GOOD[text]
    assert parse_target(text) == target
    assert target.authority == authority


BAD = [
    "", "plugins", "127.0.0.1", ":5555", "tcp://", "tcp://host", "tcp://host:", "tcp://host:0", "tcp://host:65536", "host:-1",
    "host:5x", "host:٥", "::1:5555", "[::1]", "[::1", "[host]:5555", "[::1]x:5555", "http://host:5555", "https://host:5555",
    "passthrough:///host:5555", "dns://8.8.8.8/host:5555", "dns:////host:5555", "unix:", "unix://", "unix://run/p.sock",
    "unix:///" + "x" * 107, "host name:5555", "user@host:5555", "host/path:5555", "tcp://host:5555/", "-host:5555",
    "tcp:host:5555", "host\n:5555",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_another_target_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(SettingsError, match=r"expected|stands between|at most|not supported") as caught:
        GrpcSettings("billing", text)
    assert caught.value.field == "target"
    assert str(caught.value).startswith('gRPC server "billing": target: "')


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("authority", "a b"), ("authority", "a\r\nb"), ("authority", "x" * 256), ("recv_max_size", -1),
        ("recv_max_size", 1 << 31), ("send_max_size", -1), ("send_max_size", 1 << 31), ("connections", 0),
        ("connections", 65), ("max_in_flight", 0),
        ("max_waiting", -1), ("max_events", -1), ("max_events_in_flight", 0), ("max_bytes", 0),
        ("connect_timeout", 0), ("event_timeout", 0), ("backoff_min", 0),
        ("backoff_max", 0.01), ("keepalive_time", 0.5), ("keepalive_timeout", 0), ("resolve_interval", -1),
        ("tls_min_version", "1.1"), ("ca_file", "a"), ("server_name", "a"), ("insecure_skip_verify", True),
    ],
)  # fmt: skip
def test_a_setting_out_of_bounds_is_refused(field: str, value: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        GrpcSettings("billing", "127.0.0.1:1", **{field: value})
    assert caught.value.field == field
    assert f'gRPC server "billing": {field}: ' in str(caught.value)


@pytest.mark.parametrize("name", [".plugins", "a b", "a\0", "é.example"])
def test_a_server_name_that_tls_could_not_use_is_refused(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        GrpcSettings("billing", "127.0.0.1:1", tls=True, server_name=name)
    assert caught.value.field == "server_name"


@pytest.mark.parametrize(("given", "missing"), [("cert_file", "key_file"), ("key_file", "cert_file")])
def test_half_a_certificate_is_refused(given: str, missing: str) -> None:
    with pytest.raises(SettingsError) as caught:
        GrpcSettings("billing", "127.0.0.1:1", tls=True, **{given: "x.pem"})
    assert caught.value.field == missing


def test_settings_travel_between_processes() -> None:
    settings = GrpcSettings("billing", "dns:///plugins:1", round_robin=True)
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert hash(settings) == hash(GrpcSettings("billing", "dns:///plugins:1", round_robin=True))


def test_loading_leaves_the_process_fit_to_fork() -> None:
    """No thread, and no grpcio, whose threads do not survive a fork."""
    code = (
        "import coprocess.grpc, os, sys; assert not [m for m in sys.modules if m == 'grpc' or m.startswith('grpc.')];"
        "assert len(os.listdir('/proc/self/task')) == 1"
    )
    root = Path(__file__).parents[3]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize("form", ["tcp://127.0.0.1:%d", "127.0.0.1:%d", "dns:///localhost:%d", "localhost:%d", "tcp://localhost:%d"])
def test_forms_of_a_target_reach_the_server(form: str) -> None:
    async def main(port: int) -> Reply:
        async with driving(form % port) as driver:
            return await tell(driver)

    with child(*grpcio("aio", "127.0.0.1:0")) as server:
        assert drive(main(server.port)) == Reply("ok", b"olleh")


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
@pytest.mark.parametrize("form", ["[::1]:%d", "tcp://[::1]:%d", "dns:///[::1]:%d", "tcp://[::]:%d"])
def test_ipv6(form: str) -> None:
    async def main(port: int) -> Reply:
        async with driving(form % port) as driver:
            return await tell(driver)

    with child(*grpcio("aio", "[::1]:0")) as server:
        assert drive(main(server.port)) == Reply("ok", b"olleh")


@pytest.mark.parametrize("form", ["unix://{}/s", "unix:{}/s"])
def test_unix_sockets(form: str, tmp_path: Path) -> None:
    async def main() -> Reply:
        async with driving(form.format(tmp_path)) as driver:
            return await tell(driver)

    with child(*grpcio("aio", f"unix:{tmp_path}/s")):
        assert drive(main()) == Reply("ok", b"olleh")


@pytest.mark.parametrize(("setting", "expected"), [({}, None), ({"authority": "plugins.example:9"}, b"plugins.example:9")])
def test_the_authority_is_never_empty(setting: dict[str, str], expected: bytes | None) -> None:
    """Strict servers refuse a request without one."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        head = await peer.find(1)
        peer.send(response(head.stream, dict(Reader(head.payload).fields())[b":authority"]))
        await peer.rest()

    async def main() -> tuple[bytes, int]:
        async with scripted(script) as server, driving(server.target, **setting) as driver:
            return (await tell(driver)).message, server.port

    said, port = drive(main())
    assert said == (expected or b"127.0.0.1:%d" % port)


def test_a_name_that_does_not_resolve_is_away() -> None:
    async def main() -> tuple[Reply, str]:
        async with driving("dns:///no-such-name.invalid:5555", up=False) as driver:
            return await tell(driver), driver.state().detail

    reply, detail = drive(main())
    assert reply.outcome == "away"
    assert "no-such-name.invalid has no address" in detail


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_an_address_that_does_not_answer_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address refuses; the server is at the second one."""

    async def main(port: int) -> Reply:
        both_addresses(monkeypatch)
        async with driving(f"dns:///both.example:{port}") as driver:
            return await tell(driver)

    with child(*grpcio("aio", "127.0.0.1:0")) as server:
        assert drive(main(server.port)).outcome == "ok"


def both_addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the name both.example have the addresses of the returned list, which may be changed."""
    addresses = ["::1", "127.0.0.1"]

    async def look_up(loop: object, host: str, port: int) -> list[str]:
        assert host == "both.example"
        return list(addresses)

    monkeypatch.setattr("coprocess.grpc.link.look_up", look_up)
    return addresses


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_round_robin_uses_every_address_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()

    async def main() -> None:
        addresses = both_addresses(monkeypatch)
        async with driving(f"dns:///both.example:{port}", round_robin=True, resolve_interval=1) as driver:
            await until(lambda: driver.counts()["connections"] == 2)
            said = [(await tell(driver, b"count")).message for _ in range(8)]
            assert sorted(said) == sorted([b"%d 0" % n for n in range(1, 5)] * 2), "each server gets half of the calls"
            addresses.remove("::1")
            await until(lambda: driver.counts()["connections"] == 1)
            for _ in range(4):
                assert (await tell(driver)).outcome == "ok"
            addresses.append("::1")
            await until(lambda: driver.counts()["connections"] == 2)

    with child(*grpcio("aio", f"[::1]:{port}")), child(*grpcio("aio", f"127.0.0.1:{port}")):
        drive(main())


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_round_robin_goes_on_with_the_servers_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()

    async def main() -> None:
        both_addresses(monkeypatch)
        async with driving(f"dns:///both.example:{port}", round_robin=True) as driver:
            await until(lambda: driver.counts()["connections"] == 2)
            first.kill()
            await until(lambda: driver.counts()["connections"] == 1)
            for _ in range(6):
                assert (await tell(driver)).outcome == "ok"
            second.kill()
            await until(lambda: driver.state().status == "down")
            assert (await tell(driver)).outcome == "away"

    with child(*grpcio("aio", f"[::1]:{port}")) as first, child(*grpcio("aio", f"127.0.0.1:{port}")) as second:
        drive(main())
