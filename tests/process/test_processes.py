"""Master and workers as real processes: what dies is replaced, what changes takes effect, nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.process import forkguard
from core.process.backoff import delay
from tests.support.gateway import ROOT, Gateway, api, running, wait_for
from tests.support.upstream import Upstream

MAIN = "import sys; from core.cli import main; sys.exit(main())"


def preforge(gateway: Gateway, verb: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run `preforge VERB --conf ...` as a user would."""
    return subprocess.run(
        [sys.executable, "-c", MAIN, verb, "--conf", str(gateway.conf_path), *more],
        cwd=gateway.directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def status(gateway: Gateway) -> dict[str, Any]:
    done = preforge(gateway, "status", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def pids(gateway: Gateway) -> dict[int, int]:
    """slot -> pid of the workers that are ready."""
    return {w["slot"]: w["pid"] for w in status(gateway)["workers"] if w["state"] == "ready"}


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def gateway(tmp_path: Path, upstream: Upstream) -> Iterator[Gateway]:
    """Two workers, which a master watches closely."""
    conf = {"preforge": {"workers": 2, "worker_timeout": 3}, "graceful_shutdown_timeout_duration": 5}
    with running(tmp_path / "run", [api("one", "/one/", upstream.url)], conf) as found:
        wait_for(lambda: len(pids(found)) == 2, "both workers are ready")
        yield found


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_dead_worker_is_replaced_and_requests_go_on(gateway: Gateway, name: str) -> None:
    before = pids(gateway)
    os.kill(before[0], signal.Signals[name])
    wait_for(lambda: pids(gateway).get(0) not in (None, before[0]), "slot 0 has a new worker")
    after = pids(gateway)
    assert after[1] == before[1]
    assert all(gateway.fetch("/one/x").status == 200 for _ in range(10))
    assert name in gateway.log()


def test_stuck_worker_is_ended_and_replaced(gateway: Gateway) -> None:
    before = pids(gateway)
    os.kill(before[1], signal.SIGSTOP)
    wait_for(lambda: gone(before[1]), "the stopped worker is killed", 20)
    wait_for(lambda: len(pids(gateway)) == 2, "it is replaced")
    assert "no heartbeat" in gateway.log()


def test_upgrade_keeps_the_process_id_and_replaces_every_worker(gateway: Gateway) -> None:
    first = status(gateway)
    failures: list[int] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            answer = gateway.fetch("/one/x")
            if answer.status != 200:
                failures.append(answer.status)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        upgraded = preforge(gateway, "upgrade")
    finally:
        done.set()
        thread.join()
    assert upgraded.returncode == 0, upgraded.stderr
    second = status(gateway)
    assert second["pid"] == first["pid"]
    assert {w["generation"] for w in second["workers"] if w["state"] == "ready"} == {2}
    assert failures == []


def test_upgrade_keeps_definitions_whose_files_have_become_bad(gateway: Gateway) -> None:
    (gateway.apps / "one.json").write_text("{ broken")
    assert preforge(gateway, "upgrade").returncode == 0
    assert gateway.fetch("/one/x").status == 200
    assert any("one.json" in finding for finding in status(gateway)["findings"])


def test_upgrade_to_what_does_not_start_changes_nothing(gateway: Gateway) -> None:
    before = pids(gateway)
    conf = gateway.conf_path.read_text()
    gateway.conf_path.write_text(json.dumps(json.loads(conf) | {"app_path": 5}))
    os.kill(gateway.pid, signal.SIGUSR2)
    wait_for(lambda: "does not start" in gateway.log(), "the trial fails")
    gateway.conf_path.write_text(conf)
    assert pids(gateway) == before
    assert gateway.fetch("/one/x").status == 200


def test_reload_with_a_bad_configuration_keeps_the_old_one(gateway: Gateway) -> None:
    conf = gateway.conf_path.read_text()
    gateway.conf_path.write_text(json.dumps(json.loads(conf) | {"close_connections": "yes"}))
    os.kill(gateway.pid, signal.SIGHUP)
    wait_for(lambda: "close_connections" in gateway.log(), "the log names the field")
    gateway.conf_path.write_text(conf)
    assert gateway.fetch("/one/x").status == 200
    assert "expected true or false" in status(gateway)["last_reload"]


def test_reload_takes_changed_options_and_says_which_need_a_restart(gateway: Gateway) -> None:
    conf = json.loads(gateway.conf_path.read_text())
    gateway.conf_path.write_text(json.dumps(conf | {"close_connections": True, "log_format": "json"}))
    done = preforge(gateway, "reload")
    assert done.returncode == 0, done.stderr
    assert "$.log_format" in done.stdout
    assert ("Connection", "close") in gateway.fetch("/one/x").headers


def test_blocking_reload_is_over_when_it_answers(gateway: Gateway, upstream: Upstream) -> None:
    for number in range(5):
        gateway.write_api(api("two", f"/two{number}/", upstream.url))
        answer = gateway.fetch("/tyk/reload/?block=true", "X-Tyk-Authorization: test-secret")
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok", "message": ""})
        assert [gateway.fetch(f"/two{number}/x").status for _ in range(8)] == [200] * 8


def test_workers_end_when_the_master_is_killed(tmp_path: Path, upstream: Upstream) -> None:
    gateway = Gateway(tmp_path / "run", [api("one", "/one/", upstream.url)], {"preforge": {"workers": 2}})
    gateway.start()
    wait_for(lambda: len(pids(gateway)) == 2, "both workers are ready")
    workers = pids(gateway)
    assert gateway.process is not None
    gateway.process.kill()
    gateway.process.wait()
    wait_for(lambda: all(gone(pid) for pid in workers.values()), "the workers have ended", 30)
    assert len(workers) == 2


def test_taken_port_is_named_and_nothing_is_left(tmp_path: Path, gateway: Gateway) -> None:
    other = Gateway(tmp_path / "other", [], {"listen_port": gateway.port})
    done = preforge(other, "start")
    assert done.returncode == 1
    assert f":{gateway.port}" in done.stderr
    assert "another process" in done.stderr
    assert not (other.directory / "gateway.pid").exists()


def test_second_gateway_with_the_same_pid_file_is_refused(gateway: Gateway) -> None:
    done = preforge(gateway, "start", "--port", str(gateway.port + 1))
    assert done.returncode == 1
    assert str(gateway.pid) in done.stderr
    assert gateway.fetch("/one/x").status == 200


def test_daemon_returns_when_it_serves_and_stops(tmp_path: Path, upstream: Upstream) -> None:
    gateway = Gateway(tmp_path / "run", [api("one", "/one/", upstream.url)])
    done = preforge(gateway, "start", "--daemon")
    assert done.returncode == 0, done.stderr
    assert gateway.fetch("/one/x").status == 200
    pid = status(gateway)["pid"]
    assert preforge(gateway, "stop").returncode == 0
    assert gone(pid)
    assert preforge(gateway, "status").returncode == 3


def test_daemon_that_cannot_start_says_so(tmp_path: Path, gateway: Gateway) -> None:
    other = Gateway(tmp_path / "other", [], {"listen_port": gateway.port})
    done = preforge(other, "start", "--daemon")
    assert done.returncode != 0
    assert "another process" in done.stderr


def test_one_socket_for_all_workers_serves_too(tmp_path: Path, upstream: Upstream) -> None:
    conf = {"preforge": {"workers": 2, "listener": "shared"}}
    with running(tmp_path / "run", [api("one", "/one/", upstream.url)], conf) as gateway:
        wait_for(lambda: len(pids(gateway)) == 2, "both workers are ready")
        assert all(gateway.fetch("/one/x").status == 200 for _ in range(20))


def test_control_port_keeps_administration_off_the_main_port(tmp_path: Path, upstream: Upstream) -> None:
    from tests.support.gateway import free_port
    from tests.support.wire import fetch

    port = free_port()

    def ready(_: Gateway) -> bool:
        try:
            return fetch(("127.0.0.1", port), "/hello").status == 200
        except OSError:
            return False

    conf = {"control_api_port": port}
    with running(tmp_path / "run", [api("one", "/one/", upstream.url)], conf, ready=ready) as gateway:
        assert gateway.fetch("/hello").status == 404
        assert gateway.fetch("/one/x").status == 200
        assert fetch(("127.0.0.1", port), "/one/x").status == 404


def test_control_socket_is_for_its_owner_only(gateway: Gateway) -> None:
    path = gateway.directory / "preforge.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b'{"verb": "dance"}\n')
        assert json.loads(client.recv(4096)) == {"ok": False, "error": "unknown verb 'dance'"}


def test_status_shows_every_worker(gateway: Gateway) -> None:
    gateway.fetch("/one/x")
    found = status(gateway)
    assert found["state"] == "running"
    for worker in found["workers"]:
        assert set(worker) >= {"pid", "slot", "generation", "state", "uptime", "connections", "requests", "memory"}
        assert worker["memory"]["pss"] > 0
    assert sum(worker["requests"] for worker in found["workers"]) >= 1


def test_service_manager_is_told(tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(15)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        gateway = Gateway(tmp_path / "run", [api("one", "/one/", upstream.url)])
        gateway.start()
        ready = manager.recv(4096).decode()
        gateway.stop()
        assert "READY=1" in ready
        assert f"MAINPID={gateway.process.pid if gateway.process else ''}" in ready
        assert manager.recv(4096) == b"STOPPING=1"


def test_fork_is_refused_with_a_second_thread() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    try:
        with pytest.raises(forkguard.ForkRefused, match="threads"):
            forkguard.check()
    finally:
        release.set()
        thread.join()


def test_crash_loop_backs_off_up_to_the_bound() -> None:
    waits = [delay(failures, 30) for failures in range(12)]
    assert waits[:2] == [0.0, 0.0]
    assert waits[2:5] == [0.5, 1.0, 2.0]
    assert max(waits) == 30


def test_lint_binds_nothing_and_tells_by_its_exit_code(gateway: Gateway) -> None:
    assert preforge(gateway, "lint").returncode == 0
    (gateway.apps / "bad.json").write_text('{"api_id": 5}')
    done = preforge(gateway, "lint")
    assert done.returncode == 1
    assert "bad.json: $.api_id" in done.stdout
    assert gateway.fetch("/one/x").status == 200
