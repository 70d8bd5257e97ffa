"""A key that the store drops too early is a client that is locked out; one that stays too long is a leak."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from core.sessions import lifetime
from core.sessions.model import from_value

NOW = 1_000_000


def seconds(session: dict[str, Any], apis: list[tuple[int, bool]], **more: Any) -> int:
    options = {"force_global_session_lifetime": False, "global_session_lifetime": 0,
               "session_lifetime_respects_key_expiration": False, **more}  # fmt: skip
    return lifetime.seconds(from_value(session), apis, SimpleNamespace(**options), NOW)


@pytest.mark.parametrize(
    ("session", "apis", "result"),
    [
        ({}, [], 0),
        ({}, [(0, False)], 0),
        ({}, [(60, False)], 60),
        ({}, [(60, False), (90, False), (0, False)], 90),
        ({"session_lifetime": 30}, [(60, False)], 30),
        ({"session_lifetime": 30}, [], 30),
        ({"expires": NOW + 500}, [(60, False)], 60),
        ({"expires": NOW + 500}, [(60, True)], 500),
        ({"expires": NOW + 10}, [(60, True)], 60),
        ({"expires": 0}, [(60, True)], 0),
        ({"expires": -1}, [(60, True)], -1),
        ({"expires": -1}, [(60, True), (90, False)], -1),
        ({"expires": NOW - 5}, [(60, True)], 60),
        ({"expires": NOW + 500}, [(0, True)], 0),
    ],
)
def test_lifetime_of_a_key(session: dict[str, Any], apis: list[tuple[int, bool]], result: int) -> None:
    assert seconds(session, apis) == result


def test_expiry_can_be_respected_everywhere() -> None:
    on = {"session_lifetime_respects_key_expiration": True}
    assert seconds({"expires": NOW + 500}, [(60, False)], **on) == 500
    assert seconds({"expires": NOW + 500, "session_lifetime": 30}, [], **on) == 500


@pytest.mark.parametrize("session", [{"session_lifetime": 5}, {"expires": NOW + 9, "post_expiry_action": "delete"}, {}])
def test_one_lifetime_for_all_beats_the_rest(session: dict[str, Any]) -> None:
    assert seconds(session, [(60, True)], force_global_session_lifetime=True, global_session_lifetime=77) == 77


@pytest.mark.parametrize(
    ("action", "grace", "expires", "result"),
    [
        ("delete", 0, NOW + 100, 100),
        ("delete", 50, NOW + 100, 100),
        ("delete", 0, NOW - 100, 1),
        ("delete", 0, 0, 0),
        ("retain", -1, NOW + 100, -1),
        ("retain", -1, 0, -1),
        ("retain", 50, NOW + 100, 150),
        ("retain", 50, NOW - 100, 1),
        ("retain", 50, 0, 0),
        ("retain", 0, NOW + 100, 60),
        ("", 50, NOW + 100, 60),
    ],
)
def test_what_happens_after_expiry(action: str, grace: int, expires: int, result: int) -> None:
    session = {"post_expiry_action": action, "post_expiry_grace_period": grace, "expires": expires}
    assert seconds(session, [(60, False)]) == result
