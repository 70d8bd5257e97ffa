"""The functions of the language (text/template, "Functions"). More can be put beside them: Functions is a mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.gotemplate import escapers, fmt
from core.gotemplate.errors import FunctionError
from core.gotemplate.values import MISSING, Record, equal, is_list, kind, less, truth


@dataclass(frozen=True, slots=True)
class Function:
    """A function: what is called, and with how many arguments (most: None for any number).

    It gets plain values (see values.py), None for no value, and raises FunctionError for arguments that it refuses.
    """

    call: Callable[..., Any]
    least: int = 0
    most: int | None = None


Functions = Mapping[str, Function]


def _both(*values: Any) -> Any:
    return next((value for value in values if not truth(value)), values[-1])


def _either(*values: Any) -> Any:
    return next((value for value in values if truth(value)), values[-1])


def _eq(first: Any, *others: Any) -> bool:
    return any(equal(first, other) for other in others)


def _offset(value: Any, size: int, *, past: bool = False) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FunctionError(f"cannot index slice/array with type {kind(value)}")
    if not 0 <= value < size + past:
        raise FunctionError(f"index out of range: {value}")
    return value


def index(value: Any, *keys: Any) -> Any:
    """Items of maps and lists, one level per key. Raises FunctionError."""
    for key in keys:
        if value is None or value is MISSING:
            raise FunctionError("index of untyped nil")
        if isinstance(value, Mapping) and not isinstance(value, Record):
            if not isinstance(key, str):
                raise FunctionError(f"value has type {kind(key)}; should be string")
            value = value.get(key, MISSING)
        elif isinstance(value, str):
            raw = value.encode("utf-8", "surrogatepass")
            value = raw[_offset(key, len(raw))]
        elif is_list(value) or isinstance(value, bytes):
            value = value[_offset(key, len(value))]
        else:
            raise FunctionError(f"can't index item of type {kind(value)}")
    return value


def cut(value: Any, *bounds: Any) -> Any:
    """Go's slice of a text (by bytes) or a list. Raises FunctionError."""
    if isinstance(value, str):
        if len(bounds) == 3:
            raise FunctionError("cannot 3-index slice a string")
        raw = value.encode("utf-8", "surrogatepass")
        return cut(raw, *bounds).decode("utf-8", "replace")
    if not is_list(value) and not isinstance(value, bytes):
        raise FunctionError(f"can't slice item of type {kind(value)}")
    at = [_offset(bound, len(value), past=True) for bound in bounds]
    if at != sorted(at):
        raise FunctionError(f"invalid slice index: {at[0]} > {at[-1]}")
    return value[at[0] if at else 0 : at[1] if len(at) > 1 else len(value)]


def length(value: Any) -> int:
    """Entries of a map or list, bytes of a text. Raises FunctionError."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes | Mapping) or is_list(value):
        return len(value)
    raise FunctionError(f"len of type {kind(value)}")


def _call(function: Any, *values: Any) -> Any:
    if not callable(function):
        raise FunctionError(f"call of a value of type {kind(function)}, which is no function")
    return function(*values)


def _printf(form: Any, *values: Any) -> str:
    if not isinstance(form, str):
        raise FunctionError(f"wrong type for value; expected string; got {kind(form)}")
    return fmt.sprintf(form, values)


def _printed(values: tuple[Any, ...]) -> str:
    return fmt.sprint(tuple("<no value>" if value is None else value for value in values))


BUILTINS: Functions = {
    "and": Function(_both, 1),
    "or": Function(_either, 1),
    "not": Function(lambda value: not truth(value), 1, 1),
    "eq": Function(_eq, 2),
    "ne": Function(lambda first, second: not equal(first, second), 2, 2),
    "lt": Function(less, 2, 2),
    "le": Function(lambda first, second: less(first, second) or equal(first, second), 2, 2),
    "gt": Function(lambda first, second: less(second, first), 2, 2),
    "ge": Function(lambda first, second: less(second, first) or equal(first, second), 2, 2),
    "len": Function(length, 1, 1),
    "index": Function(index, 1),
    "slice": Function(cut, 1, 4),
    "call": Function(_call, 1),
    "print": Function(lambda *values: fmt.sprint(values)),
    "println": Function(lambda *values: fmt.sprintln(values)),
    "printf": Function(_printf, 1),
    "html": Function(lambda *values: escapers.html(_printed(values))),
    "js": Function(lambda *values: escapers.js(_printed(values))),
    "urlquery": Function(lambda *values: escapers.urlquery(_printed(values))),
}
