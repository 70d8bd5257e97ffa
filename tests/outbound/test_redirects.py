"""Redirects as Go's client follows them: what is asked next, and what it is told."""

from __future__ import annotations

import pytest

from core.outbound.messages import Answer, OutboundError, Outgoing
from core.outbound.redirects import Trail
from core.outbound.urls import parse

SECRETS = (("Authorization", "a"), ("Cookie", "c"), ("X-Own", "x"))


def request(url: str = "https://first.example/a", method: str = "GET", body: bytes = b"", **headers: str) -> Outgoing:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Outgoing(method, parse(url), fields, body)


def answer(status: int, location: str | None) -> Answer:
    return Answer(status, () if location is None else (("Location", location),), b"", "")


@pytest.mark.parametrize(
    ("status", "method", "then", "body"),
    [
        (301, "POST", "GET", b""),
        (302, "PUT", "GET", b""),
        (303, "DELETE", "GET", b""),
        (302, "HEAD", "HEAD", b""),
        (307, "POST", "POST", b"b"),
        (308, "PATCH", "PATCH", b"b"),
        (307, "GET", "GET", b"b"),
    ],
)
def test_a_redirect_repeats_what_it_must_not(status: int, method: str, then: str, body: bytes) -> None:
    first = request(method=method, body=b"b", Content_Type="text/plain", Content_Encoding="x", X_Own="x")
    following = Trail(first).follow(first, answer(status, "/next"))
    assert following is not None
    assert (following.method, following.url.text(), following.body) == (then, "https://first.example/next", body)
    names = {name for name, _ in following.headers}
    assert names == ({"X-Own", "Content-Type", "Content-Encoding", "Referer"} if body else {"X-Own", "Referer"})


@pytest.mark.parametrize("status", [200, 201, 300, 304, 305, 306, 400, 500])
def test_an_answer_that_is_none_is_followed(status: int) -> None:
    first = request()
    assert Trail(first).follow(first, answer(status, "/next")) is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_nowhere_in_particular_is_no_answer(status: int) -> None:
    first = request()
    assert Trail(first).follow(first, answer(status, None)) is None
    assert Trail(first).follow(first, answer(status, "")) is None


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/b", True),
        ("https://first.example:8443/b", True),
        ("https://sub.first.example/b", True),
        ("https://FIRST.example/b", True),
        ("https://example/b", False),
        ("https://notfirst.example/b", False),
        ("https://first.example.evil/b", False),
        ("https://other.example/b", False),
        ("http://first.example/b", False),
    ],
)
def test_credentials_reach_another_host(target: str, kept: bool) -> None:
    first = Outgoing("GET", parse("https://first.example/a"), SECRETS)
    following = Trail(first).follow(first, answer(302, target))
    assert following is not None
    found = {name for name, _ in following.headers}
    assert ({"Authorization", "Cookie"} <= found) is kept
    assert "X-Own" in found


def test_an_address_is_the_domain_of_another() -> None:
    first = Outgoing("GET", parse("http://0.0.1/a"), SECRETS)
    following = Trail(first).follow(first, answer(302, "http://10.0.0.1/"))
    assert following is not None
    assert following.get("authorization") == "a"
    first = Outgoing("GET", parse("http://0.0.0.1/a"), SECRETS)
    following = Trail(first).follow(first, answer(302, "http://1.0.0.0.1/"))
    assert following is not None
    assert following.get("authorization") is None


def test_credentials_come_back_with_the_first_host() -> None:
    first = Outgoing("POST", parse("https://first.example/a"), (*SECRETS, ("Content-Type", "t")), b"b")
    trail = Trail(first)
    other = trail.follow(first, answer(302, "https://other.example/"))
    assert other is not None
    back = trail.follow(other, answer(307, "https://first.example/"))
    assert back is not None
    assert (back.get("authorization"), back.get("content-type"), back.body) == (None, None, b"")


def test_a_redirect_goes_on_for_ever() -> None:
    first = request()
    trail, now = Trail(first), first
    for number in range(9):
        following = trail.follow(now, answer(302, f"/{number}"))
        assert following is not None
        now = following
    with pytest.raises(OutboundError, match="stopped after 10"):
        trail.follow(now, answer(302, "/again"))


@pytest.mark.parametrize("location", ["ftp://h/", "file:///etc/passwd", "http://h:99999/", "/a\x01", "//"])
def test_a_redirect_leaves_http(location: str) -> None:
    first = request()
    with pytest.raises(OutboundError, match="redirect"):
        Trail(first).follow(first, answer(302, location))


def test_a_referer_tells_secrets() -> None:
    first = request("https://u:p@first.example/a?token=1")
    to_plain = Trail(first).follow(first, answer(302, "http://first.example/"))
    to_tls = Trail(first).follow(first, answer(302, "/b"))
    assert to_plain is not None
    assert to_tls is not None
    assert to_plain.get("referer") is None
    assert to_tls.get("referer") == "https://first.example/a?token=1"
    own = request(Referer="mine")
    kept = Trail(own).follow(own, answer(302, "/b"))
    assert kept is not None
    assert [value for name, value in kept.headers if name == "Referer"] == ["mine"]


def test_a_host_header_goes_along() -> None:
    first = request(Host="virtual.example")
    following = Trail(first).follow(first, answer(307, "/b"))
    assert following is not None
    assert following.get("host") is None
