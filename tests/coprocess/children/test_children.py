"""A supervised child: it gets its bytes, it is replaced, and it leaves nothing behind however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coprocess.children import ChildSettings, LineLog, split_command
from coprocess.children.lines import printable
from coprocess.children.spawn import spawn
from tests.coprocess.children.child_support import Kept, alive, descriptors, gone, python, until, with_child

ECHO = python("import sys\nfor line in sys.stdin.buffer: sys.stdout.buffer.write(line); sys.stdout.buffer.flush()")
DESCRIPTORS = """
import os, sys
for fd in range(200):
    try:
        os.fstat(fd)
        print(fd, end=" ")
    except OSError:
        pass
print()
sys.stdin.read()
"""
ORDERLY = """
import signal, sys
def end(*_):
    print("bye", file=sys.stderr)
    sys.exit(4)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True:
    signal.pause()
"""
FLOOD = """
import sys, threading
def flood():
    while True:
        sys.stderr.write("x" * 60 + "\\n")
threading.Thread(target=flood, daemon=True).start()
for line in sys.stdin:
    print(line, end="")
"""


def test_bytes_go_in_and_come_out_in_order() -> None:
    async def use(kept: Kept) -> None:
        for i in range(1000):
            assert kept.child.write(b"%d" % i, b"\n")
        await until(lambda: kept.heard.text.count(b"\n") == 1000)
        assert kept.heard.text == b"".join(b"%d\n" % i for i in range(1000))
        assert kept.child.status == "up"

    kept = with_child(use, ECHO)
    assert kept.heard.starts == 1
    assert kept.heard.losses == ["exited with status 0"]


def test_twenty_megabytes_pass_and_the_loop_goes_on() -> None:
    body = os.urandom(1 << 20).hex().encode() * 10 + b"\n"
    turns = 0

    async def use(kept: Kept) -> None:
        nonlocal turns
        assert kept.child.write(body)
        while len(kept.heard.text) < len(body):
            turns += 1
            await asyncio.sleep(0)
        assert kept.heard.text == body

    with_child(use, ECHO)
    assert turns > 20


def test_a_child_that_does_not_read_is_not_given_more_than_the_bound() -> None:
    async def use(kept: Kept) -> None:
        child = kept.child
        assert child.write(b"x" * (4 << 20)), "one message may be over it"
        assert not child.write(b"y")
        child.kill("does not read")
        await until(lambda: kept.heard.starts == 2)
        assert child.unsent == 0
        assert child.write(b"y")

    kept = with_child(use, python("import time; time.sleep(60)"), max_unsent=1 << 20, grace=0.1)
    assert kept.heard.losses[0] == "does not read"


def test_only_three_descriptors_reach_the_child() -> None:
    with open(os.devnull, "rb") as extra:
        os.set_inheritable(extra.fileno(), True)

        async def use(kept: Kept) -> None:
            await until(lambda: kept.heard.text.endswith(b"\n"))

        kept = with_child(use, python(DESCRIPTORS))
    assert kept.heard.text == b"0 1 2 \n"


def test_a_child_inherits_no_blocked_or_ignored_signal_and_leads_a_group() -> None:
    async def use(kept: Kept) -> None:
        await until(lambda: kept.heard.text.count(b"\n") >= 1)
        pid, group, *masks = kept.heard.text.split()
        assert pid == group
        # Signals 32 and 33 are the C library's own, and nothing resets them.
        assert [int(mask, 16) & ~0x180000000 for mask in masks] == [0, 0]

    program = (
        "status=$(cat /proc/$$/status); field() { printf '%s\\n' \"$status\" | sed -n \"s/^$1:[[:space:]]*//p\"; }; "
        "printf '%s %s %s %s\\n' $$ $(cut -d' ' -f5 /proc/$$/stat) $(field SigBlk) $(field SigIgn); cat"
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        with_child(use, ("sh", "-c", program))
        assert signal.SIGUSR1 in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "the parent's own mask stays"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_the_gateways_own_variables_are_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TYK_GW_SECRET", "352d20ee")
    monkeypatch.setenv("PLAIN", "kept")

    async def use(kept: Kept) -> None:
        await until(lambda: b"END=1" in kept.heard.text)

    kept = with_child(use, ("sh", "-c", "env; echo END=1; cat"), env={"ADDED": "a b"})
    assert b"PLAIN=kept\n" in kept.heard.text
    assert b"ADDED=a b\n" in kept.heard.text
    assert b"352d20ee" not in kept.heard.text


def test_the_working_directory_counts_for_the_program_too(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\npwd\ncat\n")
    (tmp_path / "run.sh").chmod(0o755)

    async def use(kept: Kept) -> None:
        await until(lambda: kept.heard.text.endswith(b"\n"))
        assert kept.heard.text == f"{tmp_path}\n".encode()

    with_child(use, ("./run.sh",), cwd=str(tmp_path))


@pytest.mark.parametrize(
    ("argv", "cwd", "expected"),
    [
        (("no-such-program-here",), "", "there is no such program in PATH: 'no-such-program-here'"),
        (("/nowhere/x",), "", "its program cannot be run: No such file or directory: '/nowhere/x'"),
        (("/etc",), "", "its program cannot be run: Permission denied: '/etc'"),
        (("sh",), "/nowhere", "its working directory cannot be entered: No such file or directory: '/nowhere'"),
        (("sh", "a\0b"), "", "argv: a NUL byte cannot be passed to a process"),
    ],
)
def test_what_cannot_be_started_says_why_and_is_tried_again(argv: tuple[str, ...], cwd: str, expected: str) -> None:
    async def use(kept: Kept) -> None:
        assert kept.child.status == "down"
        assert not kept.child.write(b"x")
        await until(lambda: kept.child.restarts >= 2)
        assert expected in kept.child.detail

    kept = with_child(use, argv, cwd=cwd)
    assert kept.heard.starts == 0
    assert kept.heard.losses == []


def test_a_child_that_dies_at_its_start_is_tried_less_and_less_often() -> None:
    async def use(kept: Kept) -> None:
        await until(lambda: len(kept.heard.losses) == 4)
        await until(lambda: kept.child.pid == 0)
        assert kept.child.status == "down"
        assert kept.child.detail == "exited with status 3; it said last: no license"

    kept = with_child(use, ("sh", "-c", "echo no license >&2; exit 3"), settle=60.0)
    delays = [float(text.rsplit(" ", 2)[1]) for level, text in kept.log if level == "warning"]
    assert len(delays) >= 4
    for delay, longest in zip(delays, (0.01, 0.02, 0.04, 0.08), strict=False):
        assert longest * 0.8 - 0.01 <= delay <= longest


def test_back_off_ends_at_its_bound_and_starts_over_once_a_child_has_proved_itself(tmp_path: Path) -> None:
    async def use(kept: Kept) -> None:
        await until(lambda: len(kept.heard.losses) == 5)
        (tmp_path / "go").touch()
        await until(lambda: kept.child.status == "unsure" and kept.child.pid > 0 and alive(kept.child.pid))
        kept.child.write(b"x")
        await until(lambda: kept.heard.text == b"x")
        kept.child.proven()
        assert kept.child.status == "up"
        kept.child.kill("enough")
        starts = kept.heard.starts
        await until(lambda: kept.heard.starts > starts)

    kept = with_child(use, ("sh", "-c", "test -e go && exec cat; exit 1"), cwd=str(tmp_path), settle=60.0, backoff_max=0.04)
    delays = [float(text.rsplit(" ", 2)[1]) for level, text in kept.log if level == "warning"]
    assert max(delays) <= 0.04
    assert delays[-1] <= 0.01


def test_death_by_a_signal_is_named() -> None:
    async def use(kept: Kept) -> None:
        os.kill(kept.child.pid, signal.SIGSEGV)
        await until(lambda: kept.heard.starts == 2)

    kept = with_child(use, ECHO)
    assert kept.heard.losses[0] == "ended by SIGSEGV"


def test_what_it_said_before_it_died_is_heard_before_its_death() -> None:
    async def use(kept: Kept) -> None:
        await until(lambda: bool(kept.heard.losses))
        assert kept.heard.text.startswith(b"y" * 200_000)

    with_child(use, python("import os,sys; sys.stdout.write('y'*200000); sys.stdout.flush(); os._exit(0)"), settle=60.0)


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import os,time; os.close(1); time.sleep(60)", "closed its standard output"),
        ("import os,time; os.close(0); time.sleep(60)", "closed its standard input"),
    ],
)
def test_a_child_that_closes_a_pipe_is_replaced(program: str, why: str) -> None:
    async def use(kept: Kept) -> None:
        while not kept.heard.losses:
            kept.child.write(b"x")
            await until(lambda: kept.child.unsent == 0)
            await asyncio.sleep(0.005)
        await until(lambda: kept.heard.starts == 2)

    kept = with_child(use, python(program), grace=0.1)
    assert kept.heard.losses[0] == why


def test_closed_standard_error_is_no_fault() -> None:
    async def use(kept: Kept) -> None:
        kept.child.write(b"x\n")
        await until(lambda: kept.heard.text == b"x\n")

    kept = with_child(use, ("sh", "-c", "exec 2>&-; cat"))
    assert kept.heard.losses == ["exited with status 0"]


def test_one_that_ignores_sigterm_and_the_end_of_input_is_killed_with_all_it_has_started() -> None:
    async def use(kept: Kept) -> None:
        await until(lambda: kept.heard.text.endswith(b"\n"))

    program = "trap '' TERM; (trap '' TERM; sleep 600) & echo $!; while :; do wait; sleep 600; done"
    kept = with_child(use, ("sh", "-c", program), grace=0.1)
    assert kept.heard.losses == ["did not end by itself"]
    assert gone(int(kept.heard.text))


def test_what_a_dead_child_has_left_in_its_group_is_killed() -> None:
    async def use(kept: Kept) -> None:
        await until(lambda: bool(kept.heard.losses))
        assert gone(int(kept.heard.text))

    with_child(use, ("sh", "-c", "sleep 600 & echo $!"), settle=60.0)


def test_one_that_handles_sigterm_may_end_in_order() -> None:
    async def use(kept: Kept) -> None:
        await until(lambda: kept.heard.text == b"ready\n")

    kept = with_child(use, python(ORDERLY), grace=3.0)
    assert kept.heard.losses == ["exited with status 4"]
    assert kept.lines() == ["bye"]


def test_standard_error_is_logged_in_bounded_lines_that_cannot_forge_the_log() -> None:
    async def use(kept: Kept) -> None:
        await until(lambda: len(kept.lines()) == 3)

    program = "printf 'plain\\n\\n\\033[31mred\\377\\r\\n%0100d\\nlast' 7 >&2; cat"
    kept = with_child(use, ("sh", "-c", program), log_line=20)
    assert kept.lines() == ["plain", "\\x1b[31mred\\xff", "0" * 20 + " (cut)", "last"]


def test_a_flood_of_standard_error_is_bounded_and_counted() -> None:
    async def use(kept: Kept) -> None:
        await until(lambda: kept.child.lines_dropped > 1000)
        kept.child.write(b"still there\n")
        await until(lambda: kept.heard.text == b"still there\n")

    kept = with_child(use, python(FLOOD), log_rate=5, log_bytes=1 << 18, grace=0.1)
    assert len(kept.lines()) < 5 * 25
    assert any("lines of its standard error were dropped" in text for level, text in kept.log if level == "warning")


def test_a_line_without_an_end_takes_no_memory() -> None:
    async def use(kept: Kept) -> None:
        await until(lambda: bool(kept.lines()))

    program = "import sys; sys.stderr.write('z'*3_000_000+'\\nafter\\n'); sys.stdin.read()"
    kept = with_child(use, python(program), log_bytes=8 << 20)
    assert kept.lines()[0] == "z" * 4096 + " (cut)"


PARENT = """
import asyncio, os, sys
from coprocess.children import ChildSettings, SupervisedChild

