"""The parsed form of a template. ``at`` is the offset in the source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Escaper = Callable[[Any], str]


@dataclass(slots=True)
class Text:
    at: int
    text: str


@dataclass(slots=True)
class Const:
    """A number, string, character or truth value; kind names it for messages."""

    at: int
    value: Any
    kind: str


@dataclass(slots=True)
class Dot:
    at: int


@dataclass(slots=True)
class Word:
    """The name of a function."""

    at: int
    name: str


@dataclass(slots=True)
class Field:
    """Fields of the dot."""

    at: int
    names: tuple[str, ...]


@dataclass(slots=True)
class Variable:
    """A variable (``$`` with its name) and fields of it."""

    at: int
    name: str
    names: tuple[str, ...]


@dataclass(slots=True)
class Chain:
    """Fields of a term in parentheses, or of a function's value."""

    at: int
    node: Operand
    names: tuple[str, ...]


@dataclass(slots=True)
class Command:
    at: int
    arguments: list[Operand]


@dataclass(slots=True)
class Pipe:
    """declared: the variables that get the value; assigns: they exist already."""

    at: int
    declared: tuple[str, ...]
    assigns: bool
    commands: list[Command]


Operand = Const | Dot | Word | Field | Variable | Chain | Pipe


@dataclass(slots=True)
class Action:
    """Prints a value, through escape where the template has a mode that escapes."""

    at: int
    pipe: Pipe
    escape: Escaper | None = None


@dataclass(slots=True)
class Branch:
    """if, with or range."""

    at: int
    kind: str
    pipe: Pipe
    body: list[Node]
    other: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Call:
    """The template statement."""

    at: int
    name: str
    pipe: Pipe | None


@dataclass(slots=True)
class Jump:
    """break or continue."""

    at: int
    kind: str


Node = Text | Action | Branch | Call | Jump
