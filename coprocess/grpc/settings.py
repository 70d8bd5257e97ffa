"""What a gRPC driver depends on. Plain data: it is made where configuration is loaded and sent to the workers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from coprocess.grpc.target import Target, parse_target

KIB = 1024
MIB = 1024 * 1024
MOST = {
    "connections": 64, "max_in_flight": 1 << 20, "max_waiting": 1 << 20, "max_events": 1 << 20, "max_events_in_flight": 1 << 20,
    "max_bytes": 1 << 50,
}  # fmt: skip
LARGEST_MESSAGE = (1 << 31) - 1
"""Bytes; what the libraries of gRPC allow at most."""
AUTHORITY = re.compile(r"[!$&'()*+,\-.0-9:;=@A-Z\[\]_a-z~%]{1,255}\Z")

SERVER_NAME = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:-]{0,252}\Z")


class SettingsError(ValueError):
    """A setting cannot be used. `field`: its name; `problem`: what was expected; the text has both, and the server's name."""

    def __init__(self, server: str, field: str, problem: str) -> None:
        super().__init__(f'gRPC server "{server}": {field}: {problem}')
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True)
class GrpcSettings:
    """One plugin server. Sizes in bytes, times in seconds; bounds hold for each worker.

    recv_max_size and send_max_size: of one message; 0 means 4 MiB and LARGEST_MESSAGE, as with Tyk.
    round_robin: use every address of the host's name, in turn, instead of the first one that answers.
    connections: per worker; with round_robin per worker and address. max_in_flight: calls that the server has.
    max_waiting: calls that wait for a connection, or for room on one. max_events_in_flight, max_events: events that the server
    has, and all that have no answer yet. max_bytes: messages of all of these together, requests and replies; one alone may be
    larger.
    backoff_min, backoff_max: between attempts to connect, x1.6 each. keepalive_time: after how long a silence, with calls in
    flight, the server is asked whether it is there (0: never), three times at most before its next reply;
    keepalive_timeout: for how long it may leave that unanswered.
    resolve_interval: with round_robin, how often the name is looked up anew (0: only when a connection is lost).
    tls: the fields below it need it. ca_file: PEM, empty for the system's; server_name: what the certificate must name instead
    of the target's host; cert_file and key_file: PEM, shown to the server.
    """

    name: str
    target: str
    authority: str = ""
    round_robin: bool = False
    recv_max_size: int = 0
    send_max_size: int = 0
    connections: int = 1
    max_in_flight: int = 1024
    max_waiting: int = 1024
    max_events: int = 1024
    max_events_in_flight: int = 16
    max_bytes: int = 256 * MIB
    event_timeout: float = 5.0
    connect_timeout: float = 5.0
    backoff_min: float = 0.1
    backoff_max: float = 1.0
    keepalive_time: float = 20.0
    keepalive_timeout: float = 10.0
    resolve_interval: float = 30.0
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    insecure_skip_verify: bool = False
    tls_min_version: Literal["1.2", "1.3"] = "1.2"

    def __post_init__(self) -> None:
        """Raises SettingsError for what can be told without looking at files."""
        self.address()
        if self.authority and not AUTHORITY.match(self.authority):
            raise self.error("authority", f'expected host or host:port, not "{self.authority}"')
        for field in ("recv_max_size", "send_max_size"):
            if not 0 <= getattr(self, field) <= LARGEST_MESSAGE:
                raise self.error(field, f"expected 0 (the default) to {LARGEST_MESSAGE} bytes")
        for field, most in MOST.items():
            least = 0 if field in {"max_waiting", "max_events"} else 1
            if not least <= getattr(self, field) <= most:
                raise self.error(field, f"expected {least} to {most}")
        for field in ("event_timeout", "connect_timeout", "backoff_min", "backoff_max", "keepalive_timeout"):
            if not 0.001 <= getattr(self, field) <= 3600:
                raise self.error(field, "expected 0.001 to 3600 seconds")
        for field in ("keepalive_time", "resolve_interval"):
            if not (getattr(self, field) == 0 or 1 <= getattr(self, field) <= 86400):
                raise self.error(field, "expected 0 (never) or 1 to 86400 seconds")
        if self.backoff_max < self.backoff_min:
            raise self.error("backoff_max", f"expected at least backoff_min, {self.backoff_min} seconds")
        self._check_tls()

    def _check_tls(self) -> None:
        if not self.tls:
            for field in ("ca_file", "cert_file", "key_file", "server_name", "insecure_skip_verify"):
                if getattr(self, field):
                    raise self.error(field, "is set, but tls is not")
        for field, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
            if getattr(self, field) and not getattr(self, other):
                raise self.error(other, f"expected a file, because {field} is set")
        if self.tls_min_version not in ("1.2", "1.3"):
            raise self.error("tls_min_version", f'expected "1.2" or "1.3", not "{self.tls_min_version}"')
        if self.server_name and not SERVER_NAME.match(self.server_name):
            raise self.error("server_name", f'expected a host name or an IP address, not "{self.server_name}"')

    def error(self, field: str, problem: str) -> SettingsError:
        """A SettingsError about one of these fields."""
        return SettingsError(self.name, field, problem)

    def address(self) -> Target:
        """The target, taken apart."""
        try:
            return parse_target(self.target)
        except ValueError as e:
            raise self.error("target", str(e)) from e

    @property
    def receive_limit(self) -> int:
        """Bytes that a reply may have."""
        return self.recv_max_size or 4 * MIB

    @property
    def send_limit(self) -> int:
        """Bytes that a request may have."""
        return self.send_max_size or LARGEST_MESSAGE
