"""What a plugin's reply says, whatever format it came in."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_ENTRIES = 65_536   # in one list or map of a message
_LONGEST = 100          # characters of a name or value that an error shows


class CodecError(ValueError):
    """A message cannot be built or read. field: where, such as `request.set_headers.X-A`, "" for the whole message."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem

    def __reduce__(self) -> tuple[type[CodecError], tuple[str, str]]:
        return CodecError, (self.field, self.problem)


def member(path: str, name: str) -> str:
    """The path of one entry of a map, fit for a line of a log."""
    if len(name) > _LONGEST:
        name = name[:_LONGEST] + "..."
    return f"{path}.{name}" if name.isprintable() else f"{path}.{name!r}"


def wrong(path: str, expected: str, value: object) -> CodecError:
    """The error for a value of another type, or out of its range."""
    if isinstance(value, dict | list):
        found = "an object" if isinstance(value, dict) else "a list"
    elif value is None:
        found = "null"
    elif isinstance(value, bool):
        found = str(value).lower()
    elif isinstance(value, int) and abs(value) >= 1 << 64:
        found = "a larger one"
    else:
        found = repr(value[:_LONGEST] if isinstance(value, str) else value)
    return CodecError(path, f"expected {expected}, found {found}")


@dataclass(slots=True)
class Overrides:
    """An answer instead of the upstream's, if response_code is above 0 (tyk-plugins 3.5)."""

    response_code: int = 0
    response_error: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    override_error: bool = False
    response_body: str = ""


@dataclass(slots=True)
class RequestReply:
    """The request as the plugin wants it. Names are in the plugin's spelling. overrides: None if they are missing."""

    url: str = ""
    method: str = ""
    raw_body: bytes = b""
    set_headers: list[tuple[str, str]] = field(default_factory=list)
    delete_headers: list[str] = field(default_factory=list)
    add_params: list[tuple[str, str]] = field(default_factory=list)
    delete_params: list[str] = field(default_factory=list)
    overrides: Overrides | None = None


@dataclass(slots=True)
class ResponseReply:
    """The response as the plugin wants it."""

    status_code: int = 0
    raw_body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    multivalue_headers: list[tuple[str, list[str]]] = field(default_factory=list)


@dataclass(slots=True)
class PluginReply:
    """A whole reply. session: still encoded, for session_from_wire. What is missing in the message is None."""

    request: RequestReply | None = None
    session: bytes | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    response: ResponseReply | None = None
