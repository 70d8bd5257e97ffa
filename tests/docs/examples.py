"""Examples of a Markdown document: files that it shows, and commands with what they print."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.gateway import ROOT, Json

_BLOCK = re.compile(r"(?:^`(?P<file>[\w./-]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SPACE = re.compile(r"[ \t]+$", re.MULTILINE)
_TIME = re.compile(r"\d+\.\d{3} ms")
_PROGRAM = '#!/bin/sh\nexec "{python}" -m core "$@"\n'
GATEWAY = "127.0.0.1:8080"      # where documents say that it listens
SECONDS = 15.0                  # for what happens behind a request's back


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a block and what the document says that it prints. at: line in the document."""

    text: str
    printed: str
    at: int


@dataclass(frozen=True, slots=True)
class Document:
    """files: name -> text of blocks that stand behind a line with only a name in backquotes; commands: of console blocks."""

    files: dict[str, str]
    commands: tuple[Command, ...]

    def definitions(self) -> list[Json]:
        """The API definitions that it shows."""
        return [json.loads(text) for name, text in self.files.items() if name.startswith("apps/")]

    def put(self, directory: Path, address: str) -> None:
        """Write the files. address: where the gateway listens in truth."""
        for name, text in self.files.items():
            if not name.startswith("apps/") and name != "tyk.conf":
                place = directory / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text.replace(GATEWAY, address))


def read(path: Path) -> Document:
    """Read a document."""
    files: dict[str, str] = {}
    commands: list[Command] = []
    whole = path.read_text()
    for block in _BLOCK.finditer(whole):
        text = block["text"]
        if block["file"]:
            assert block["file"] not in files, f"{path}: {block['file']} stands there twice"
            files[block["file"]] = text
        elif block["kind"] == "console":
            line = whole.count("\n", 0, block.start("text")) + 1
            commands += _commands(text, line)
    return Document(files, tuple(commands))


def _commands(text: str, line: int) -> list[Command]:
    found: list[Command] = []
    for number, shown in enumerate(text.splitlines(keepends=True)):
        if shown.startswith("$ "):
            found.append(Command(shown[2:].rstrip("\n"), "", line + number))
        else:
            last = found[-1]
            found[-1] = Command(last.text, last.printed + shown, last.at)
    return found


class Shell:
    """Runs commands of a document in a directory where `preforge` is the program under test."""

    def __init__(self, directory: Path, address: str) -> None:
        self._directory = directory
        self._address = address
        programs = directory / "bin"
        programs.mkdir()
        (programs / "preforge").write_text(_PROGRAM.format(python=sys.executable))
        (programs / "preforge").chmod(0o755)
        self.environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TERM": "dumb"}

    def run(self, command: str) -> str:
        """What a command prints, on both streams, in the words of a document: without spaces at the ends of lines."""
        ran = subprocess.run(
            ["sh", "-c", f"({command.replace(GATEWAY, self._address)}) 2>&1"],
            cwd=self._directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        text = ran.stdout.decode("utf-8", "replace").replace("\r\n", "\n").replace(self._address, GATEWAY)
        return _SPACE.sub("", text if text.endswith("\n") or not text else text + "\n")

    def printed(self, command: Command) -> str:
        """The same, with times in the place of those that the document shows. What reads a log is asked again until
        it finds what the document shows, or SECONDS have passed."""
        deadline = time.monotonic() + SECONDS
        while True:
            text = self.run(command.text)
            if not command.text.startswith("grep ") or text == command.printed or time.monotonic() > deadline:
                return untimed(text)
            time.sleep(0.05)


def untimed(text: str) -> str:
    """A text without the times in it, which differ from run to run."""
    return _TIME.sub("0.000 ms", text)