class Listener:
    def started(self): pass
    def received(self, data): pass
    def lost(self, why): pass

async def main():
    program = "trap '' TERM HUP; exec sleep 600"
    child = SupervisedChild(ChildSettings("c", ("sh", "-c", program)), Listener(), lambda level, text: None)
    child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_parent_that_is_killed_takes_its_children_with_it() -> None:
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.kill()
    assert gone(pid)


def test_a_failed_spawn_leaves_no_descriptor() -> None:
    before = descriptors()
    with pytest.raises(ValueError, match="fds"):
        spawn("/bin/true", ("true",), {}, "", (0,))
    for _ in range(3):
        with pytest.raises(OSError, match="its program cannot be run"):
            spawn("/nowhere", ("x",), {}, "", (0, 1, 2))
    with pytest.raises(OSError, match="Bad file descriptor"):
        spawn("/bin/true", ("true",), {}, "", (0, 1, 9999))
    assert descriptors() == before


def logged(pieces: list[bytes], longest: int = 10, rate: int = 3) -> tuple[list[str], LineLog]:
    """What a LineLog makes of pieces that come in one second."""
    said: list[str] = []
    log = LineLog("p", lambda _, text: said.append(text.removeprefix("p: ")), longest, rate)
    for piece in pieces:
        log.feed(piece, 5.0)
    log.close()
    return said, log


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\n\n", b"x" * 12, b"\r\n", b"d\ne\n"]), max_size=20))
def test_lines_are_the_same_however_they_are_cut(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    said, log = logged(pieces)
    assert said == logged([whole])[0] == logged([bytes([b]) for b in whole])[0]
    *lines, rest = whole.split(b"\n")
    shown = [line for line in (*lines[:3], rest) if line.rstrip(b"\r")]
    assert said[: len(shown)] == [printable(line[:10].rstrip(b"\r")) + " (cut)" * (len(line) > 10) for line in shown]
    assert log.dropped == max(0, len(lines) - 3)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"argv": ()}, "argv"),
        ({"backoff_min": 0.0}, "backoff_min"),
        ({"backoff_min": 20.0}, "backoff_min"),
        ({"grace": -1.0}, "grace"),
        ({"max_unsent": 0}, "max_unsent"),
        ({"log_rate": 0}, "log_rate"),
    ],
)
def test_wrong_settings_name_their_field(change: dict[str, object], field: str) -> None:
    given: dict[str, object] = {"name": "n", "argv": ("x",)} | change
    with pytest.raises(ValueError, match=f"^{field}: "):
        ChildSettings(**given)  # type: ignore[arg-type]


def test_a_command_line_is_split_without_a_shell() -> None:
    assert split_command("python3 'my plugin.py' --x=\"a b\" ; $HOME") == ("python3", "my plugin.py", "--x=a b", ";", "$HOME")
    assert split_command(["a b", "c"]) == ("a b", "c")
    for wrong in ("", "  ", [], [""]):
        with pytest.raises(ValueError, match=r"^command: "):
            split_command(wrong)
    with pytest.raises(ValueError, match="quotation"):
        split_command("a 'b")


def test_one_that_cannot_be_watched_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(pid: int) -> int:
        raise OSError(24, "Too many open files")

    async def use(kept: Kept) -> None:
        assert kept.child.status == "down"
        assert "Too many open files" in kept.child.detail

    monkeypatch.setattr(os, "pidfd_open", refuses)
    kept = with_child(use, ECHO, backoff_min=10.0)
    assert kept.heard.starts == 0


def test_stopping_twice_at_once_is_stopping_once() -> None:
    async def use(kept: Kept) -> None:
        await asyncio.gather(kept.child.stop(), kept.child.stop())
        assert kept.child.status == "stopped"
        assert kept.child.pid == 0

    assert with_child(use, ECHO).heard.losses == ["exited with status 0"]
