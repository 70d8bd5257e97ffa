"""Answers of every worker of a node, told apart by the request ids that they give."""

from __future__ import annotations

from tests.support.gateway import Gateway
from tests.support.site import SECRET
from tests.support.wire import Response

TRIES = 400


def everywhere(gateway: Gateway, target: str, *lines: str) -> list[Response]:
    """The first answer of each worker to a request."""
    wanted = gateway.conf["preforge"]["workers"]
    found: dict[str, Response] = {}
    for _ in range(TRIES):
        answer = gateway.fetch(target, *lines)
        # The first half of an id is drawn when a worker starts.
        found.setdefault((answer.get("X-Request-Id") or "")[:16], answer)
        if len(found) == wanted:
            return list(found.values())
    raise AssertionError(f"{len(found)} of {wanted} workers answered in {TRIES} tries")


def statuses(gateway: Gateway, target: str, key: str) -> set[int]:
    """The statuses with which the workers answer a request with this key."""
    return {answer.status for answer in everywhere(gateway, target, f"Authorization: {key}")}


def managed(gateway: Gateway, target: str) -> list[Response]:
    """What the REST API of each worker answers to a GET."""
    return everywhere(gateway, target, f"X-Tyk-Authorization: {SECRET}")
