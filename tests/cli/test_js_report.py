"""The report: what it shows, and what a terminal is spared."""

from __future__ import annotations

import json
from array import array
from typing import Any

from core.cli.js_report import as_json, as_text, failures
from core.scripts.trial_case import Auth, Case, Line, Message, Outcome

CASE = Case("mw.js", "pre", "mw", b"")


def request(start: str = "GET /", body: bytes = b"", *fields: tuple[str, str]) -> Message:
    return Message(start, fields, body)


def text(before: Message, after: Message | None, *, color: bool = False, **more: Any) -> str:
    return as_text(CASE, "", Outcome(before, after, **more), color=color)


def test_what_has_not_changed_is_said() -> None:
    assert "The request is as it was:\n  GET /\n" in text(request(), request())


def test_colours_stand_only_where_they_are_wanted() -> None:
    pair = request(), request("GET /b")
    assert "\x1b" not in text(*pair)
    assert "\x1b[31m-GET /\x1b[0m\n\x1b[32m+GET /b\x1b[0m\n" in text(*pair, color=True)


def test_a_difference_behind_the_shown_part_of_a_body_is_not_lost() -> None:
    lines = b"x\n" * 1000
    found = text(request(body=lines), request(body=lines + b"y"))
    assert "... 601 lines more" in found
    assert "-(2000 bytes, SHA-256 " in found
    assert "+(2001 bytes, SHA-256 " in found


def test_bodies_that_are_not_text_are_shown_in_hexadecimal() -> None:
    found = text(request(body=b"\xff\x00"), request(body=b"\xff\x01"))
    assert "-00000000  ff00\n+00000000  ff01\n" in found


def test_control_characters_are_shown_and_not_sent() -> None:
    evil = "a\x1b[2J\x07\u202e\x9b"
    outcome = Outcome(request(body=evil.encode()), None, logs=[Line("info", f"one{evil}\ntwo", script=True)], failures=[evil])
    outcome.answer = request(f"200 {evil}", b"", ("X", evil))
    outcome.meta = {}, {evil: evil}
    outcome.auth = Auth(evil, {"alias": evil})
    found = as_text(CASE, "", outcome, color=False) + failures(outcome)
    assert not set(found) & set("\x1b\x07\u202e\x9b")
    assert "  info    one" in found
    assert "\n          two\n" in found
    assert json.loads(as_json(CASE, "", outcome))["log"][0]["message"] == f"one{evil}\ntwo"


def test_long_lines_are_cut() -> None:
    assert "characters more" in text(request(), None, logs=[Line("info", "x" * 10_000, script=True)])


def test_changes_of_meta_data_are_listed() -> None:
    found = text(request(), request(), meta=({"a": "1", "b": "2", "c": "3"}, {"b": 2, "c": "3", "d": None}))
    assert 'Meta data of the key:\n  -a: "1"\n  -b: "2"\n  +b: 2\n  +d: null\n' in found
    assert "Meta data" not in text(request(), request(), meta=({"a": "1"}, {"a": "1"}))


def test_a_session_without_key_is_said_not_to_be_stored() -> None:
    found = text(request(), request(), auth=Auth("", {"rate": 5, "per": 0, "date_created": "0001-01-01T00:00:00Z"}))
    assert "  key: none (no AuthValue), so the session is not stored\n  rate: 5\n" in found
    assert "per" not in found.split("rate: 5")[1]


def test_times_are_of_the_first_call_and_of_the_others() -> None:
    seconds = array("d", [0.5, *(number / 1000 for number in range(1, 101))])
    expected = "Time: 500.000 ms for the first call; 100 more: median 50.500 ms, p99 99.000 ms\n"
    assert expected in text(request(), request(), seconds=seconds)
    assert "Time: 500.000 ms for the first call\n" in text(request(), request(), seconds=seconds[:1])
    assert json.loads(as_json(CASE, "", Outcome(seconds=seconds)))["time"] == {
        "calls": 101, "first_ms": 500.0, "median_ms": 50.5, "p99_ms": 99.0,
    }  # fmt: skip


def test_lines_that_were_left_out_are_counted() -> None:
    assert "  ... and 7 lines more\n" in text(request(), None, logs=[Line("info", "x", script=True)], logs_left_out=7)


def test_a_later_call_that_failed_is_named() -> None:
    assert failures(Outcome(failures=["why"], failed_call=3)) == "call 3: why\n"
    assert failures(Outcome(failures=["why"], failed_call=1)) == "why\n"
