"""The first steps of the README, as somebody takes them who pastes them into a shell."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.examples import Shell
from tests.support.gateway import ROOT, free_port

SET_UP = ("make build", 'export PATH="$PWD/.venv/bin:$PATH"')     # the test has a gateway, and a `preforge` that is it


def script(folder: Path) -> str:
    """All commands of the section, in order, with ports and a folder of the test's own."""
    section = (ROOT / "README.md").read_text().partition("## Five minutes\n")[2].partition("\n## ")[0]
    lines = [line.removeprefix("    ") for line in section.splitlines() if line.startswith("    ")]
    assert tuple(lines[:2]) == SET_UP
    text = "\n".join(lines[2:]).replace("/tmp/tour", str(folder))
    for port in (8080, 9000):
        text = re.sub(rf"\b{port}\b", str(free_port()), text)
    clean = f"kill $(jobs -p); preforge stop --conf {folder}/tyk.conf"
    return f"trap '({clean}) >/dev/null 2>&1 || true' EXIT\nset -e\n{text}\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README uses curl")
def test_the_first_steps_work_as_written(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "")
    text = script(tmp_path / "tour")
    ran = subprocess.run(
        ["bash", "-c", text], env=shell.environ, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    assert ran.stdout.count("HTTP/1.1 200 OK") == 2, said
    assert ran.stdout.count("\nhello\n") == 2, said
    for expected in ("0 errors", "ready", "reloaded", "upgraded", "preforge_apis 1", '"action":"added"', "stopped"):
        assert expected in ran.stdout, said
