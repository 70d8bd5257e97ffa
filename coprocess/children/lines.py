"""What a child writes to its standard error, as bounded log lines."""

from __future__ import annotations

from collections.abc import Callable

Log = Callable[[str, str], None]
"""(level, text); level is "debug", "info", "warning" or "error"."""


def printable(raw: bytes) -> str:
    """One line that can do nothing to a log: UTF-8 where it is, all else and all control characters as escapes."""
    text = raw.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii") for c in text)


class LineLog:
    """Cuts bytes into lines and logs `rate` of them per second.

    Longer lines than `longest` bytes are cut there. What is over the rate is counted in `dropped`, and said once the next
    line may be logged again. `last` is the newest line, logged or not.
    """

    __slots__ = ("_cut", "_left", "_log", "_longest", "_partial", "_prefix", "_rate", "_silent", "_window", "dropped", "last")

    def __init__(self, prefix: str, log: Log, longest: int, rate: int) -> None:
        self._prefix = prefix
        self._log = log
        self._longest = longest
        self._rate = rate
        self._partial = b""
        self._cut = False
        self._window = float("-inf")
        self._left = 0
        self._silent = 0
        self.dropped = 0
        self.last = ""

    def feed(self, data: bytes, now: float) -> None:
        """Take what was read. now: seconds on any clock that only goes forward."""
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._line(self._partial + line[: self._longest], now, self._cut or len(line) > self._longest)
            self._partial = b""
            self._cut = False
        room = self._longest - len(self._partial)
        self._cut = self._cut or len(rest) > room
        self._partial += rest[: max(0, room)]

    def close(self, now: float) -> None:
        """The end: a last line needs no newline, and what was dropped is said."""
        if self._partial:
            self._line(self._partial, now, self._cut)
            self._partial = b""
        self._say_dropped()

    def _line(self, raw: bytes, now: float, cut: bool) -> None:
        text = printable(raw[: self._longest].rstrip(b"\r"))
        if not text:
            return
        self.last = text + " (cut)" if cut or len(raw) > self._longest else text
        if now - self._window >= 1.0:
            self._window = now
            self._left = self._rate
            self._say_dropped()
        if self._left > 0:
            self._left -= 1
            self._log("info", f"{self._prefix}: {self.last}")
        else:
            self.dropped += 1
            self._silent += 1

    def _say_dropped(self) -> None:
        if self._silent:
            self._log("warning", f"{self._prefix}: {self._silent} lines of its standard error were dropped")
            self._silent = 0
