"""What the REST API answers, taken apart; and keys made over it."""

from __future__ import annotations

import json
from typing import Any

from tests.support.gateway import Gateway
from tests.support.keys import session
from tests.support.site import manage
from tests.support.wire import Response


def json_of(answer: Response, status: int = 200) -> Any:
    """The body of an answer with this status."""
    assert answer.status == status, (answer.status, answer.body)
    return json.loads(answer.body)


def error(answer: Response) -> tuple[int, str]:
    """Status and message of an answer that must be an error."""
    body = json.loads(answer.body)
    assert body["status"] == "error", (answer.status, body)
    return answer.status, body["message"]


def create(gateway: Gateway, *apis: str, **more: Any) -> str:
    """A new key with a random name."""
    return str(json_of(manage(gateway, "POST", "/tyk/keys/create", session(*apis, **more)))["key"])


def reload(gateway: Gateway) -> None:
    """Reload, and return when all workers have done so."""
    assert manage(gateway, "GET", "/tyk/reload?block=true").status == 200
