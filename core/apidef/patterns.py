"""Paths of endpoint entries as regular expressions (tyk-core 2.5).

An expression is written for Go and runs here, so what would mean something else is translated or refused: an entry
that restricts must never match less than its author sees in it.
"""

from __future__ import annotations

import re
from functools import lru_cache

from accel.linear import Linear
from core.apidef.options import CompileOptions

_VARIABLE = re.compile(r"\{[^{}/]*[A-Za-z_][^{}/]*\}")
_LEADING_FLAGS = re.compile(r"\(\?([is]+)\)")
_OTHER_FLAGS = re.compile(r"\(\?[imsU-]*[mU]")
# Escapes and classes are passed over whole, so that only a bare "$" or ".", or "\z", is found.
_PIECE = re.compile(r"\\.|\[\^?\]?(?:\[:\^?[a-z]*:\]|\\.|[^\]\\])*\]|[^\\\[]|[\\\[]", re.DOTALL)
_SIGN = re.compile(r"[.^$*+?{}\[\]\\|()]")
_NAMED_CLASS = re.compile(r"\[:\^?[a-z]+:\]")


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
def translated(pattern: str, ignore_case: bool = False, *, dot_all: bool = True) -> str:
    """Return a Go expression over text as the source of a Python one over bytes. Raises re.error.

    "$" is the end of the text and not what stands before a last line feed. "." is any character, a line feed too
    (dot_all): an encoded one must not lead around an entry.
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
    if dot_all:
        letters = letters | {"s"} if "." in pieces else letters - {"s"}
    letters |= {"i"} if ignore_case else set()
    if letters:
        text = f"(?{''.join(sorted(letters))}:{text})"
    if _SIGN.search(text):
        Linear(text.encode())
    return text
