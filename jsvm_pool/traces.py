"""Stack traces of V8 in terms of the files that users know."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from jsvm_pool.program import Program, Source

_FRAME = re.compile(r"^\s+at (?:(?P<function>.*?) \()?(?:eval at .*?, )?(?P<place>preforge(?:-module)?:.+?):(?P<line>\d+):(?P<column>\d+)\)?$")
MOST_FRAMES = 10


def readable(message: str, stack: str, program: Program, starts: Sequence[tuple[int, int]]) -> str:
    """The message, the place where it was thrown, and the calls that led there, one in a line."""
    frames = []
    for line in stack.splitlines():
        match = _FRAME.match(line)
        if match is None:
            continue
        place = _place(match["place"], int(match["line"]), program, starts)
        if place:
            function = match["function"] or ""
            frames.append((function, f"{place}:{match['column']}"))
    if not frames:
        return message
    text = f"{message} ({frames[0][1]})"
    for function, place in frames[:MOST_FRAMES]:
        text += f"\n    at {function} ({place})" if function and function != "eval" else f"\n    at {place}"
    return text


def _place(name: str, line: int, program: Program, starts: Sequence[tuple[int, int]]) -> str:
    if name.startswith("preforge-module:"):
        # The engine puts two lines in front of the text of a function.
        return f"{name.partition(':')[2]}:{max(1, line - 2)}"
    at = bisect_right([start for start, _ in starts], line) - 1
    if at < 0:
        return ""
    start, source = starts[at]
    return f"{program_sources(program)[source].name}:{line - start + 1}"


def program_sources(program: Program) -> tuple[Source, ...]:
    """The sources as the runtime numbers them: the library first."""
    return program.sources if program.library is None else (program.library, *program.sources)
