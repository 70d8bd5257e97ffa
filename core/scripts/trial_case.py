"""What a script is tried on, and what came of it."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

from core.sessions.model import SessionData

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response. start: "GET /path?query" or "200 OK"."""

    start: str
    fields: Fields
    body: bytes


@dataclass(frozen=True, slots=True)
class Given:
    """The response that a response hook is given."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Case:
    """One trial. file: path of the script; hook: "pre", "auth_check", "post_key_auth", "post", "response" or "virtual"; name:
    expression that names the object or function; request: an HTTP/1.1 message as a client sends it; secure: it came over
    TLS; session: of the client's key, None for a key without anything, and then the hook does not ask for it; config_data:
    any JSON value; library: path of a script in place of tyk_js_path, "" for what the configuration says."""

    file: str
    hook: str
    name: str
    request: bytes
    secure: bool = False
    response: Given | None = None
    session: SessionData | None = None
    config_data: Any = None
    library: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log. script: the script itself wrote it."""

    level: str
    text: str
    script: bool


@dataclass(frozen=True, slots=True)
class Auth:
    """The key that an auth_check hook has found. session: as GET /tyk/keys shows one."""

    token: str
    session: dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """What came of the first call.

    before, after: the request (for response hooks: the response) without and with the script; after is None when the
    request did not go on. answer: the response that the client gets instead, without Date, Connection
    and X-Request-Id. leads_to: the
    tyk:// address where the request goes on. failures: why scripts could not be loaded, why the call has
    failed or what it returned could not be used, as the gateway logs it. failed_call: number of the call that failed, 0 for
    none. meta: meta data of the key before and after,
    None if there is no key. seconds: of each call of the script.
    """

    before: Message | None = None
    after: Message | None = None
    answer: Message | None = None
    leads_to: str = ""
    failures: list[str] = field(default_factory=list)
    failed_call: int = 0
    logs: list[Line] = field(default_factory=list)
    logs_left_out: int = 0
    meta: tuple[dict[str, Any], dict[str, Any]] | None = None
    auth: Auth | None = None
    seconds: array[float] = field(default_factory=lambda: array("d"))


class TrialError(Exception):
    """The trial cannot take place: the text says which file or option cannot be used, and why."""
