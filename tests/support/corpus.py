r"""Reading the raw-message corpus: one file per case.

A file starts with `name: value` lines (indented lines belong to the line above them) and a blank line. Then
come the bytes, with \r \n \t \\ and \xNN spelled out and \{COUNT*TEXT} for repetition; the line ends of the
file itself do not count, so that a message can be read line by line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
ESCAPE = re.compile(r"\\(?:\{(\d+)\*([^}]*)\}|x([0-9a-f]{2})|([rnt\\]))")
PLAIN = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


def unescape(text: str) -> bytes:
    """The bytes that an escaped text stands for; ValueError for an escape that does not exist."""

    def one(match: re.Match[str]) -> str:
        if match[1]:
            return int(match[1]) * unescape(match[2]).decode("latin-1")
        return chr(int(match[3], 16)) if match[3] else PLAIN[match[4]]

    if "\\" in ESCAPE.sub("", text):
        raise ValueError(f"unknown escape in {text!r}")
    return ESCAPE.sub(one, text).encode("latin-1")


@dataclass
class Line:
    """One line of a case's header with the lines indented below it."""

    value: str
    below: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Values of the indented lines with a name."""
        return [v for n, v in self.below if n == name]


@dataclass
class Case:
    """A message and what must become of it."""

    name: str
    lines: list[tuple[str, Line]]
    data: bytes

    def all(self, name: str) -> list[Line]:
        """Every header line with a name, in order."""
        return [line for n, line in self.lines if n == name]

    def get(self, name: str, default: str = "") -> str:
        """The value of a header line that stands at most once."""
        found = self.all(name)
        assert len(found) < 2, f"{self.name}: {name} stands {len(found)} times"
        return found[0].value if found else default

    def positions(self, most: int = 200) -> list[int]:
        """Where to split: everywhere in a short message; in a long one near both ends and in even steps."""
        size = len(self.data)
        if size <= 2 * most:
            return list(range(1, size))
        near = most // 3
        return sorted({*range(1, near), *range(near, size - near, size // near), *range(size - near, size)})


def read(path: Path) -> Case:
    """Read one file of the corpus."""
    header, _, body = path.read_text(encoding="utf-8").partition("\n\n")
    lines: list[tuple[str, Line]] = []
    for text in header.split("\n"):
        name, colon, value = text.partition(":")
        assert colon, f"{path}: no colon in {text!r}"
        value = value.removeprefix(" ")
        if name.startswith("  "):
            lines[-1][1].below.append((name.strip(), value))
        else:
            lines.append((name, Line(value)))
    return Case(path.stem, lines, unescape(body.replace("\n", "")))


def cases(folder: str) -> list[Case]:
    """All cases of `requests/valid` and so on, by name."""
    found = [read(path) for path in sorted((CORPUS / folder).glob("*.http"))]
    assert found, f"no cases in {folder}"
    return found
