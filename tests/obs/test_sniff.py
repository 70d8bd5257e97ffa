"""Content types of bodies without one: the strings must be those that a Go server sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.sniff import detect

HTML = b"text/html; charset=utf-8"
TEXT = b"text/plain; charset=utf-8"
BINARY = b"application/octet-stream"

TABLE = [
    (b"", TEXT),
    (b"plain", TEXT),
    (b'{"a":1}', TEXT),
    (b"\x1b[0m\t\r\n\x0c", TEXT),
    (b"a\x00", BINARY),
    (b"a\x0b", BINARY),
    (b"a\x1a", BINARY),
    (b"\xe9t\xe9", TEXT),
    (b"<!doctype html>", HTML),
    (b" \t\r\n\x0c<HtMl lang=x>", HTML),
    (b"<a>", HTML),
    (b"<!-- x", HTML),
    (b"<!--x", TEXT),
    (b"<a\n", TEXT),
    (b"<a", TEXT),
    (b"<abbr>", TEXT),
    (b"\x0b<html>", BINARY),
    (b" <?xml version", b"text/xml; charset=utf-8"),
    (b"<?XML", TEXT),
    (b"%PDF-1.7", b"application/pdf"),
    (b" %PDF-1.7", TEXT),
    (b"%!PS-Adobe-3", b"application/postscript"),
    (b"\xfe\xffa\0", b"text/plain; charset=utf-16be"),
    (b"\xff\xfea\0", b"text/plain; charset=utf-16le"),
    (b"\xef\xbb\xbf\0", TEXT),
    (b"\0\0\1\0", b"image/x-icon"),
    (b"\0\0\2\0", b"image/x-icon"),
    (b"BM", b"image/bmp"),
    (b"GIF87a", b"image/gif"),
    (b"GIF89a", b"image/gif"),
    (b"RIFF1234WEBPVP8 ", b"image/webp"),
    (b"\x89PNG\r\n\x1a\n", b"image/png"),
    (b"\xff\xd8\xff\xe0", b"image/jpeg"),
    (b"FORM1234AIFF", b"audio/aiff"),
    (b"ID3\3", b"audio/mpeg"),
    (b"OggS\0", b"application/ogg"),
    (b"MThd\0\0\0\6", b"audio/midi"),
    (b"RIFF1234AVI ", b"video/avi"),
    (b"RIFF1234WAVE", b"audio/wave"),
    (b"RIFF1234", TEXT),
    (b"\0\0\0\x18ftypmp42\0\0\0\0isommp41", b"video/mp4"),
    (b"\0\0\0\x18ftypisom\0\0\0\0isommp41", b"video/mp4"),
    (b"\0\0\0\x18ftypisommp42isomisom", BINARY),
    (b"\0\0\0\x17ftypmp42\0\0\0\0isommp4", BINARY),
    (b"\xff\xff\xff\xfcftypmp42\0", BINARY),
    (b"\x1a\x45\xdf\xa3", b"video/webm"),
    (b"\1" * 34 + b"LP", b"application/vnd.ms-fontobject"),
    (b"\0\1\0\0", b"font/ttf"),
    (b"OTTO", b"font/otf"),
    (b"ttcf", b"font/collection"),
    (b"wOFF", b"font/woff"),
    (b"wOF2", b"font/woff2"),
    (b"\x1f\x8b\x08", b"application/x-gzip"),
    (b"PK\3\4", b"application/zip"),
    (b"Rar!\x1a\7\0", b"application/x-rar-compressed"),
    (b"Rar!\x1a\7\1\0", b"application/x-rar-compressed"),
    (b"\0asm", b"application/wasm"),
]


@pytest.mark.parametrize(("body", "expected"), TABLE)
def test_each_row_of_the_tables_gives_its_type(body: bytes, expected: bytes) -> None:
    assert detect(body) == expected


@pytest.mark.parametrize(
    "tag",
    [
        "!DOCTYPE HTML",
        "HTML",
        "HEAD",
        "SCRIPT",
        "IFRAME",
        "H1",
        "DIV",
        "FONT",
        "TABLE",
        "A",
        "STYLE",
        "TITLE",
        "B",
        "BODY",
        "BR",
        "P",
    ],
)
def test_every_tag_needs_an_end(tag: str) -> None:
    raw = b"<" + tag.lower().encode()
    assert detect(raw + b">") == detect(raw + b" x") == HTML
    assert detect(raw + b"_") == TEXT


def test_only_the_first_512_bytes_are_looked_at() -> None:
    assert detect(b"a" * 512 + b"\0") == TEXT
    assert detect(b"a" * 511 + b"\0") == BINARY
    assert detect(b" " * 512 + b"<html>") == TEXT


@given(st.binary(max_size=600))
def test_no_body_is_read_beyond_its_end(body: bytes) -> None:
    assert detect(body) == detect(body[:512])
    assert b"/" in detect(body)
