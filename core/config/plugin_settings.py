"""The settings of one plugin server: an object of tyk.conf, read into the dataclass that its driver takes."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_SETTINGS = {
    "grpc": ("coprocess.grpc.settings", "GrpcSettings"),
    "jsonrpc": ("coprocess.jsonrpc.settings", "JsonRpcSettings"),
    "python": ("coprocess.python.settings", "PythonSettings"),
}
DRIVERS = tuple(_SETTINGS)
NAME = "name"   # of settings: the server's key, so that the object has no such field
_WORDS: dict[Any, str] = {
    bool: "true or false", int: "an integer", float: "a number", str: "a text", tuple[str, ...]: "a list of texts",
    Sequence[str]: "a list of texts", Mapping[str, str]: "an object of texts",
}  # fmt: skip

Note = Callable[[str, str, str], None]
"""Called with the name of a field ("" for the whole object), what is wrong with it, and what to do about it."""


def settings_class(driver: str) -> Any:
    """The dataclass of a driver's settings. It is only loaded when a configuration names the driver."""
    module, name = _SETTINGS[driver]
    return getattr(importlib.import_module(module), name)


def read_settings(driver: str, values: Mapping[str, Any], given: Mapping[str, Any], note: Note) -> Any:
    """The settings that an object asks for, None if it cannot be used; `note` then has heard why. given: fields that the
    object need not have."""
    cls = settings_class(driver)
    hints = get_type_hints(cls)
    known = {one.name: one for one in dataclasses.fields(cls) if one.name != NAME and not one.metadata.get("given")}
    taken: dict[str, Any] = {}
    good = True
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(sorted(known))}."
            note(name, f"the driver {driver} has no such setting", hint)
            good = False
            continue
        fits, read = _read(value, hints[name])
        if fits:
            taken[name] = read
        else:
            note(name, f"expected {_word(hints[name])}, got {value!r:.60}", "")
            good = False
    for name, one in known.items():
        optional = one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING
        if name not in values and name not in given and not optional:
            note(name, f"the driver {driver} needs it", "")
            good = False
    if not good:
        return None
    try:
        return cls(**{**{name: value for name, value in given.items() if name in hints}, **taken})
    except ValueError as error:
        note(*_said(error, known), "")
        return None


def _said(error: ValueError, known: Collection[str]) -> tuple[str, str]:
    """The field that an error is about, "" without one, and what it says of it. Errors of settings begin with the field."""
    field, _, problem = str(error).partition(": ")
    field, problem = getattr(error, "field", field), getattr(error, "problem", problem)
    return (field, problem) if field in known else ("", str(error))


def _read(value: Any, hint: Any) -> tuple[bool, Any]:
    """Whether a JSON value is of a field's type, and what the field is then."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        found = [read for one in get_args(hint) if (read := _read(value, one))[0]]
        return found[0] if found else (False, None)
    if origin is Literal:
        return value in get_args(hint), value
    if origin is tuple:
        return _tuple(value, get_args(hint))
    if origin is Mapping:
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values()), value
    if origin is Sequence:
        return isinstance(value, list) and all(isinstance(one, str) for one in value), value
    if hint is float:
        return type(value) in (int, float), float(value) if type(value) in (int, float) else None
    return type(value) is hint or (hint is type(None) and value is None), value


def _tuple(value: Any, items: tuple[Any, ...]) -> tuple[bool, Any]:
    """A list of values of one type, as a tuple."""
    if not isinstance(value, list):
        return False, None
    read = [_read(one, items[0]) for one in value]
    return all(fits for fits, _ in read), tuple(one for _, one in read)


def _word(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(repr(one) for one in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_word(one) for one in get_args(hint))
    return _WORDS.get(hint, "another type")
