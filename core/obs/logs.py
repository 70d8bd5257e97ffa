"""Set-up of the standard logging module: one handler, one line per record, safe to show in a terminal.

Levels and formats: tyk-core section 1.2, `log_level` and `log_format`. The key names of a JSON line are those
of Tyk (level, msg, prefix, time). A module logs with ``logging.getLogger("preforge.<prefix>")`` and passes
values as ``extra={"fields": {...}}``.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

LEVELS: Mapping[str, int] = {
    "": logging.INFO,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
FORMATS = ("text", "json", "legacy")
ROOT = "preforge"
MAX_TEXT = 16384
REDACTED = "[redacted]"

_LEVEL_NAMES = {logging.WARNING: "warning", logging.CRITICAL: "fatal"}
_SECRET = re.compile(
    r"secret|passw|authorization|token|api_?key|private_?key|cookie|credential", re.IGNORECASE
)
# C0, DEL and C1 controls, line separators, bidirectional overrides and lone surrogates: each could forge a
# line, hide text in a terminal or be impossible to encode.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BARE = re.compile(r"[A-Za-z0-9._/@+:\[\]%~-]+")


def set_up(level: str = "", format: str = "text", stream: TextIO | None = None) -> logging.Handler:
    """Send the records of all our loggers, and warnings of others, to one stream (default: stderr).

    Returns the handler. Raises ValueError naming the setting for an unknown level or format. Calling it
    again replaces what the previous call had set up.
    """
    if level not in LEVELS:
        raise ValueError(
            f"log_level: {level!r}, expected one of {', '.join(name for name in LEVELS if name)}"
        )
    if format not in ("", *FORMATS):
        raise ValueError(f"log_format: {format!r}, expected one of {', '.join(FORMATS)}")
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(LineFormatter(format or "text"))
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, LineFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(LEVELS[level])
    return handler


class LineFormatter(logging.Formatter):
    """Formats a record as one line of the given format ("text", "json" or "legacy")."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def format(self, record: logging.LogRecord) -> str:
        """Return one line without its end; never raises for a record whose arguments do not fit."""
        if getattr(record, "raw", False):
            return _message(record)     # what scripts write with rawlog (tyk-jsvm 6)
        moment = datetime.fromtimestamp(record.created, UTC)
        level = _LEVEL_NAMES.get(record.levelno, record.levelname.lower())
        prefix = record.name.removeprefix(ROOT + ".")
        if self._kind == "legacy":
            return self._legacy(record, moment, level, prefix)
        entry: dict[str, object] = {
            "time": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z",
            "level": level,
            "prefix": prefix,
            "msg": _message(record),
        }
        entry.update((key, value) for key, value in _fields(record).items() if key not in entry)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)[-MAX_TEXT:]
        if self._kind == "json":
            return _quote(entry)
        return " ".join(f"{_key(key)}={_value(value)}" for key, value in entry.items())

    def _legacy(self, record: logging.LogRecord, moment: datetime, level: str, prefix: str) -> str:
        parts = [f"[{moment:%b %d %H:%M:%S}] {level.upper():>5} {prefix}: {_safe(_message(record))}"]
        parts += [f"{_key(key)}={_value(value)}" for key, value in _fields(record).items()]
        if record.exc_info:
            parts.append(_value(self.formatException(record.exc_info)[-MAX_TEXT:]))
        return " ".join(parts)


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception as error:
        text = f"{record.msg} (arguments do not fit: {type(error).__name__})"
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = getattr(record, "fields", None)
    if not isinstance(fields, Mapping):
        return {}
    return {str(key): _redacted(str(key), value) for key, value in fields.items()}


def _redacted(key: str, value: object) -> object:
    if _SECRET.search(key):
        return REDACTED
    if isinstance(value, Mapping):
        return {str(name): _redacted(str(name), inner) for name, inner in value.items()}
    if isinstance(value, bytes):
        return value[:MAX_TEXT].decode("utf-8", "replace")
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(key, inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:MAX_TEXT]


def _quote(value: object) -> str:
    return _safe(json.dumps(value, ensure_ascii=False))


def _safe(text: str) -> str:
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _quote(key)


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if _BARE.fullmatch(text) else _quote(text)
