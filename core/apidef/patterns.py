"""Paths of endpoint entries as regular expressions (tyk-core 2.5).

An expression is written for Go and runs here, so what would mean something else is translated or refused: an entry
that restricts must never match less than its author sees in it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from functools import lru_cache
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from core.apidef.options import CompileOptions

_VARIABLE = re.compile(r"\{[^{}/]*[A-Za-z_][^{}/]*\}")
_LEADING_FLAGS = re.compile(r"\(\?([is]+)\)")
_OTHER_FLAGS = re.compile(r"\(\?[imsU-]*[mU]")
# Escapes and classes are passed over whole, so that only a bare "$" or ".", or "\z", is found.
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\[:\^?[a-z]*:\]|\\.|[^\]\\])*\]|[^\\\[]|[\\\[]", re.DOTALL)
_NAMED_CLASS = re.compile(r"\[:\^?[a-z]+:\]")
_FOREIGN = {
    "ASSERT": "a look-around assertion",
    "ASSERT_NOT": "a look-around assertion",
    "GROUPREF": "a reference to a group",
    "GROUPREF_IGNORE": "a reference to a group",
    "GROUPREF_EXISTS": "a condition",
    "POSSESSIVE_REPEAT": "a possessive repetition",
    "ATOMIC_GROUP": "an atomic group",
}


def path_pattern(path: str, options: CompileOptions, ignore_case: bool) -> str:
    """Return the regex source that an entry's path stands for. Raises re.error."""
    pattern = path
    if path.count("{") == path.count("}"):
        pattern = _VARIABLE.sub("([^/]+)", path)
    pattern = pattern.replace("/*/", "/[^/]+/").replace("/*", "/.*")
    if options.enable_path_prefix_matching and pattern.startswith("/"):
        pattern = "^" + pattern
    if options.enable_path_suffix_matching and not pattern.endswith("$"):
        pattern += "$"
    return translated(pattern, ignore_case)


@lru_cache(maxsize=4096)
def translated(pattern: str, ignore_case: bool = False) -> str:
    """Return a Go expression over text as the source of a Python one over bytes. Raises re.error.

    "$" is the end of the text and not what stands before a last line feed. "." is any character, a line feed too:
    an encoded one must not lead around an entry.
    """
    flags = _LEADING_FLAGS.match(pattern)
    letters = set(flags[1]) if flags else set()
    if _OTHER_FLAGS.search(pattern):
        raise re.error("the flags m and U are not supported here")
    pattern = pattern[flags.end() :] if flags else pattern
    pieces = _PIECE.findall(pattern)
    for piece in pieces:
        if piece.startswith("[") and _NAMED_CLASS.search(piece):
            raise re.error(f"the named class in {piece!r} is not supported here; write its characters")
        if piece.startswith("[") and not piece.isascii():
            raise re.error(f"{piece!r} has characters outside ASCII, which cannot stand in a class here")
    text = "".join("\\Z" if piece in ("$", "\\z") else piece for piece in pieces)
    letters = (letters | {"s"} if "." in pieces else letters - {"s"}) | ({"i"} if ignore_case else set())
    if letters:
        text = f"(?{''.join(sorted(letters))}:{text})"
    _check(text)
    return text


def slow(source: str) -> bool:
    """Whether a repetition is repeated without a bound, so that some paths take exponential time to reject."""
    return _nested(parser.parse(source.encode()), False)


def _check(source: str) -> None:
    try:
        with warnings.catch_warnings():
            # Set operations that a later Python may have: here and in Go these are plain characters.
            warnings.simplefilter("ignore", FutureWarning)
            tree = parser.parse(source.encode())
            re.compile(source.encode())
    except (OverflowError, RecursionError) as error:
        raise re.error(str(error)) from None
    for op, _ in _walk(tree):
        if str(op) in _FOREIGN:
            raise re.error(f"{_FOREIGN[str(op)]} is not supported")


def _walk(tree: Iterable[Any]) -> Iterable[tuple[Any, Any]]:
    for op, value in tree:
        yield op, value
        for inner in _inside(value):
            yield from _walk(inner)


def _nested(tree: Iterable[Any], repeated: bool) -> bool:
    for op, value in tree:
        endless = op in (codes.MAX_REPEAT, codes.MIN_REPEAT) and value[1] is codes.MAXREPEAT
        if endless and repeated:
            return True
        if any(_nested(inner, repeated or endless) for inner in _inside(value)):
            return True
    return False


def _inside(value: Any) -> Iterable[Any]:
    """The expressions below one node of Python's parse tree."""
    if isinstance(value, parser.SubPattern):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _inside(part)
