"""The status of an answer that a hook gives."""

from __future__ import annotations

from jsvm_pool.decoding import ResultError

LEAST, MOST = 200, 599


def check_status(code: int, where: str) -> None:
    """Raises ResultError for what is not the status of a final response (RFC 9110 15). where: the field that has it."""
    if not LEAST <= code <= MOST:
        raise ResultError(f"{code} is not the status of a response, expected {LEAST} to {MOST}", where)
