"""The embedded store: what was acknowledged is there after any kill, and the gateway goes on while it is away."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.test_processes import gone, preforge, status
from tests.support.gateway import Gateway, api, children, wait_for
from tests.support.keys import ORG, call, keyed, session
from tests.support.upstream import Upstream
from tests.support.wire import Response, WireError

WRITERS = 4
ADMIN = ("X-Tyk-Authorization: test-secret", "Content-Type: application/json")


@pytest.fixture
def gateway(tmp_path: Path, upstream: Upstream) -> Iterator[Gateway]:
    """Two workers; an API that asks for keys, one that does not."""
    apis = [keyed("a", upstream.url), api("free", "/free/", upstream.url)]
    found = Gateway(tmp_path / "run", apis, {"preforge": {"workers": 2}})
    found.start()
    try:
        yield found
    finally:
        found.stop()


def server_pid(gateway: Gateway) -> int:
    """The store's process; 0 while there is none."""
    return int(status(gateway)["storage"]["pid"])


def admin(gateway: Gateway, method: str, key: str, body: Any = None) -> Response:
    raw = json.dumps(body).encode() if body is not None else None
    return gateway.fetch(f"/tyk/keys/{key}", *ADMIN, method=method, body=raw)


def add(gateway: Gateway, key: str) -> bool:
    """Whether a new key was acknowledged."""
    return admin(gateway, "POST", key, session("a", alias=key)).status == 200


