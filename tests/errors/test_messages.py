"""override_messages: a partial or wrong entry must not change what it does not name."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors.messages import CATALOGUE, with_overrides


@dataclass(frozen=True)
class Entry:
    message: str = ""
    code: int = 0


def test_an_omitted_part_keeps_its_default() -> None:
    messages, findings = with_overrides(
        {"auth.auth_field_missing": Entry(code=418), "auth.key_not_found": Entry(message="Never seen")},
        "tyk.conf",
    )
    assert findings == []
    assert (messages["auth.auth_field_missing"].status, messages["auth.auth_field_missing"].text) == (
        418,
        "Authorization field missing",
    )
    assert (messages["auth.key_not_found"].status, messages["auth.key_not_found"].text) == (403, "Never seen")
    assert messages["upstream.timeout"] == CATALOGUE["upstream.timeout"]


def test_an_unknown_name_is_reported_with_its_place() -> None:
    messages, findings = with_overrides({"auth.nonsense": Entry("x", 400)}, "tyk.conf")
    assert messages == CATALOGUE
    assert findings[0].file == "tyk.conf"
    assert findings[0].path == "$.override_messages['auth.nonsense']"
    assert "auth.key_not_found" in findings[0].message


def test_a_code_that_cannot_be_sent_is_not_used() -> None:
    messages, findings = with_overrides({"auth.key_not_found": Entry("gone", 99)}, "tyk.conf")
    assert (messages["auth.key_not_found"].status, messages["auth.key_not_found"].text) == (403, "gone")
    assert findings[0].path.endswith(".code")


def test_the_proxy_errors_have_the_statuses_that_clients_of_tyk_know() -> None:
    known = {
        name: (CATALOGUE[f"upstream.{name}"].status)
        for name in ("timeout", "client_closed", "dns", "connect")
    }
    assert known == {"timeout": 504, "client_closed": 499, "dns": 500, "connect": 500}
