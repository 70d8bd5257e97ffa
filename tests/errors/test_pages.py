"""Error pages: a client must get well-formed pages whatever the message, the request or the template says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import pages as pages_module
from core.errors.pages import ErrorPages


def test_built_in_json_has_the_exact_bytes_that_tyk_clients_compare() -> None:
    content_type, body = ErrorPages().render(401, "Authorization field missing")
    assert content_type == b"application/json"
    assert body == b'{\n    "error": "Authorization field missing"\n}'
    assert len(body) == 46


@pytest.mark.parametrize(
    "asked",
    [b"application/xml", b"text/xml", b"application/soap+xml", b"text/xml; charset=utf-8", b"Text/XML ;a"],
)
def test_xml_requests_get_xml_also_with_parameters(asked: bytes) -> None:
    content_type, body = ErrorPages().render(500, "broken", asked)
    assert content_type == asked.partition(b";")[0].strip().lower()
    assert body == b'<?xml version = "1.0" encoding = "UTF-8"?>\n<error>broken</error>\n'


@pytest.mark.parametrize(
    "asked", [b"", b"text/plain", b"application/xhtml+xml", b"xml", b";text/xml", b"\xff"]
)
def test_every_other_content_type_gets_json(asked: bytes) -> None:
    assert ErrorPages().render(500, "x", asked)[0] == b"application/json"


@pytest.mark.parametrize(
    "message", ["Can't detect loop target", 'say "no"', "a\\b", "<&>", "line\nbreak\0", "é\u2028"]
)
def test_special_characters_cannot_break_either_format(message: str) -> None:
    body = ErrorPages().render(500, message)[1]
    assert json.loads(body) == {"error": message}
    assert b"<" not in body
    assert ElementTree.fromstring(ErrorPages().render(500, message, b"text/xml")[1]).tag == "error"


@given(st.text())
def test_no_message_at_all_can_break_either_format(message: str) -> None:
    pages = ErrorPages()
    assert isinstance(json.loads(pages.render(500, message)[1])["error"], str)
    assert ElementTree.fromstring(pages.render(500, message, b"text/xml")[1]).tag == "error"


def test_a_lone_surrogate_from_a_script_is_still_valid_utf8() -> None:
    assert json.loads(ErrorPages().render(500, "a\ud800b")[1]) == {"error": "a?b"}


def write(directory: Path, **files: str) -> ErrorPages:
    for name, text in files.items():
        stem, _, ext = name.rpartition("_")
        (directory / f"{stem}.{ext}").write_text(text)
    return ErrorPages(str(directory))


def test_lookup_goes_from_status_to_format_to_json(tmp_path: Path) -> None:
    pages = write(
        tmp_path,
        error_json='{"e":"{{.Message}}"}',
        error_403_json='{"s":{{ .StatusCode }}}',
        error_404_xml="<nf/>",
    )
    assert pages.findings == []
    assert pages.render(403, "m") == (b"application/json", b'{"s":403}')
    assert pages.render(500, "m") == (b"application/json", b'{"e":"m"}')
    assert pages.render(404, "m", b"text/xml") == (b"text/xml", b"<nf/>")
    # No XML page for 403: error.json answers, as JSON, and not error_403.json.
    assert pages.render(403, "m", b"text/xml") == (b"application/json", b'{"e":"m"}')


def test_a_directory_without_pages_leaves_the_built_in_ones(tmp_path: Path) -> None:
    pages = write(tmp_path, other_json="{}")
    assert pages.render(500, "m", b"text/xml")[1].startswith(b"<?xml")
    assert pages.render(500, "m")[1] == b'{\n    "error": "m"\n}'


def test_trim_markers_remove_the_space_around(tmp_path: Path) -> None:
    pages = write(tmp_path, error_json="a \n {{- .Message -}} \t b {{ .Message }} c{{.StatusCode}}")
    assert pages.render(418, "m")[1] == b"amb m c418"


@pytest.mark.parametrize(
    "template",
    [
        "{{if .Message}}x",
        "{{range 100000}}x{{end}}",
        "{{.Other}}",
        "{{ .Message | nosuch }}",
        "open {{.Message",
        "{{}}",
        "{{-.Message}}",
    ],
)
def test_a_template_that_cannot_be_used_is_reported_and_replaced(tmp_path: Path, template: str) -> None:
    pages = write(tmp_path, error_json="\n" + template)
    assert [f.severity for f in pages.findings] == ["warning"]
    assert pages.findings[0].file == str(tmp_path / "error.json")
    assert re.match(r"error\.json:[23]:", pages.findings[0].message)
    assert pages.render(500, "m")[1] == b'{\n    "error": "m"\n}'


def test_the_rest_of_the_language_cannot_be_used(tmp_path: Path) -> None:
    template = '{{if eq .StatusCode 404}}{"gone": true}{{else}}{"e": "{{printf "%.3s" .Message}}"}{{end}}'
    pages = write(tmp_path, error_json=template)
    assert pages.findings == []
    assert pages.render(404, "m")[1] == b'{"gone": true}'
    assert pages.render(500, "a\"bc")[1] == b'{"e": "a\\"b"}'


def test_a_template_that_fails_later_fails_the_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pages = write(tmp_path, error_json="{{if eq .StatusCode 404}}{{.Other}}{{end}}x", error_xml="{{index .Message 3}}")
    assert pages.render(500, "m") == (b"application/json", b"x")
    assert pages.render(404, "m") == (b"application/json", b'{\n    "error": "m"\n}')
    assert pages.render(404, "m", b"text/xml")[1].startswith(b"<?xml")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "error.json:1:" in caplog.records[0].message


def test_unreadable_pages_never_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "error.json").mkdir()
    (tmp_path / "error.xml").write_bytes(b"\xff\xfe")
    (tmp_path / "error_500.json").write_bytes(b"x" * (pages_module.MAX_TEMPLATE_BYTES + 1))
    pages = ErrorPages(str(tmp_path))
    assert len(pages.findings) == 3
    assert pages.render(500, "m")[1] == b'{\n    "error": "m"\n}'
    missing = ErrorPages(str(tmp_path / "none"))
    assert [f.path for f in missing.findings] == ["template_path"]


def test_messages_from_clients_cannot_grow_the_cache_without_end() -> None:
    pages = ErrorPages()
    for number in range(pages_module.CACHE_ENTRIES + 50):
        pages.render(400, f"message {number}")
    pages.render(400, "y" * (pages_module.CACHE_MESSAGE_CHARS + 1))
    assert len(pages._cache) == pages_module.CACHE_ENTRIES
    assert pages.render(400, "message 3")[1] == b'{\n    "error": "message 3"\n}'
