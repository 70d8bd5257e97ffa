"""Rows of the shared counters that belong to response caches: one for each API, its requests and answers by outcome.

A cache shares the table of the APIs; its row is named by a mark that no api_id begins with, and the API.
"""

from __future__ import annotations

from enum import IntEnum

from accel import shm


class Outcome(IntEnum):
    """What is counted, and the status under which it is: the classes of the counters stand for outcomes here."""

    HIT = 100
    MISS = 200
    STORED = 300
    TOO_LARGE = 400
    FAILED = 500


LABELS = tuple(outcome.name.lower() for outcome in Outcome)
_MARK = "\0cache\0"
_MOST_API = 100


def row_name(api_id: str) -> str:
    """The name of the row of an API's cache."""
    return _MARK + shm.stored_name(api_id).decode("utf-8", "replace")[:_MOST_API]


def is_cache(name: str) -> bool:
    """Whether a row belongs to a cache."""
    return name.startswith(_MARK)


def labels(name: str) -> tuple[tuple[str, str], ...]:
    """The labels of a cache's row."""
    return (("api_id", name.removeprefix(_MARK)),)
