"""What an event says of the request that it is about."""

from __future__ import annotations

import ipaddress
from base64 import b64encode
from typing import Any

from accel.http1 import Exchange

LEFT_OUT = frozenset((b"host", b"user-agent", b"content-length", b"transfer-encoding", b"trailer"))


def real_ip(x: Exchange, depth: int) -> str:
    """The client's address (tyk-core 3.10). depth: xff_depth.

    X-Real-IP if it is an address, else an entry of X-Forwarded-For: the first (0), or the depth-th from the right; ""
    when there are fewer. Else the peer. A client that reaches the gateway directly can write both headers.
    """
    named = _address(x.header(b"X-Real-IP"))
    if named:
        return named
    forwarded = x.header(b"X-Forwarded-For")
    if forwarded:
        entries = forwarded.split(b",")
        if not 0 <= depth <= len(entries):
            return ""
        found = _address(entries[0] if depth == 0 else entries[-depth])
        if found:
            return found
    return x.remote_addr.decode("ascii", "replace")


def _address(value: bytes | None) -> str:
    if value is None:
        return ""
    text = value.strip().decode("latin-1")
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return ""
    return text


def originating(x: Exchange, most: int) -> str:
    """The request as it would be sent on, in base64: request line, Host, User-Agent, the other fields sorted, the body as far
    as the gateway has read it. most: bytes before base64; a longer request is cut there; 0 for nothing."""
    if most <= 0:
        return ""
    target = x.path + (b"?" + x.query if x.query else b"")
    lines = [b"%s %s HTTP/1.1" % (x.method, target)]
    items = x.req.items()
    for name in (b"Host", b"User-Agent"):
        value = x.header(name)
        if value is not None:
            lines.append(b"%s: %s" % (name, value))
    lines += sorted(b"%s: %s" % (name, value) for name, value in items if name.lower() not in LEFT_OUT)
    text = b"\r\n".join(lines) + b"\r\n\r\n"
    if isinstance(x.body, bytes) and len(text) < most:
        text += x.body[: most - len(text)]
    return b64encode(text[:most]).decode()


def request_meta(x: Exchange, message: str, key: str, depth: int, most: int) -> dict[str, Any]:
    """The fields of the events of requests."""
    return {
        "Message": message,
        "OriginatingRequest": originating(x, most),
        "Path": x.decoded_path.decode("utf-8", "replace"),
        "Origin": real_ip(x, depth),
        "Key": key,
    }
