"""Keys for tests: APIs that ask for them, sessions, requests that carry them."""

from __future__ import annotations

from typing import Any

from tests.support.gateway import Gateway, Json, api, merge
from tests.support.wire import Response

ORG = "c0ffee00c0ffee00c0ffee01"


def keyed(api_id: str, target: str, **more: Any) -> Json:
    """An API that asks for a token."""
    return api(api_id, f"/{api_id}/", target, **merge({"use_keyless": False, "org_id": ORG}, more))


def session(*apis: str, **more: Any) -> Json:
    """A session that opens APIs, as Tyk writes it."""
    rights = {name: {"api_id": name, "api_name": name, "versions": ["Default"]} for name in apis}
    base: Json = {"org_id": ORG, "rate": 0, "per": 0, "quota_max": -1, "expires": 0, "access_rights": rights}
    return {**base, **more}


def call(gateway: Gateway, target: str, key: str = "", *lines: str) -> Response:
    """One request with a key in the default header."""
    return gateway.fetch(target, *([f"Authorization: {key}"] if key else []), *lines)


def statuses(gateway: Gateway, target: str, key: str, count: int) -> list[int]:
    """The statuses of some requests one after the other."""
    return [call(gateway, target, key).status for _ in range(count)]


def limits_of(answer: Response) -> tuple[int, int]:
    """X-Ratelimit-Limit and -Remaining."""
    return int(answer.get("X-Ratelimit-Limit") or -99), int(answer.get("X-Ratelimit-Remaining") or -99)
