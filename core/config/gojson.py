"""JSON as Go's encoding/json reads it: the rules that Tyk's files were written against (tyk-core 1.1).

Keys match without regard to case, the last duplicate wins, unknown keys are ignored, ``null`` is the
zero value, an integer takes no fraction or exponent. Where Go is silent (duplicates, unknown keys) a
warning is reported; where Go fails, an error names the file, the JSON path, and what was expected.

Use: ``value, findings = decode_document(raw, file)``, then ``walk(value, schema, file, "$", findings)``,
which returns plain data with exactly the schema's keys. Schemas are built from ``Str``, ``Int``,
``Num``, ``Bool``, ``Anything``, ``ListOf``, ``MapOf`` and ``Obj``.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.findings import Finding

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 200
MAX_REPORTED = 200

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_SAFE_DIGITS = 300
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Str:
    """A string; the zero value is ``""``."""


@dataclass(frozen=True, slots=True)
class Int:
    """A 64-bit signed integer; the zero value is 0."""


@dataclass(frozen=True, slots=True)
class Num:
    """A number, returned as float; the zero value is 0.0."""


@dataclass(frozen=True, slots=True)
class Bool:
    """A boolean; the zero value is False."""


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON value, kept as it is; the zero value is None."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array of one item type, returned as a list."""

    item: Schema


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with free keys (case kept) and one value type, returned as a dict."""

    value: Schema


@dataclass(frozen=True, slots=True)
class Obj:
    """An object with known keys. Absent keys get their zero value; ``ignore`` lists accepted old keys.

    With ``keep_absent`` keys that the document does not have stay out of the result.
    """

    fields: Mapping[str, Schema]
    ignore: frozenset[str] = frozenset()
    keep_absent: bool = False
    _folded: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def find(self, key: str) -> str | None:
        """Return the field that ``key`` names: the exact one first, else the same without case."""
        if key in self.fields:
            return key
        if not self._folded:
            for name in self.fields:
                self._folded.setdefault(fold(name), name)
        return self._folded.get(fold(key))


Schema = Str | Int | Num | Bool | Anything | ListOf | MapOf | Obj

_EXPECTED: dict[type, str] = {
    Str: "a string",
    Int: "an integer",
    Num: "a number",
    Bool: "true or false",
    ListOf: "an array",
    MapOf: "an object",
    Obj: "an object",
}


class _DuplicateLog:
    """Collects the objects in which a key was given twice, while the parser is still inside them."""

    def __init__(self) -> None:
        self.found: list[tuple[dict[str, Any], str]] = []

    def build(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for raw_key, value in pairs:
            key = clean_text(raw_key)
            if key in result:
                # Moved to the end, so that the order among differently cased keys stays the file's order.
                del result[key]
                if len(self.found) < MAX_REPORTED:
                    self.found.append((result, key))
            result[key] = value
        return result


def fold(key: str) -> str:
    """Return the form under which Go compares keys: lower case, long s read as s."""
    return key.lower().replace("ſ", "s")


def clean_text(text: str) -> str:
    """Return ``text`` with lone surrogates replaced by U+FFFD, as Go does."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def join_path(path: str, key: str) -> str:
    """Return the JSON path of member ``key`` of the object at ``path``."""
    if _PLAIN_KEY.match(key):
        return f"{path}.{key}"
    return f"{path}[{json.dumps(key)}]"


def kind(value: object) -> str:
    """Name the JSON type of a decoded value, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"the number {value}" if abs(value) < 10**20 else "a very large number"
    if isinstance(value, float):
        return f"the number {value!r}"
    if isinstance(value, str):
        return f"the string {json.dumps(value if len(value) <= 40 else value[:40] + '...')}"
    return "an array" if isinstance(value, list) else "an object"


def zero(schema: Schema) -> Any:
    """Return Go's zero value of ``schema``."""
    match schema:
        case Str():
            return ""
        case Int():
            return 0
        case Num():
            return 0.0
        case Bool():
            return False
        case Anything():
            return None
        case ListOf():
            return []
        case MapOf():
            return {}
        case Obj():
            if schema.keep_absent:
                return {}
            return {name: zero(sub) for name, sub in schema.fields.items()}


