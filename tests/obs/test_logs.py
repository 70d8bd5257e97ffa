"""Logs: one record is one line, without secrets, whatever it holds."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from core.obs import logs

LOGGER = logging.getLogger("preforge.main")


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger(logs.ROOT)
    before = (list(root.handlers), root.level, ours.level)
    yield
    root.handlers[:], root_level, our_level = before
    root.setLevel(root_level)
    ours.setLevel(our_level)


def lines(format: str, message: str, *args: object, **fields: object) -> str:
    stream = io.StringIO()
    logs.set_up("info", format, stream)
    LOGGER.info(message, *args, extra={"fields": fields})
    return stream.getvalue()


def test_a_json_line_has_the_keys_that_tyk_writes() -> None:
    entry = json.loads(lines("json", "loaded %d", 3, api_id="a1", ok=True, list=[1, "x"]))
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "info",
        "prefix": "main",
        "msg": "loaded 3",
        "api_id": "a1",
        "ok": True,
        "list": [1, "x"],
    }


@pytest.mark.parametrize("format", ["text", "json", "legacy"])
@pytest.mark.parametrize("evil", ['a\nlevel=error msg="forged"', "\r\x1b[2J", "\x85\u2028\u202e", "\ud800"])
def test_control_characters_cannot_forge_a_line(format: str, evil: str) -> None:
    line = lines(format, "got %s", evil, value=evil, **{evil: "x"})
    assert line.count("\n") == 1
    assert not [char for char in line[:-1] if not char.isprintable()]
    line.encode()


@pytest.mark.parametrize("format", ["text", "json", "legacy"])
def test_secrets_in_fields_are_not_written(format: str) -> None:
    names = (
        "secret",
        "db_password",
        "Authorization",
        "access_token",
        "api_key",
        "apiKey",
        "private_key",
        "Cookie",
    )
    line = lines(format, "x", **dict.fromkeys(names, "s3cret"), nested={"secret": "s3cret"})
    assert "s3cret" not in line
    assert logs.REDACTED in line


def test_a_field_cannot_replace_a_key_of_the_line() -> None:
    assert json.loads(lines("json", "real", msg="fake", level="fake"))["msg"] == "real"


def test_text_and_legacy_have_their_shapes() -> None:
    line = lines("text", "all good", api_id="a1")
    assert line.endswith(' level=info prefix=main msg="all good" api_id=a1\n')
    line = lines("legacy", "all good", api_id="a 1")
    assert line.endswith('  INFO main: all good api_id="a 1"\n')


def test_an_exception_stays_on_its_line() -> None:
    stream = io.StringIO()
    logs.set_up("", "json", stream)
    try:
        raise KeyError("k\nx")
    except KeyError:
        LOGGER.exception("failed")
    entry = json.loads(stream.getvalue())
    assert "KeyError" in entry["exception"]
    assert stream.getvalue().count("\n") == 1


def test_arguments_that_do_not_fit_are_reported_and_do_not_raise() -> None:
    record = logging.LogRecord("preforge.main", logging.INFO, "", 0, "%d items", ("no number",), None)
    assert "%d items (arguments do not fit: TypeError)" in logs.LineFormatter("text").format(record)


def test_a_huge_message_is_cut() -> None:
    assert len(lines("json", "x" * 1_000_000, value="y" * 1_000_000)) < 3 * logs.MAX_TEXT


@pytest.mark.parametrize(
    ("level", "written"), [("", 3), ("debug", 4), ("info", 3), ("warn", 2), ("error", 1)]
)
def test_levels_are_those_of_tyk_and_empty_means_info(level: str, written: int) -> None:
    stream = io.StringIO()
    logs.set_up(level, "text", stream)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        LOGGER.log(number, "x")
    assert stream.getvalue().count("\n") == written


def test_setting_up_twice_writes_each_record_once() -> None:
    first = io.StringIO()
    logs.set_up("", "text", first)
    assert lines("text", "once").count("once") == 1
    assert first.getvalue() == ""


def test_unknown_settings_are_named() -> None:
    with pytest.raises(ValueError, match="log_level: 'loud', expected one of debug, info, warn, error"):
        logs.set_up("loud")
    with pytest.raises(ValueError, match="log_format: 'xml', expected one of text, json, legacy"):
        logs.set_up("", "xml")
