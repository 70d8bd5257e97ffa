"""Requests, responses and names as users write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.cli.js_files import FileError, read_config_data, read_request, read_response, read_session
from core.scripts.trial_api import find_name
from core.scripts.trial_case import TrialError


def written(directory: Path, value: Any) -> str:
    """A file with bytes, a text, or JSON."""
    path = directory / "file"
    raw = value if isinstance(value, bytes) else value.encode() if isinstance(value, str) else json.dumps(value).encode()
    path.write_bytes(raw)
    return str(path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("\n\nGET /a HTTP/1.1\nHost: h", b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
        ("GET /a\nhost:h\n\n", b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n"),
        ("GET /a HTTP/1.0\n\n", b"GET /a HTTP/1.0\r\nHost: localhost\r\n\r\n"),
        (b"\xef\xbb\xbfGET /a\n\n", b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("PUT /\nHost: h\n\na\r\n\nb\n", b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\na\r\n\nb\n"),
        ("PUT /\nHost: h\nContent-Length: 2\n\nab\n", b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"),
        ("PUT /\nHost: h\nContent-Length: 3\n\nab\n", b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab\n"),
        (
            "PUT /\nHost: h\nTransfer-Encoding: chunked\n\n1\r\na\r\n0\r\n\r\n",
            b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        ),
        (b"GET / HTTP/1.1\nX: \xff\xe9\nHost: h\n\n", b"GET / HTTP/1.1\r\nX: \xff\xe9\r\nHost: h\r\n\r\n"),
        ({}, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (
            {"method": "PUT", "url": "/a?b=c", "headers": {"X": ["1", "2"], "Host": "h"}, "body": "\u00e9"},
            b"PUT /a?b=c HTTP/1.1\r\nX: 1\r\nX: 2\r\nHost: h\r\nContent-Length: 2\r\n\r\n\xc3\xa9",
        ),
        ({"url": "http://u@h:81?q", "body_base64": "/w=="}, b"GET /?q HTTP/1.1\r\nHost: h:81\r\nContent-Length: 1\r\n\r\n\xff"),
    ],
)
def test_requests_become_what_a_client_sends(tmp_path: Path, given: Any, message: bytes) -> None:
    assert read_request(written(tmp_path, given)) == (message, False)


@pytest.mark.parametrize("given", [{"scheme": "https"}, {"url": "https://h/"}, {"url": "http://h/", "scheme": "https"}])
def test_a_request_may_come_over_tls(tmp_path: Path, given: Any) -> None:
    assert read_request(written(tmp_path, given))[1] is True


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "a first line such as GET /path"),
        ("GET / b HTTP/1.1\n\n", "a first line such as GET /path"),
        ("GET / HTTP/1.1\nnothing\n\n", "expected a header field such as Name: value, got b'nothing'"),
        ("GET / HTTP/1.1\nA b: c\n\n", "is not a header field"),
        ("PUT / HTTP/1.1\nContent-Length: 9\n\nab", "Content-Length is 9, but the body has 2 bytes"),
        ("PUT / HTTP/1.1\nContent-Length: 1\n\nabc", "Content-Length is 1, but the body has 3 bytes"),
        ("PUT / HTTP/1.1\nContent-Length: x\n\n", "Content-Length is x"),
        ("{", "expected JSON"),
        ({"path": "/"}, "$.path: there is no such field, expected one of method, url"),
        ({"method": "A B"}, "$.method: expected a text without spaces"),
        ({"method": ""}, "$.method: expected a text without spaces"),
        ({"method": 1}, "$.method: expected a text"),
        ({"url": "/a\r\nX: y"}, "$.url: expected a text without spaces"),
        ({"url": "a/b"}, "$.url: expected a path such as"),
        ({"url": "http://[::1/"}, "$.url: Invalid IPv6 URL"),
        ({"scheme": "ftp"}, "$.scheme: expected http or https, got 'ftp'"),
        ({"headers": []}, "$.headers: expected an object"),
        ({"headers": {"A": 1}}, "$.headers.A: expected a text or a list of texts"),
        ({"headers": {"A": "b\r\nC: d"}}, "is not a header field"),
        ({"body": {}}, "$.body: expected a text"),
        ({"body": "a", "body_base64": ""}, "expected body or body_base64, got both"),
        ({"body_base64": "a"}, "$.body_base64: expected standard base64"),
    ],
)
def test_wrong_requests_are_refused_with_the_place(tmp_path: Path, given: Any, said: str) -> None:
    path = written(tmp_path, given)
    with pytest.raises(FileError) as caught:
        read_request(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_responses_are_read_without_their_framing(tmp_path: Path) -> None:
    text = "HTTP/1.1 201 Created\nA: 1\nA: 2\nContent-Length: 99\nTransfer-Encoding: chunked\n\nbody"
    found = read_response(written(tmp_path, text))
    assert (found.status, found.fields, found.body) == (201, ((b"A", b"1"), (b"A", b"2")), b"body")
    found = read_response(written(tmp_path, {"headers": {"A": "1"}, "body": "x"}))
    assert (found.status, found.fields, found.body) == (200, ((b"A", b"1"),), b"x")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("200 OK\n\n", "such as HTTP/1.1 200 OK"),
        ("HTTP/1.1 100 Continue\n\n", "the status is 100, expected 200 to 599"),
        ({"status": "200"}, "the status is '200'"),
        ({"status": True}, "the status is True"),
        ({"method": "GET"}, "$.method: there is no such field"),
    ],
)
def test_wrong_responses_are_refused(tmp_path: Path, given: Any, said: str) -> None:
    with pytest.raises(FileError) as caught:
        read_response(written(tmp_path, given))
    assert said in str(caught.value)


def test_sessions_and_config_data_are_objects(tmp_path: Path) -> None:
    assert read_session(written(tmp_path, {"rate": 5}))["rate"] == 5
    assert read_config_data(written(tmp_path, {"a": [1]})) == {"a": [1]}
    with pytest.raises(FileError, match=r"\$\.rate"):
        read_session(written(tmp_path, {"rate": "fast"}))
    with pytest.raises(FileError, match="expected an object"):
        read_config_data(written(tmp_path, [1]))


MADE = "new TykJS.TykMiddleware.NewMiddleware({})"


@pytest.mark.parametrize(
    ("file", "text", "name", "why"),
    [
        ("sample.js", f"var sample = {MADE}; var other = {MADE};", "sample", "the name of the file"),
        ("sample.v2.min.js", f"sample={MADE}", "sample", "the name of the file"),
        ("file.js", f"const my$Mw = {MADE}", "my$Mw", "the only NewMiddleware of the file"),
        ("file.js", f"a.b = {MADE}", "a.b", "the only NewMiddleware of the file"),
        (
            "file.js",
            f"// var old = {MADE}\n/* var older = {MADE} */ let fresh = {MADE}",
            "fresh",
            "the only NewMiddleware of the file",
        ),
        ("plain.js", "class plain { static DoProcessRequest() {} }", "plain", "the name of the file"),
    ],
)
def test_the_name_is_found(tmp_path: Path, file: str, text: str, name: str, why: str) -> None:
    (tmp_path / file).write_text(text)
    assert find_name(str(tmp_path / file), "pre") == (name, why)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("function answer(request) { function inner() {} }", "answer"),
        ("async function answer(request) {}", "answer"),
        ("var helper = 1;\nconst answer = async (request) => TykJsResponse({}, {});", "answer"),
        ("function file() {}\nfunction other() {}", "file"),
    ],
)
def test_the_function_of_a_virtual_endpoint_is_found(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "file.js").write_text(text)
    assert find_name(str(tmp_path / "file.js"), "virtual")[0] == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"var a = {MADE}; var b = {MADE};", "expected --name, since the file has several: a, b"),
        ("var nothing = 1;", "expected --name, since there is no NewMiddleware in the file"),
    ],
)
def test_a_name_that_is_not_clear_must_be_given(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "file.js").write_text(text)
    with pytest.raises(TrialError, match=said):
        find_name(str(tmp_path / "file.js"), "pre")
