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

    Longer lines than `longest` bytes are cut there. Empty lines are not logged, but count. What is over the rate is counted
    in `dropped`, and said when lines are logged again. `last` is the newest line, logged or not.
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
        """Take what was read. now: seconds on any clock that only goes forward.

        The work is bounded by the rate, too: lines over it are counted, not looked at one by one.
        """
        if now - self._window >= 1.0:
            self._window = now
            self._left = self._rate
            self._say_dropped()
        begin = 0
        while self._left > 0 and (end := data.find(b"\n", begin)) >= 0:
            self._take(data, begin, end)
            self._left -= 1
            self._log_last(self._line())
            begin = end + 1
        if over := data.count(b"\n", begin):
            self.dropped += over
            self._silent += over
            end = data.rfind(b"\n")
            before = data.rfind(b"\n", begin, end) + 1
            self._take(data, max(begin, before), end)
            self._line()
            begin = end + 1
        self._take(data, begin, len(data))

    def close(self) -> None:
        """The end: a last line needs no newline, and what was dropped is said."""
        self._log_last(self._line())
        self._say_dropped()

    def _take(self, data: bytes, begin: int, end: int) -> None:
        """Add to the line that is not whole yet."""
        room = self._longest - len(self._partial)
        self._cut = self._cut or end - begin > room
        self._partial += data[begin : min(end, begin + room)]

    def _line(self) -> bool:
        """The line is whole. False if nothing stands in it."""
        text = printable(self._partial.rstrip(b"\r"))
        if text:
            self.last = text + " (cut)" if self._cut else text
        self._partial = b""
        self._cut = False
        return bool(text)

    def _log_last(self, there: bool) -> None:
        if there:
            self._log("info", f"{self._prefix}: {self.last}")

    def _say_dropped(self) -> None:
        if self._silent:
            self._log("warning", f"{self._prefix}: {self._silent} lines of its standard error were dropped")
            self._silent = 0
