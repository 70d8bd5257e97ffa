"""What is sent, and what comes back."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.outbound.urls import Url

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_VALUE = re.compile("[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*\\Z")
# The client's own: they say where a message ends and what becomes of its connection (RFC 9110 7.6.1, RFC 9112 6).
OF_CONNECTION = frozenset(
    (
        "connection", "content-length", "expect", "http2-settings", "keep-alive", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip

Header = tuple[str, str]


class OutboundError(Exception):
    """A request was not sent, or has no usable answer; the text says why. reason: what counts it.

    reason is one of "failed", "timeout", "busy", "large".
    """

    def __init__(self, text: str, reason: str = "failed") -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request. Headers are sent as they are written, also a Host other than that of the URL; those of OF_CONNECTION
    are left out."""

    method: str
    url: Url
    headers: tuple[Header, ...] = ()
    body: bytes = b""

    def get(self, name: str) -> str | None:
        """The first value of a header; name: in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Bytes of headers that are no UTF-8 are lone surrogates; url: that of the last request."""

    status: int
    headers: tuple[Header, ...]
    body: bytes
    url: str


def check_method(method: str) -> str:
    """The method as it is. Raises OutboundError for what is none, and for CONNECT, which asks for no answer."""
    if _TOKEN.match(method) is None or method.upper() == "CONNECT":
        raise OutboundError(f"{method[:40]!r} is no method that can be sent")
    return method


def check_headers(headers: tuple[Header, ...]) -> tuple[Header, ...]:
    """The headers that may be sent. Raises OutboundError for names and values that would end their line, or another
    part of the message (RFC 9110 5.5)."""
    for name, value in headers:
        if _TOKEN.match(name) is None:
            raise OutboundError(f"{name[:40]!r} is no name of a header")
        if _VALUE.match(value) is None:
            raise OutboundError(f"the value of the header {name!r} has characters that a header cannot have")
    return tuple(header for header in headers if header[0].lower() not in OF_CONNECTION)
