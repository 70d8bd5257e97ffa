"""Rows of the shared counters that belong to hooks: calls by outcome, and how long they took.

A hook shares the table of the APIs. Its row is named by the API, what kind of hook it is and how it is called, on a line
each, so no API can have that name.
"""

from __future__ import annotations

from collections.abc import Iterator

from accel import shm

# Outcome of a call -> the status under which it is counted; the classes of the counters stand for outcomes here.
OUTCOMES = {"ok": 200, "error": 500, "long": 500, "timeout": 300, "busy": 400, "closed": 400, "disabled": 400, "memory": 100}
LABELS = ("memory", "ok", "timeout", "refused", "error")     # of the classes 1xx to 5xx

_MOST_API, _MOST_NAME = 64, 40


def row_name(api_id: str, kind: str, name: str) -> str:
    """The name of a hook's row."""
    api = shm.stored_name(api_id).decode("utf-8", "replace")[:_MOST_API]
    return f"{api}\n{kind}\n{name.replace(chr(10), ' ')[:_MOST_NAME]}"


def is_hook(name: str) -> bool:
    """Whether a row belongs to a hook."""
    return "\n" in name


def labels(name: str) -> Iterator[tuple[str, str]]:
    """The labels of a hook's row."""
    return zip(("api_id", "hook", "name"), name.split("\n", 2), strict=False)
