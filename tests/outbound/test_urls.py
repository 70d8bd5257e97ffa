"""URLs: read as Go reads them, so that no part means something else to whoever is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.outbound.urls import UrlError, join, parse


@pytest.mark.parametrize(
    ("text", "whole", "seen"),
    [
        ("http://h", True, "http://h/"),
        ("HTTP://H.Example/A", True, "http://h.example/A"),
        ("http://h:80/", True, "http://h:80/"),
        ("http://h:/x", True, "http://h/x"),
        ("http://h?x=1", True, "http://h/?x=1"),
        ("http://h/a b%2F%2fc%20d", True, "http://h/a%20b%2F%2fc%20d"),
        ("http://h/%41/../b/./c//d", True, "http://h/%41/../b/./c//d"),
        ("http://h/a?", True, "http://h/a?"),
        ("http://h/a?q=x y&z=%zz{|}^\"<>`\\", True, "http://h/a?q=x%20y&z=%zz{|}^\"<>`\\"),
        ("http://h/ü?ü=ü", True, "http://h/%C3%BC?%C3%BC=%C3%BC"),
        ("http://h/a\\b\"<>^`{|}", True, "http://h/a%5Cb%22%3C%3E%5E%60%7B%7C%7D"),
        ("http://h/a#b?c#d", True, "http://h/a%23b?c"),
        ("http://h/a#b?c#d", False, "http://h/a"),
        ("http://[::1]:8080/x", True, "http://[::1]:8080/x"),
        ("http://[0:0:0:0:0:0:0:1]/", True, "http://[::1]/"),
        ("http://bücher.example/", True, "http://xn--bcher-kva.example/"),
        ("https://u:p@h/x", True, "https://h/x"),
    ],
)
def test_a_url_changes_on_its_way(text: str, whole: bool, seen: str) -> None:
    url = parse(text, whole=whole)
    assert url.text() == seen
    assert parse(url.text(), whole=whole) == parse(seen, whole=whole)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/path",
        "h/path",
        "//h/path",
        "http:/h",
        "http:h",
        "http://",
        "http:///x",
        "http://:80/",
        "http://user@/",
        "ftp://h/",
        "file:///etc/passwd",
        "gopher://h/",
        "javascript:alert(1)",
        "unix:///run/x.sock",
        "http://h:0/",
        "http://h:65536/",
        "http://h:-1/",
        "http://h:８0/",
        "http://h:80:80/",
        "http://h/%zz",
        "http://h/%4",
        "http://h /",
        "http:// h/",
        "http://h\\@i/",
        "http://h%41/",
        "http://[::1/",
        "http://::1/",
        "http://[fe80::1%25eth0]/",
        "http://[v1.x]/",
        "http://[127.0.0.1]/",
        "http://[::1]x/",
        "http://h\r\nX: y/",
        "http://h/\r\nX: y",
        "http://h/\x00",
        "http://h/\x7f",
        "http://h/\t",
        "http://h/\udcff",
        "http://u\udcff@h/",
        "http://a b@h/",
        "http://xn--a.ü\u0000/",
        "http://☃..example/",
        "http://h#frag/",
    ],
)
def test_what_leads_nowhere_is_sent(text: str) -> None:
    with pytest.raises(UrlError):
        parse(text, whole=True)


def test_the_host_is_not_what_stands_behind_the_last_at() -> None:
    with pytest.raises(UrlError):
        parse("http://trusted.example@127.0.0.1:81@evil.example:82/x")
    assert parse("http://trusted.example:x@127.0.0.1:81/x").authority == "127.0.0.1:81"


def test_credentials_of_a_url_become_a_header() -> None:
    assert parse("http://Aladdin:open%20sesame@h/").authorization() == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert parse("http://only@h/").authorization() == "Basic b25seTo="
    assert parse("http://h/").authorization() == ""


@pytest.mark.parametrize(
    ("base", "location", "seen"),
    [
        ("http://h/a/b?q", "c", "http://h/a/c"),
        ("http://h/a/b?q", "/c?d", "http://h/c?d"),
        ("http://h/a/b?q", "?d", "http://h/a/b?d"),
        ("http://h/a/b", "../../../c", "http://h/c"),
        ("http://h:8080/a", "//other/b", "http://other/b"),
        ("https://h/a", "//other:1/b", "https://other:1/b"),
        ("http://h/a", "HTTPS://Other/ä b", "https://other/%C3%A4%20b"),
        ("http://h/a", "/x#frag", "http://h/x"),
        ("http://h/a", "/b\udcff\udcc3", "http://h/b%FF%C3"),
        ("http://[::1]:5/a", "b", "http://[::1]:5/b"),
    ],
)
def test_a_location_leads_elsewhere(base: str, location: str, seen: str) -> None:
    assert join(parse(base), location).text() == seen


@pytest.mark.parametrize(
    "location", ["ftp://h/", "javascript:x", "mailto:a@b", "http://", "http://[::1", "/a\r\nb", "/a\x00", "//", "http:b"]
)
def test_a_location_that_leads_nowhere_is_followed(location: str) -> None:
    with pytest.raises(UrlError):
        join(parse("http://h/a"), location)


def test_credentials_stay_with_their_host() -> None:
    base = parse("http://u:p@h/a")
    assert join(base, "/b").user == "u:p"
    assert join(base, "//other/b").user == ""
    assert join(base, "http://h/b").user == ""


@given(st.text(), st.booleans())
def test_a_text_ends_the_request_line(text: str, whole: bool) -> None:
    for form in (text, f"http://{text}", f"http://h/{text}", f"http://h/?{text}"):
        try:
            url = parse(form, whole=whole)
        except UrlError:
            continue
        assert url.text().isascii()
        assert not set(" \r\n\t\x00#") & set(url.text())
        assert parse(url.text(), whole=whole).target == url.target
