"""Rows of the shared counters that belong to hooks: calls by outcome, and how long they took.

A hook shares the table of the APIs. Its row is named by a mark that no api_id begins with, the API, what kind of hook it is
and how it is called.
"""

from __future__ import annotations

from collections.abc import Iterator

from accel import shm

# Outcome of a call -> the status under which it is counted; the classes of the counters stand for outcomes here.
OUTCOMES = {"ok": 200, "error": 500, "long": 500, "timeout": 300, "busy": 400, "closed": 400, "disabled": 400, "memory": 100}
LABELS = ("memory", "ok", "timeout", "refused", "error")     # of the classes 1xx to 5xx

_MARK = "\0hook"
_MOST_API, _MOST_NAME = 60, 36


def row_name(api_id: str, kind: str, name: str) -> str:
    """The name of a hook's row."""
    api = shm.stored_name(api_id).decode("utf-8", "replace")[:_MOST_API]
    return "\0".join((_MARK, api.replace("\0", " "), kind, name.replace("\0", " ")[:_MOST_NAME]))


def is_hook(name: str) -> bool:
    """Whether a row belongs to a hook."""
    return name.startswith(_MARK)


def labels(name: str) -> Iterator[tuple[str, str]]:
    """The labels of a hook's row."""
    return zip(("api_id", "hook", "name"), name.removeprefix(_MARK + "\0").split("\0", 2), strict=False)
