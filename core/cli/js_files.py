"""The files of `preforge js test`: requests and responses as HTTP messages or as JSON, sessions, config_data."""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.scripts.trial_case import Given
from core.sessions.model import SessionData, SessionError, decode

MOST_BYTES = 64 << 20
HOST = "localhost"
_REQUEST_KEYS = ("method", "url", "headers", "body", "body_base64", "scheme")
_RESPONSE_KEYS = ("status", "headers", "body", "body_base64")
_Pairs = list[tuple[str, str]]


class FileError(Exception):
    """A file cannot be used; the text names it, and says what was expected where."""


def read(path: str) -> bytes:
    """A file, or standard input for "-". Raises FileError."""
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise FileError(f"{path}: it cannot be read: {error.strerror}") from None
    if len(raw) > MOST_BYTES:
        raise FileError(f"{path}: expected at most {MOST_BYTES} bytes")
    return raw


def read_request(path: str) -> tuple[bytes, bool]:
    """The message of a request as a client sends it, and whether it comes over TLS. Raises FileError."""
    raw = read(path)
    if raw.lstrip()[:1] == b"{":
        return _request_of(_object(raw, path, _REQUEST_KEYS), path)
    lines, body = _split(raw)
    words = lines[0].split()
    if len(words) == 2:
        words.append(b"HTTP/1.1")
    if len(words) != 3 or not words[2].startswith(b"HTTP/"):
        raise FileError(f"{path}: expected JSON, or a first line such as GET /path HTTP/1.1, got {lines[0][:80]!r}")
    return _message(b" ".join(words), _fields(lines, path), body, path), False


def read_response(path: str) -> Given:
    """Raises FileError."""
    raw = read(path)
    if raw.lstrip()[:1] == b"{":
        found = _object(raw, path, _RESPONSE_KEYS)
        status, pairs, body = found.get("status", 200), _pairs(found, path), _body(found, path)
    else:
        lines, body = _split(raw)
        words = lines[0].split()
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            raise FileError(f"{path}: expected JSON, or a first line such as HTTP/1.1 200 OK, got {lines[0][:80]!r}")
        status, pairs = int(words[1]), _fields(lines, path)
    if type(status) is not int or not 200 <= status <= 599:
        raise FileError(f"{path}: the status is {status!r:.40}, expected 200 to 599")
    # The gateway sees to the framing itself.
    own = ("content-length", "transfer-encoding", "connection")
    fields = tuple((_bytes(name), _bytes(value)) for name, value in pairs if name.lower() not in own)
    return Given(status, fields, body)


def read_session(path: str) -> SessionData:
    """A session as GET /tyk/keys/{key} shows it. Raises FileError."""
    try:
        return decode(read(path), path)
    except SessionError as error:
        raise FileError(str(error)) from None


def read_config_data(path: str) -> Any:
    """Any JSON object. Raises FileError."""
    return _object(read(path), path, ())


def _object(raw: bytes, path: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """keys: those that there may be, all if empty."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: expected JSON: {error}") from None
    if not isinstance(value, dict):
        raise FileError(f"{path}: $: expected an object")
    for key in value:
        if keys and key not in keys:
            raise FileError(f"{path}: $.{key}: there is no such field, expected one of {', '.join(keys)}")
    return value


def _request_of(found: Mapping[str, Any], path: str) -> tuple[bytes, bool]:
    method, url, scheme = (_text(found, key, other, path) for key, other in (("method", "GET"), ("url", "/"), ("scheme", "")))
    pairs = _pairs(found, path)
    if not url.startswith("/"):
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise FileError(f"{path}: $.url: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise FileError(f"{path}: $.url: expected a path such as /a?b=c, or http://host/path, got {url!r:.80}")
        scheme = scheme or parts.scheme
        if not any(name.lower() == "host" for name, _ in pairs):
            pairs.insert(0, ("Host", parts.netloc.rpartition("@")[2]))
        url = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if scheme not in ("", "http", "https"):
        raise FileError(f"{path}: $.scheme: expected http or https, got {scheme!r:.40}")
    for key, text in (("method", method), ("url", url)):
        if not text or any(char <= " " or char == "\x7f" for char in text):
            raise FileError(f"{path}: $.{key}: expected a text without spaces and control characters, got {text!r:.80}")
    return _message(_bytes(f"{method} {url} HTTP/1.1"), pairs, _body(found, path), path), scheme == "https"


def _text(found: Mapping[str, Any], key: str, other: str, path: str) -> str:
    value = found.get(key, other)
    if not isinstance(value, str):
        raise FileError(f"{path}: $.{key}: expected a text")
    return value


def _body(found: Mapping[str, Any], path: str) -> bytes:
    if "body_base64" not in found:
        return _bytes(_text(found, "body", "", path))
    if "body" in found:
        raise FileError(f"{path}: expected body or body_base64, got both")
    try:
        return base64.b64decode(_text(found, "body_base64", "", path), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FileError(f"{path}: $.body_base64: expected standard base64: {error}") from None


def _pairs(found: Mapping[str, Any], path: str) -> _Pairs:
    headers = found.get("headers", {})
    if not isinstance(headers, dict):
        raise FileError(f"{path}: $.headers: expected an object")
    pairs: _Pairs = []
    for name, given in headers.items():
        for value in given if isinstance(given, list) else [given]:
            if not isinstance(value, str):
                raise FileError(f"{path}: $.headers.{name}: expected a text or a list of texts")
            _check_field(name, value, path)
            pairs.append((name, value))
    return pairs


def _check_field(name: str, value: str, path: str) -> None:
    if not name or any(char in name for char in " \t\r\n:") or any(char in value for char in "\r\n"):
        raise FileError(f"{path}: {name!r:.80} with the value {value!r:.80} is not a header field")


def _split(raw: bytes) -> tuple[list[bytes], bytes]:
    """The lines of the head, and the body behind the first empty line. Lines end with LF or CRLF."""
    raw = raw.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    lines = []
    while raw:
        line, _, raw = raw.partition(b"\n")
        line = line.removesuffix(b"\r")
        if not line:
            break
        lines.append(line)
    return lines or [b""], raw


def _fields(lines: list[bytes], path: str) -> _Pairs:
    pairs: _Pairs = []
    for line in lines[1:]:
        name, colon, value = line.decode("utf-8", "surrogateescape").partition(":")
        if not colon:
            raise FileError(f"{path}: expected a header field such as Name: value, got {line[:80]!r}")
        _check_field(name, value, path)
        pairs.append((name, value.strip(" \t")))
    return pairs


def _message(start: bytes, pairs: _Pairs, body: bytes, path: str) -> bytes:
    """With a Host and, where there is a body, its length. A line end that an editor has put behind the body is not part of a
    body whose length is given."""
    known = {name.lower(): value for name, value in pairs}
    if "host" not in known:
        pairs = [("Host", HOST), *pairs]
    if "transfer-encoding" not in known:
        length = known.get("content-length")
        if length is None:
            if body:
                pairs = [*pairs, ("Content-Length", str(len(body)))]
        elif length != str(len(body)):
            end = int(length) if length.isascii() and length.isdigit() and len(length) < 12 else len(body) + 1
            if body[end:] not in (b"\n", b"\r\n"):
                raise FileError(f"{path}: Content-Length is {length:.20}, but the body has {len(body)} bytes; leave it out")
            body = body[:end]
    head = [start, *(_bytes(f"{name}: {value}") for name, value in pairs)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
