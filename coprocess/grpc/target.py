"""Where a plugin server is: the forms of a target (tyk-plugins 1.3; gRPC name resolution)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

FORMS = "tcp://host:port, dns:///host:port, host:port, [ipv6]:port, unix:///path or unix:path"
HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?\Z")
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
LONGEST_PATH = 107
"""Bytes of a unix socket's path that fit into sockaddr_un."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server's address. Either `path` (a unix socket) or `host` and `port` are set; a host may be a name."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def authority(self) -> str:
        """What `:authority` is unless it is set: host:port, and localhost for a unix socket, as other gRPC clients do."""
        if self.path:
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_name(self) -> bool:
        """Whether the host has to be resolved."""
        if self.path:
            return False
        try:
            ipaddress.ip_address(self.host.partition("%")[0])
        except ValueError:
            return True
        return False


def parse_target(text: str) -> Target:
    """The address that a target names; ValueError says what was expected."""
    if text.startswith("unix:"):
        return _unix(text)
    rest = text
    for prefix in ("tcp://", "dns:///", "dns:"):
        if text.startswith(prefix):
            rest = text.removeprefix(prefix)
            break
    if scheme := SCHEME.match(text):
        if scheme[1] in {"http", "https"}:
            raise ValueError(f'"{text}": expected one of {FORMS}; for TLS give host:port and set tls')
        if scheme[1] not in {"tcp", "dns"}:
            raise ValueError(f'"{text}": expected one of {FORMS}')
    if rest.startswith("//"):
        raise ValueError(f'"{text}": a DNS server of its own is not supported, expected dns:///host:port')
    return _host_and_port(text, rest)


def _unix(text: str) -> Target:
    path = text.removeprefix("unix:")
    if path.startswith("//"):
        path = path[2:]
        if not path.startswith("/"):
            raise ValueError(f'"{text}": after unix:// an absolute path is expected, as in unix:///run/plugin.sock')
    if not path or "\0" in path:
        raise ValueError(f'"{text}": expected the path of a socket, as in unix:///run/plugin.sock')
    if len(path.encode()) > LONGEST_PATH:
        raise ValueError(f'"{text}": the path of a unix socket has at most {LONGEST_PATH} bytes')
    return Target(path=path)


def _host_and_port(text: str, rest: str) -> Target:
    host, colon, port = rest.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f'"{text}": expected a port from 1 to 65535 after the host, as in 127.0.0.1:5555 ({FORMS})')
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError as e:
            raise ValueError(f'"{text}": expected an IPv6 address between [ and ]') from e
        return Target(host=host[1:-1], port=int(port))
    if ":" in host:
        raise ValueError(f'"{text}": an IPv6 address stands between [ and ], as in [::1]:5555')
    if not HOST.match(host):
        raise ValueError(f'"{text}": expected a host name or an IP address before the port ({FORMS})')
    return Target(host=host, port=int(port))
