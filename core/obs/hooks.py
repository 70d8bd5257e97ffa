"""Rows of the shared counters that belong to hooks: calls by outcome, and how long they took.

A hook shares the table of the APIs. Its row is named by a mark that no api_id begins with, the API, what kind of hook it is
and how it is called.
"""

from __future__ import annotations

from collections.abc import Iterator

from accel import shm

# Outcome of a call -> the status under which it is counted; the classes of the counters stand for outcomes here.
OUTCOMES = {
    "ok": 200, "error": 500, "long": 500, "too_large": 500, "timeout": 300, "busy": 400, "closed": 400, "disabled": 400,
    "memory": 100, "away": 100,
}  # fmt: skip
LABELS = ("memory", "ok", "timeout", "refused", "error")     # of the classes 1xx to 5xx
PLUGIN_LABELS = ("away", *LABELS[1:])
DRIVERS = {"": "javascript", "g": "grpc", "r": "jsonrpc", "p": "python"}     # the letter of a driver in a row's name

_MARK = "\0hook"
_MOST_API, _MOST_NAME = 60, 36


_LETTERS = {driver: letter for letter, driver in DRIVERS.items()}


def row_name(api_id: str, kind: str, name: str, driver: str = "javascript") -> str:
    """The name of a hook's row. driver: one of DRIVERS."""
    kind += f":{_LETTERS[driver]}" if _LETTERS[driver] else ""
    api = shm.stored_name(api_id).decode("utf-8", "replace")[:_MOST_API]
    return "\0".join((_MARK, api.replace("\0", " "), kind, name.replace("\0", " ")[:_MOST_NAME]))


def is_hook(name: str) -> bool:
    """Whether a row belongs to a hook."""
    return name.startswith(_MARK)


def labels(name: str) -> Iterator[tuple[str, str]]:
    """The labels of a hook's row."""
    api, _, rest = name.removeprefix(_MARK + "\0").partition("\0")
    kind, _, hook = rest.partition("\0")
    kind, _, letter = kind.partition(":")
    return zip(("api_id", "hook", "name", "driver"), (api, kind, hook, DRIVERS.get(letter, "")), strict=True)
