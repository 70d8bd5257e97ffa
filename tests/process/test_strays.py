"""Processes that plugins have started by themselves do not outlive their worker, however it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from core.process.strays import kill_session
from tests.support.gateway import Json, api, running, wait_for
from tests.support.upstream import Upstream

PLUGIN = """
import subprocess, sys
more = [subprocess.Popen(["sleep", "600"], process_group=group).pid for group in (None, 0)]
open(sys.argv[1], "a").write("".join(f"{pid}\\n" for pid in more))
for line in sys.stdin:
    pass
"""


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_what_plugins_have_started_ends_with_a_worker_that_is_killed(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    record = tmp_path / "record"
    record.touch()
    server: Json = {"driver": "jsonrpc", "command": [sys.executable, str(tmp_path / "plugin.py"), str(record)]}
    conf: Json = {"coprocess_options": {"enable_coprocess": True}, "preforge": {"plugins": {"servers": {"it": server}}}}

    def started() -> list[int]:
        return [int(line) for line in record.read_text().splitlines()]

    with running(tmp_path / "gateway", [api("one", "/one/", upstream.url)], conf) as gateway:
        wait_for(lambda: len(started()) == 2, "the plugin has started others")
        (worker,) = gateway.workers()
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: len(started()) == 4, "another worker has another plugin")
        first, second = started()[:2], started()[2:]
        wait_for(lambda: all(map(ended, first)), "they are gone")
        assert not any(map(ended, second))
        assert gateway.fetch("/one/x").status == 200
    wait_for(lambda: all(map(ended, second)), "those of the other worker, too")


def test_only_the_session_of_the_leader_is_ended() -> None:
    # A leader that is dead and not reaped, with a process of its own; and one beside it.
    leader = subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; exit"], start_new_session=True, stdout=subprocess.PIPE)
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    assert leader.stdout is not None
    try:
        stray = int(leader.stdout.readline())
        assert kill_session(leader.pid) >= 1
        wait_for(lambda: ended(stray), "the process of the session")
        assert not ended(other.pid)
        assert kill_session(leader.pid) == 0
    finally:
        other.kill()
        other.wait()
        leader.wait()
        leader.stdout.close()
