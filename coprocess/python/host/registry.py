"""Which functions of a bundle are hooks, and how each is called (tyk-plugins 5.3)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from coprocess.python.host.bundle import BundleFault
from coprocess.python.host.tyk import decorators
from coprocess.python.host.tyk.event import TykEvent
from coprocess.python.host.tyk.object import TykCoProcessObject

_KINDS = tuple(
    kind for name in decorators.__all__ if (kind := getattr(decorators, name)) is not decorators.HandlerDecorator
)
HOOK_SHAPES = "(request, session, spec), (request, session, metadata, spec) or (request, response, session, metadata, spec)"


class WrongReturn(TypeError):
    """A hook returned something else than its form promises."""


def _expect(returned: Any, count: int, name: str, form: str) -> Any:
    if not isinstance(returned, (tuple, list)) or len(returned) != count:
        shown = f"{len(returned)} values" if isinstance(returned, (tuple, list)) else type(returned).__name__
        raise WrongReturn(f"{name} returned {shown}; expected {form}")
    return returned


def _call_3(function: Callable[..., Any], call: TykCoProcessObject) -> None:
    """Only what is changed in place is kept; returned objects are not put in its place."""
    _expect(function(call.request, call.session, call.spec), 2, call.hook_name, "(request, session)")


def _call_4(function: Callable[..., Any], call: TykCoProcessObject) -> None:
    """The session is part of the reply from here on, even unchanged; returned metadata are merged into its own."""
    returned = function(call.request, call.session, call.metadata, call.spec)
    merged = _expect(returned, 3, call.hook_name, "(request, session, metadata)")[2]
    call.session.SetInParent()
    kept = call.session.metadata  # in protobuf's pure Python, CopyFrom() has put another map in its place
    if merged is not kept:
        for key in list(merged):
            kept[key] = merged[key]


def _call_5(function: Callable[..., Any], call: TykCoProcessObject) -> None:
    """What it returns is not used."""
    function(call.request, call.response, call.session, call.metadata, call.spec)


_CALLS: dict[int, Callable[[Callable[..., Any], TykCoProcessObject], None]] = {3: _call_3, 4: _call_4, 5: _call_5}


def positional(function: Callable[..., Any]) -> int:
    """How many positional parameters a function has, those with defaults included."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds for parameter in inspect.signature(function).parameters.values())


def _check(function: Callable[..., Any], file: str, kind: str, name: str, counts: tuple[int, ...], shapes: str) -> int:
    if inspect.iscoroutinefunction(function):
        raise BundleFault(f"{file}: @{kind} {name}: is an async function; expected a plain one")
    count = positional(function)
    if count not in counts:
        raise BundleFault(f"{file}: @{kind} {name}: has {count} positional parameters; expected {shapes}")
    return count


class Registry:
    """The hooks and event handlers of one bundle, by function name; of two with one name the last counts."""

    def __init__(self, module: ModuleType) -> None:
        """Raises BundleFault for a function that could not be called."""
        self._file = str(module.__file__)
        self._hooks: dict[str, tuple[Callable[..., Any], Callable[[Callable[..., Any], TykCoProcessObject], None]]] = {}
        self._events: dict[str, Callable[..., Any]] = {}
        for found in list(vars(module).values()):
            kind = type(found)
            if kind not in _KINDS:
                continue
            if kind is decorators.Event:
                _check(found.callback, self._file, kind.__name__, found.name, (2,), "(event, spec)")
                self._events[found.name] = found.callback
            else:
                count = _check(found.callback, self._file, kind.__name__, found.name, tuple(_CALLS), HOOK_SHAPES)
                self._hooks[found.name] = (found.callback, _CALLS[count])

    @property
    def hooks(self) -> list[str]:
        return sorted(self._hooks)

    @property
    def events(self) -> list[str]:
        return sorted(self._events)

    def run(self, raw: bytes) -> TykCoProcessObject:
        """Run the hook that an encoded coprocess.Object names. Raises LookupError, WrongReturn, and what the hook raises."""
        call = TykCoProcessObject(raw)
        try:
            function, how = self._hooks[call.hook_name]
        except KeyError:
            raise self._missing("Hook", call.hook_name, self.hooks) from None
        how(function, call)
        return call

    def fire(self, raw: bytes) -> None:
        """Run the handler of an event. Raises LookupError, ValueError, and what the handler raises."""
        event = TykEvent(raw)
        try:
            handler = self._events[event.handler_name]
        except KeyError:
            raise self._missing("Event handler", event.handler_name, self.events) from None
        handler(event, event.spec)

    def _missing(self, what: str, name: str, known: list[str]) -> LookupError:
        return LookupError(f"{what} {name!r} is not defined in {self._file}; it defines {', '.join(known) or 'none'}")
