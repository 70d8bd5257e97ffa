"""Proxies of the environment: chosen as Go chooses them, and no way around the blocked networks."""

from __future__ import annotations

import pytest

from core.outbound.messages import OutboundError
from core.outbound.proxies import Proxies
from core.outbound.urls import parse

PROXY = "http://proxy.example:3128"


def chosen(url: str, **environ: str) -> str | None:
    found = Proxies(environ).get(parse(url))
    return None if found is None else f"{found.user}|{found.text()}"


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("http://h/", {}, None),
        ("http://h/", {"HTTP_PROXY": PROXY}, f"|{PROXY}/"),
        ("http://h/", {"http_proxy": PROXY}, f"|{PROXY}/"),
        ("http://h/", {"HTTP_PROXY": "proxy.example:3128"}, f"|{PROXY}/"),
        ("http://h/", {"HTTP_PROXY": PROXY, "http_proxy": "http://other"}, f"|{PROXY}/"),
        ("http://h/", {"HTTPS_PROXY": PROXY}, None),
        ("https://h/", {"HTTPS_PROXY": "https://u:p@s.example"}, "u:p|https://s.example/"),
        ("https://h/", {"HTTP_PROXY": PROXY}, None),
        ("http://localhost/", {"HTTP_PROXY": PROXY}, None),
        ("http://127.0.0.1:99/", {"HTTP_PROXY": PROXY}, None),
        ("http://127.1/", {"HTTP_PROXY": PROXY}, None),
        ("http://[::1]/", {"HTTP_PROXY": PROXY}, None),
    ],
)
def test_a_request_takes_the_wrong_way(url: str, environ: dict[str, str], proxy: str | None) -> None:
    assert chosen(url, **environ) == proxy


@pytest.mark.parametrize(
    ("url", "entry", "direct"),
    [
        ("http://h/", "*", True),
        ("http://h.example/", "example", True),
        ("http://h.example/", " other , Example ", True),
        ("http://example/", "example", True),
        ("http://hexample/", "example", False),
        ("http://example/", ".example", False),
        ("http://h.example/", ".example", True),
        ("http://h.example/", "*.example", True),
        ("http://h.example:81/", "h.example:81", True),
        ("http://h.example/", "h.example:81", False),
        ("http://h.example/", "h.example:80", True),
        ("http://10.1.2.3/", "10.0.0.0/8", True),
        ("http://11.1.2.3/", "10.0.0.0/8", False),
        ("http://10.1.2.3/", "10.1.2.3", True),
        ("http://[2001:db8::1]/", "2001:db8::/32", True),
        ("http://[2001:db8::1]/", "2001:db8::1", True),
        ("http://[2001:db8::1]:82/", "[2001:db8::1]:82", True),
        ("http://[2001:db8::1]/", "[2001:db8::1]:82", False),
        ("http://name/", "10.0.0.0/8", False),
        ("http://h/", "10.0.0.0/99", False),
        ("http://h/", "", False),
        ("http://h/", ",,", False),
    ],
)
def test_a_host_of_no_proxy_is_asked_by_proxy(url: str, entry: str, direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert (chosen(url, HTTP_PROXY=PROXY, **{name: entry}) is None) is direct


@pytest.mark.parametrize("value", ["socks5://h:1080", "http://", "ftp://h", "http://h:99999", "\r\n"])
def test_a_proxy_that_cannot_be_used_is_passed_by(value: str) -> None:
    with pytest.raises(OutboundError, match="HTTP_PROXY cannot be used"):
        chosen("http://h/", HTTP_PROXY=value)
    assert chosen("https://h/", HTTP_PROXY=value) is None
    assert chosen("http://localhost/", HTTP_PROXY=value) is None
