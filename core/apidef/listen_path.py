"""Listen paths and domains: normal form, variables, length for sorting (tyk-core 2.1, 3.2)."""

from __future__ import annotations

import posixpath
import re
import warnings
from dataclasses import dataclass

from core.apidef.specs import RouteSpec

_FLAGS = re.compile(r"\(\?([ims]+)\)")
_FOREIGN = re.compile(r"\(\?(?![:ims-])|\\[1-9kpPQEzCX]|\[\[?:|[*+?}]\+")


class PatternError(ValueError):
    """A listen path or domain that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    regex: str


def normalise(listen_path: str) -> str:
    """Return the path with one leading slash, cleaned of ``.``, ``..`` and ``//``; a trailing slash stays."""
    clean = posixpath.normpath("/" + listen_path.lstrip("/"))
    if listen_path.endswith("/") and not clean.endswith("/"):
        clean += "/"
    return clean


def route(listen_path: str, strict: bool) -> RouteSpec:
    """Compile a normalised listen path. Raises PatternError."""
    parts = _split(listen_path)
    prefix = parts[0] if isinstance(parts[0], str) else ""
    literal = sum(len(part) for part in parts if isinstance(part, str))
    if len(parts) == 1:
        return RouteSpec(prefix, None, literal, strict)
    return RouteSpec(prefix, _source(parts, "[^/]+"), literal, strict)


def domain(text: str) -> tuple[str, str | None]:
    """Return (host in lower case without port, regex source for a host with variables or None).

    Raises PatternError.
    """
    text = re.sub(r"(?<=[^:]):\d+\Z", "", text)
    parts = _split(text)
    if len(parts) == 1:
        host = str(parts[0]).lower().rstrip(".")
        if not re.fullmatch(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]", host):
            raise PatternError("expected a host name such as api.example.com")
        return host, None
    lowered = [part.lower() if isinstance(part, str) else part for part in parts]
    # Hosts are compared in lower case; the flag lets a user's [A-Z] match too.
    return text.lower(), f"(?i:{_source(lowered, '[^.]+')})"


def rename(listen_path: str, api_id: str, taken: set[str]) -> str:
    """Return the path under which a duplicate is served: ``<listen_path>-<api_id>``, then ``_`` appended."""
    name = f"{listen_path}-{api_id}"
    while name in taken:
        name += "_"
    return name


def _split(text: str) -> list[str | _Variable]:
    """Cut at balanced braces; literals are never empty unless the whole text is."""
    parts: list[str | _Variable] = []
    depth = start = 0
    for at, char in enumerate(text):
        if char == "{":
            if depth == 0:
                if at > start:
                    parts.append(text[start:at])
                start = at + 1
            depth += 1
        elif char == "}":
            depth -= 1
            if depth < 0:
                break
            if depth == 0:
                parts.append(_variable(text[start:at]))
                start = at + 1
    if depth != 0:
        raise PatternError("the braces { and } do not balance")
    if start < len(text) or not parts:
        parts.append(text[start:])
    return parts


def _variable(inner: str) -> _Variable:
    name, colon, regex = inner.partition(":")
    if not name or (colon and not regex):
        raise PatternError(f"{{{inner}}} lacks a name or a pattern; expected {{name}} or {{name:regex}}")
    return _Variable(name, regex)


def _source(parts: list[str | _Variable], default: str) -> str:
    used: set[str] = set()
    out: list[str] = []
    for index, part in enumerate(parts):
        if isinstance(part, str):
            out.append(re.escape(part))
            continue
        regex = _checked(part.regex) if part.regex else default
        plain = part.name.isascii() and part.name.isidentifier() and part.name not in used
        name = part.name if plain else f"v{index}"
        while name in used:
            name += "_"
        used.add(name)
        out.append(f"(?P<{name}>{regex})")
    source = "".join(out)
    try:
        re.compile(source.encode())
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(f"the pattern does not compile: {error}") from None
    return source


def _checked(regex: str) -> str:
    """Return the user's regex in a form that means here what it means in Go. Raises PatternError."""
    if not regex.isascii():
        raise PatternError(f"the pattern {regex!r} has characters outside ASCII")
    flags = _FLAGS.match(regex)
    if flags:
        regex = f"(?{flags[1]}:{regex[flags.end() :]})"
    foreign = _FOREIGN.search(regex)
    if foreign:
        raise PatternError(f"the pattern {regex!r} uses {foreign[0]!r}, which is not supported here")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled = re.compile(regex.encode())
    except (re.error, Warning, OverflowError, RecursionError) as error:
        raise PatternError(f"the pattern {regex!r} does not compile: {error}") from None
    if compiled.groups:
        raise PatternError(f"the pattern {regex!r} has a capturing group; write (?:...) instead of (...)")
    return regex
