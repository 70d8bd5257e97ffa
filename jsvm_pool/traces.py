"""Stack traces of V8 in terms of the files that users know."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from jsvm_pool.program import Program, Source

_PLACE = re.compile(r"preforge(?P<module>-module)?:(?P<number>\d{1,9}):(?P<line>\d{1,9}):(?P<column>\d{1,9})")
_PARSE = re.compile(r"<anonymous>:(\d+): SyntaxError")
MOST_FRAMES = 10
MOST_LINE = 1000  # of a trace, which scripts may have written themselves


def readable(message: str, stack: str, program: Program, starts: Sequence[tuple[int, int]]) -> str:
    """The message, the place where it was thrown, and the calls that led there, one in a line.

    stack: as V8 or the script wrote it; starts: (line, source) where each source begins in the program's text.
    """
    frames = [frame for frame in (_frame(line, program, starts) for line in stack.splitlines()) if frame is not None]
    if not frames:
        return message
    text = f"{message} ({frames[0][1]})"
    for function, place in frames[:MOST_FRAMES]:
        text += f"\n    at {function} ({place})" if function and function != "eval" else f"\n    at {place}"
    return text


def _frame(line: str, program: Program, starts: Sequence[tuple[int, int]]) -> tuple[str, str] | None:
    """(function or "", file:line:column) of one line of a trace, None if it is no place in a script."""
    line = line.strip()
    if not line.startswith("at ") or len(line) > MOST_LINE:
        return None
    match = _PLACE.search(line)
    if match is None:
        return None
    place = _place(match, program, starts)
    if not place:
        return None
    function, bracket, _ = line[3 : match.start()].partition(" (")
    return function if bracket else "", f"{place}:{match['column']}"


def syntax_line(text: str) -> int:
    """The line of an error that `Isolate.parse` found, 0 if it found none. The engine counts one line in front."""
    match = _PARSE.match(text)
    return max(1, int(match[1]) - 1) if match is not None else 0


def _place(match: re.Match[str], program: Program, starts: Sequence[tuple[int, int]]) -> str:
    line = int(match["line"])
    if match["module"]:
        number = int(match["number"])
        # The engine puts two lines in front of the text of a function.
        return f"{program.modules[number].name}:{max(1, line - 2)}" if number < len(program.modules) else ""
    at = bisect_right([start for start, _ in starts], line) - 1
    if at < 0:
        return ""
    start, source = starts[at]
    return f"{program_sources(program)[source].name}:{line - start + 1}"


def program_sources(program: Program) -> tuple[Source, ...]:
    """The sources as the runtime numbers them: the library first."""
    return program.sources if program.library is None else (program.library, *program.sources)