def decode_document(
    text: bytes, file: str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH
) -> tuple[Any, list[Finding]]:
    """Parse one JSON document.

    Returns the value (None when there is an error finding) and the findings: an error with line and
    column for bad syntax, too much text (bytes) or too deep nesting; a warning per duplicate key.
    """

    def failed(message: str, suggestion: str = "") -> tuple[None, list[Finding]]:
        return None, [Finding("error", file, "", message, suggestion)]

    if len(text) > max_bytes:
        return failed(f"the file has {len(text)} bytes, at most {max_bytes} are read")
    source = text.decode("utf-8", "replace")
    if _too_deep(source, max_depth):
        return failed(f"the document is nested deeper than {max_depth} levels")
    log = _DuplicateLog()
    try:
        value = json.loads(
            source, object_pairs_hook=log.build, parse_constant=_refuse_constant, parse_float=_float, parse_int=_int
        )
    except json.JSONDecodeError as error:
        return failed(
            f"not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}",
            "Check for a missing or trailing comma, quotes, or a comment near that place.",
        )
    except (ValueError, RecursionError) as error:
        return failed(f"not valid JSON: {error}")
    return value, _duplicate_findings(value, log.found, file)


def walk(value: Any, schema: Schema, file: str, path: str, findings: list[Finding]) -> Any:
    """Check ``value`` against ``schema`` and return it in normal form.

    Adds an error finding for each wrong type (the zero value is returned in its place) and a warning
    for each unknown key. ``path`` is the JSON path of ``value``, ``$`` for the document.
    """
    if value is None:
        return zero(schema)
    match schema:
        case Anything():
            return value
        case Str() if isinstance(value, str):
            return clean_text(value)
        case Bool() if isinstance(value, bool):
            return value
        case Int() if isinstance(value, int) and not isinstance(value, bool) and value in _INT64:
            return value
        case Num() if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return number
        case ListOf() if isinstance(value, list):
            return [
                walk(item, schema.item, file, f"{path}[{index}]", findings)
                for index, item in enumerate(value)
            ]
        case MapOf() if isinstance(value, dict):
            return {
                key: walk(item, schema.value, file, join_path(path, key), findings)
                for key, item in value.items()
            }
        case Obj() if isinstance(value, dict):
            return _walk_object(value, schema, file, path, findings)
    findings.append(Finding("error", file, path, f"expected {_EXPECTED[type(schema)]}, got {kind(value)}"))
    return zero(schema)


def _walk_object(
    value: dict[str, Any], schema: Obj, file: str, path: str, findings: list[Finding]
) -> dict[str, Any]:
    result: dict[str, Any] = zero(schema)
    spelled: dict[str, str] = {}
    for key, item in value.items():
        name = schema.find(key)
        if name is None:
            if fold(key) not in schema.ignore and len(findings) < MAX_REPORTED:
                findings.append(_unknown(key, schema, file, path))
            continue
        if name in spelled:
            findings.append(
                Finding(
                    "warning",
                    file,
                    join_path(path, name),
                    f"given twice, as {spelled[name]!r} and {key!r}; the last one counts",
                    "Keep one of them.",
                )
            )
        spelled[name] = key
        result[name] = walk(item, schema.fields[name], file, join_path(path, name), findings)
    return result


def _unknown(key: str, schema: Obj, file: str, path: str) -> Finding:
    near = difflib.get_close_matches(fold(key)[:100], list(schema.fields), n=1, cutoff=0.75)
    suggestion = f"Did you mean {near[0]!r}?" if near else "Remove it, or check the spelling."
    return Finding("warning", file, join_path(path, key), "unknown key, ignored", suggestion)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _float(text: str) -> float:
    """A number with fraction or exponent. Raises ValueError where Go does: beyond a float64."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _int(text: str) -> int:
    """The same for one without."""
    if len(text) > _SAFE_DIGITS:
        _float(text)
    return int(text)


def _too_deep(source: str, limit: int) -> bool:
    if source.count("[") + source.count("{") <= limit:
        return False
    depth = 0
    for token in _TOKEN.finditer(source):
        first = token.group()[0]
        if first in "[{":
            depth += 1
            if depth > limit:
                return True
        elif first in "]}":
            depth -= 1
    return False


def _duplicate_findings(root: Any, found: list[tuple[dict[str, Any], str]], file: str) -> list[Finding]:
    if not found:
        return []
    wanted: dict[int, list[str]] = {}
    for owner, key in found:
        wanted.setdefault(id(owner), []).append(key)
    findings: list[Finding] = []
    pending: list[tuple[Any, str]] = [(root, "$")]
    while pending:
        value, path = pending.pop()
        if isinstance(value, dict):
            for key in wanted.get(id(value), ()):
                place = join_path(path, key)
                message = "the key appears more than once; the last one counts"
                findings.append(Finding("warning", file, place, message, "Keep one of them."))
            pending.extend((item, join_path(path, key)) for key, item in value.items())
        elif isinstance(value, list):
            pending.extend((item, f"{path}[{index}]") for index, item in enumerate(value))
    return findings
