"""From a source to tokens (text/template/parse, "Text and spaces" and "Actions" of the package's documentation)."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from core.gotemplate.errors import Source

SPACE = " \t\r\n"
LEFT, RIGHT = "{{", "}}"

_TOKEN = re.compile(
    r"""
    (?P<declare>:=) | (?P<assign>=) | (?P<pipe>\|) | (?P<comma>,) | (?P<open>\() | (?P<close>\))
    | (?P<string>"(?:[^"\\\n]|\\[^\n])*") | (?P<raw>`[^`]*`) | (?P<char>'(?:[^'\\\n]|\\[^\n])+')
    | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+
        |(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?))
    | (?P<variable>\$\w*) | (?P<field>\.[^\W\d]\w*) | (?P<dot>\.) | (?P<word>[^\W\d]\w*)
    """,
    re.VERBOSE,
)
_BLANK = re.compile(r"[ \t\r\n]*")
_NEEDS_END = frozenset(("number", "variable", "field", "word", "char", "string", "raw"))
_ENDS = SPACE + ".,|:=)("


@dataclass(frozen=True, slots=True)
class Token:
    """kind: a group of the lexer, or text, left, right, end. spaced: white space stands in front of it."""

    kind: str
    text: str
    at: int
    spaced: bool = False


def tokens(source: Source) -> Iterator[Token]:
    """Yield the tokens of a source; comments leave none. Raises TemplateError."""
    text = source.text
    at, trim = 0, False
    while True:
        opened = text.find(LEFT, at)
        if opened < 0:
            yield Token("text", _trimmed(text[at:], trim, False), at)
            yield Token("end", "", len(text))
            return
        inside = opened + len(LEFT)
        trim_before = text[inside : inside + 1] == "-" and text[inside + 1 : inside + 2] in tuple(SPACE)
        yield Token("text", _trimmed(text[at:opened], trim, trim_before), at)
        if trim_before:
            inside += 2
        if text.startswith("/*", inside):
            at, trim = _comment(source, opened, inside)
            continue
        yield Token("left", LEFT, opened)
        at, trim = yield from _action(source, opened, inside)


def _trimmed(text: str, left: bool, right: bool) -> str:
    if left:
        text = text.lstrip(SPACE)
    return text.rstrip(SPACE) if right else text


def _comment(source: Source, opened: int, at: int) -> tuple[int, bool]:
    text = source.text
    closed = text.find("*/", at + 2)
    if closed < 0:
        raise source.error(opened, "unclosed comment")
    end = closed + 2
    if text.startswith(RIGHT, end):
        return end + 2, False
    if text[end : end + 1] in tuple(SPACE) and text.startswith("-" + RIGHT, end + 1):
        return end + 4, True
    raise source.error(opened, "a comment must end right before '}}'")


def _action(source: Source, opened: int, at: int) -> Generator[Token, None, tuple[int, bool]]:
    """Yield the tokens up to the closing braces; returns the offset behind them and whether to trim."""
    text = source.text
    while True:
        blank = _BLANK.match(text, at)
        end = blank.end() if blank else at
        spaced, at = end > at, end
        if text.startswith(RIGHT, at):
            yield Token("right", RIGHT, at, spaced)
            return at + 2, False
        if (spaced or text[at - 1 : at] in tuple(SPACE)) and text.startswith("-" + RIGHT, at):
            yield Token("right", RIGHT, at, True)
            return at + 3, True
        if at >= len(text):
            raise source.error(opened, "unclosed action: '{{' without '}}'")
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            what = "unterminated quoted string" if text[at] in "\"'`" else f"unexpected {text[at]!r}"
            raise source.error(at, f"{what} in an action")
        kind, end = match.lastgroup, match.end()
        if kind in _NEEDS_END and end < len(text) and text[end] not in _ENDS and not text.startswith(RIGHT, end):
            raise source.error(end, f"unexpected {text[end]!r} behind {match.group()!r}")
        yield Token(kind, match.group(), at, spaced)
        at = end