class Writers:
    """Threads that add keys and delete every fifth again; they remember what was acknowledged, and go on."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._end = threading.Event()
        self.added: set[str] = set()
        self.deleted: set[str] = set()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _write(self, writer: int) -> None:
        number = 0
        while not self._end.is_set():
            key = f"{ORG}key-{writer}-{number}"
            number += 1
            with contextlib.suppress(OSError, WireError):
                if not add(self._gateway, key):
                    continue
                if number % 5:
                    self.added.add(key)
                elif admin(self._gateway, "DELETE", key).status == 200:
                    self.deleted.add(key)

    def wait(self, more: int) -> None:
        """Until so many further keys have been acknowledged."""
        wanted = len(self.added) + more
        wait_for(lambda: len(self.added) >= wanted, "keys are acknowledged", 40)

    def check(self) -> None:
        """Each acknowledged key is there, each deleted one is not."""
        assert self.added
        assert self.deleted
        for key in self.added:
            assert admin(self._gateway, "GET", key).status == 200, key
        for key in self.deleted:
            assert admin(self._gateway, "GET", key).status == 404, key
        assert call(self._gateway, "/a/x", next(iter(self.added))).status == 200
        assert call(self._gateway, "/a/x", next(iter(self.deleted))).status == 403


def test_acknowledged_keys_survive_kills_of_the_server_under_load(gateway: Gateway) -> None:
    with Writers(gateway) as writers:
        for _ in range(3):
            writers.wait(30)
            killed = server_pid(gateway)
            os.kill(killed, signal.SIGKILL)
            wait_for(lambda: server_pid(gateway) not in (0, killed), "it is started again")  # noqa: B023
        writers.wait(30)
    wait_for(lambda: status(gateway)["store"]["connected"] == 2, "both workers are connected")
    writers.check()
    assert status(gateway)["storage"]["restarts"] == 3
    assert gateway.log().count("the embedded store died: signal SIGKILL") == 3


@pytest.mark.parametrize("server_too", [False, True], ids=["gateway", "gateway-and-server"])
def test_acknowledged_keys_survive_a_kill_of_everything(gateway: Gateway, server_too: bool) -> None:
    with Writers(gateway) as writers:
        writers.wait(100)
        server = server_pid(gateway)
        processes = [pid for pid in (gateway.pid, *children(gateway.pid)) if server_too or pid != server]
        for pid in processes:
            os.kill(pid, signal.SIGKILL)
    assert gateway.process is not None
    gateway.process.wait()
    wait_for(lambda: all(gone(pid) for pid in [*processes, server]), "all have ended")
    gateway.start()
    writers.check()


def test_gateway_goes_on_while_its_store_dies_again_and_again(gateway: Gateway) -> None:
    key = f"{ORG}key"
    assert add(gateway, key)
    for _ in range(4):
        killed = wait_for(lambda: server_pid(gateway), "there is a server")
        os.kill(killed, signal.SIGKILL)
        assert gateway.fetch("/free/x").status == 200
        wait_for(lambda: server_pid(gateway) != killed, "its end is noticed")  # noqa: B023
    wait_for(lambda: call(gateway, "/a/x", key).status == 200, "keys are found again", 40)
    assert wait_for(lambda: status(gateway)["store"]["connected"] == 2, "both workers are connected")
    assert status(gateway)["storage"]["restarts"] >= 4
    assert gateway.fetch("/free/x").status == 200


def test_a_paused_store_delays_nobody_for_long_and_is_used_again_afterwards(gateway: Gateway) -> None:
    key = f"{ORG}key"
    assert add(gateway, key)
    server = server_pid(gateway)
    os.kill(server, signal.SIGSTOP)
    try:
        assert call(gateway, "/a/x", f"{ORG}other").status >= 500
        assert not add(gateway, f"{ORG}third")
        assert gateway.fetch("/free/x").status == 200
        wait_for(lambda: status(gateway)["store"]["connected"] == 0, "the loss is shown")
    finally:
        os.kill(server, signal.SIGCONT)
    wait_for(lambda: add(gateway, f"{ORG}fourth"), "it is used again")
    wait_for(lambda: status(gateway)["store"]["connected"] == 2, "both workers are connected")
    assert call(gateway, "/a/x", key).status == 200
    assert server_pid(gateway) == server


def test_a_file_that_ends_in_half_a_command_is_loaded(gateway: Gateway) -> None:
    key = f"{ORG}key"
    assert add(gateway, key)
    gateway.stop()
    (data,) = (gateway.directory / "preforge-data").glob("appendonlydir/*.incr.aof")
    with data.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nha")
    gateway.start()
    assert call(gateway, "/a/x", key).status == 200
    assert add(gateway, f"{ORG}second")


def test_stop_ends_the_server_and_upgrade_keeps_it(gateway: Gateway) -> None:
    key = f"{ORG}key"
    assert add(gateway, key)
    server = server_pid(gateway)
    assert preforge(gateway, "upgrade").returncode == 0
    assert server_pid(gateway) == server
    assert call(gateway, "/a/x", key).status == 200
    gateway.stop()
    wait_for(lambda: gone(server), "the server has ended")
    gateway.start()
    assert call(gateway, "/a/x", key).status == 200


def test_two_gateways_never_share_a_directory(gateway: Gateway, tmp_path: Path) -> None:
    directory = str(gateway.directory / "preforge-data")
    second = Gateway(tmp_path / "second", [], {"preforge": {"storage": {"data_dir": directory}}})
    done = preforge(second, "start")
    assert done.returncode == 1
    assert f"preforge.storage.data_dir: {directory} is in use by the gateway with pid {gateway.pid}" in done.stderr


def test_status_says_which_store_is_used_and_that_a_reload_does_not_change_it(gateway: Gateway) -> None:
    store = wait_for(lambda: (s := status(gateway)["store"])["connected"] == 2 and s, "both workers are connected")
    assert store == {"kind": "embedded", "address": "this machine", "connected": 2}
    conf = json.loads(gateway.conf_path.read_text())
    gateway.conf_path.write_text(json.dumps({**conf, "storage": {"type": "redis", "host": "127.0.0.1", "port": 1}}))
    done = preforge(gateway, "reload")
    assert done.returncode == 0
    assert "$.storage.host: warning: the change needs a restart" in done.stdout
    before = {worker["pid"] for worker in status(gateway)["workers"]}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    # Workers that are started after the reload use the store that the others use.
    wait_for(lambda: status(gateway)["store"]["connected"] == 2, "both new workers are connected")
    assert not before & {worker["pid"] for worker in status(gateway)["workers"]}
    assert add(gateway, f"{ORG}key")
    assert "store: embedded at this machine, 2 of 2 workers connected" in preforge(gateway, "status").stdout
    gateway.conf_path.write_text(json.dumps({**conf, "storage": {"type": "redis", "addrs": ["bad"]}}))
    done = preforge(gateway, "reload")
    assert done.returncode == 1
    assert "$.storage.addrs[0]: error: expected host:port" in done.stdout + done.stderr
    assert add(gateway, f"{ORG}key")
