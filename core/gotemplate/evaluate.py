"""Runs the nodes of a template over data (text/template, "Actions", "Pipelines", "Variables")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.gotemplate.errors import FunctionError, Source, TemplateError
from core.gotemplate.functions import Function
from core.gotemplate.nodes import (
    Action,
    Branch,
    Call,
    Chain,
    Command,
    Const,
    Dot,
    Field,
    Jump,
    Node,
    Operand,
    Pipe,
    Text,
    Variable,
    Word,
)
from core.gotemplate.values import MISSING, Record, entries, kind, text, truth

if TYPE_CHECKING:
    from core.gotemplate.template import Limits

# A step is one node; a text costs one more per so many characters.
CHARACTERS_PER_STEP = 64
_NOTHING: Any = object()


class _Jumped(Exception):
    """break or continue on its way to the loop."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Run:
    """One execution. write() returns the text."""

    def __init__(
        self, source: Source, trees: Mapping[str, list[Node]], functions: Mapping[str, Function], limits: Limits
    ) -> None:
        self._source = source
        self._trees = trees
        self._functions = functions
        self._limits = limits
        self._steps = limits.steps
        self._room = limits.output
        self._depth = 0
        self._parts: list[str] = []
        self._variables: list[tuple[str, Any]] = []

    def write(self, name: str, data: Any) -> str:
        """Execute a template. Raises TemplateError."""
        self._variables = [("$", data)]
        self._walk(self._trees[name], data)
        return "".join(self._parts)

    # -- bounds ------------------------------------------------------------------------------

    def _spend(self, at: int, steps: int = 1) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise self._source.error(at, f"the template takes more than {self._limits.steps} steps")

    def _weigh(self, at: int, value: Any) -> None:
        if isinstance(value, str):
            self._spend(at, len(value) // CHARACTERS_PER_STEP)
            if len(value) > self._limits.output:
                raise self._source.error(at, f"a text of more than {self._limits.output} characters")

    def _print(self, at: int, piece: str) -> None:
        self._spend(at, len(piece) // CHARACTERS_PER_STEP)
        self._room -= len(piece)
        if self._room < 0:
            raise self._source.error(at, f"the template writes more than {self._limits.output} characters")
        self._parts.append(piece)

    # -- nodes ---------------------------------------------------------------------------------

    def _walk(self, nodes: list[Node], dot: Any) -> None:
        for node in nodes:
            self._spend(node.at)
            match node:
                case Text():
                    self._print(node.at, node.text)
                case Action():
                    value = self._pipe(dot, node.pipe)
                    if not node.pipe.declared:
                        self._print(node.at, self._printed(node, value))
                case Branch(kind="range"):
                    self._range(node, dot)
                case Branch():
                    kept = len(self._variables)
                    value = self._pipe(dot, node.pipe)
                    if truth(value):
                        self._walk(node.body, value if node.kind == "with" else dot)
                    else:
                        self._walk(node.other, dot)
                    del self._variables[kept:]
                case Call():
                    self._template(node, dot)
                case Jump():
                    raise _Jumped(node.kind)

    def _printed(self, node: Action, value: Any) -> str:
        if callable(value):
            raise self._source.error(node.at, f"can't print a value of type {kind(value)}")
        try:
            if node.escape is not None:
                return node.escape(value)
            return "<no value>" if value is None or value is MISSING else text(value)
        except (ValueError, TypeError, RecursionError) as error:
            raise self._source.error(node.at, f"the value cannot be written: {error}") from error

    def _range(self, node: Branch, dot: Any) -> None:
        kept = len(self._variables)
        value = self._pipe(dot, Pipe(node.pipe.at, (), False, node.pipe.commands))
        names = node.pipe.declared
        found = False
        if len(names) == 2 and isinstance(value, int) and not isinstance(value, bool):
            raise self._source.error(node.at, f"can't use {value} to iterate over more than one variable")
        try:
            for key, item in entries(value):
                found = True
                self._spend(node.at)
                given = (item,) if len(names) == 1 else (key, item)
                for name, one in zip(names, given, strict=False):
                    self._set(node.pipe.assigns, name, one)
                try:
                    self._walk(node.body, item)
                except _Jumped as jump:
                    if jump.kind == "break":
                        break
                finally:
                    del self._variables[kept:]
        except FunctionError as error:
            raise self._source.error(node.at, str(error)) from error
        if not found:
            self._walk(node.other, dot)

    def _template(self, node: Call, dot: Any) -> None:
        self._depth += 1
        if self._depth > self._limits.depth:
            raise self._source.error(node.at, f"templates call each other more than {self._limits.depth} deep")
        data = self._pipe(dot, node.pipe) if node.pipe is not None else None
        kept, self._variables = self._variables, [("$", data)]
        self._walk(self._trees[node.name], data)
        self._variables = kept
        self._depth -= 1

    # -- pipelines -------------------------------------------------------------------------------

    def _set(self, assigns: bool, name: str, value: Any) -> None:
        if not assigns:
            self._variables.append((name, value))
            return
        for index in range(len(self._variables) - 1, -1, -1):
            if self._variables[index][0] == name:
                self._variables[index] = (name, value)
                return

    def _pipe(self, dot: Any, pipe: Pipe) -> Any:
        value: Any = _NOTHING
        for command in pipe.commands:
            value = self._command(dot, command, value)
        for name in pipe.declared:
            self._set(pipe.assigns, name, value)
        return value

    def _command(self, dot: Any, command: Command, final: Any) -> Any:
        self._spend(command.at)
        first, rest = command.arguments[0], command.arguments[1:]
        match first:
            case Word():
                return self._function(dot, first, rest, final)
            case Field():
                return self._fields(dot, first.at, dot, first.names, rest, final)
            case Variable(names=names) if names:
                return self._fields(dot, first.at, self._value(first.name), names, rest, final)
            case Chain():
                return self._fields(dot, first.at, self._operand(dot, first.node), first.names, rest, final)
        if rest or final is not _NOTHING:
            raise self._source.error(first.at, "can't give arguments to a value that is no function")
        return self._operand(dot, first)

    def _operand(self, dot: Any, node: Operand) -> Any:
        match node:
            case Const():
                return node.value
            case Dot():
                return dot
            case Word():
                return self._function(dot, node, [], _NOTHING)
            case Field():
                return self._fields(dot, node.at, dot, node.names, [], _NOTHING)
            case Variable():
                value = self._value(node.name)
                return self._fields(dot, node.at, value, node.names, [], _NOTHING) if node.names else value
            case Chain():
                return self._fields(dot, node.at, self._operand(dot, node.node), node.names, [], _NOTHING)
            case Pipe():
                return self._pipe(dot, node)

    def _value(self, name: str) -> Any:
        return next(value for known, value in reversed(self._variables) if known == name)

    def _fields(
        self, dot: Any, at: int, value: Any, names: tuple[str, ...], rest: list[Operand], final: Any
    ) -> Any:
        for number, name in enumerate(names):
            self._spend(at)
            if value is MISSING:
                break
            if value is None:
                raise self._source.error(at, f"nil data; no entry for key {name!r}")
            if not isinstance(value, Mapping):
                raise self._source.error(at, f"can't evaluate field {name} in type {kind(value)}")
            if isinstance(value, Record) and name not in value:
                raise self._source.error(at, f"can't evaluate field {name}, there is {', '.join(value) or 'none'}")
            found = value.get(name, MISSING)
            last = number == len(names) - 1
            if callable(found):
                arguments = self._arguments(dot, rest, final) if last else []
                value = self._invoke(at, name, Function(found), arguments)
            elif last and (rest or final is not _NOTHING):
                raise self._source.error(at, f"{name} has arguments but cannot be invoked as function")
            else:
                value = found
        return value

    def _arguments(self, dot: Any, rest: list[Operand], final: Any) -> list[Any]:
        found = [self._operand(dot, node) for node in rest]
        if final is not _NOTHING:
            found.append(final)
        return [None if value is MISSING else value for value in found]

    def _function(self, dot: Any, word: Word, rest: list[Operand], final: Any) -> Any:
        function = self._functions[word.name]
        if word.name in ("and", "or") and rest:
            # The first argument that decides ends the evaluation; later ones may not be allowed to run.
            for node in rest:
                self._spend(word.at)
                value = self._operand(dot, node)
                if truth(value) == (word.name == "or"):
                    return value
            return value if final is _NOTHING else final
        return self._invoke(word.at, word.name, function, self._arguments(dot, rest, final))

    def _invoke(self, at: int, name: str, function: Function, arguments: list[Any]) -> Any:
        count = len(arguments)
        if count < function.least or (function.most is not None and count > function.most):
            wanted = f"{function.least}" if function.most == function.least else f"at least {function.least}"
            if function.most not in (None, function.least) and count > function.least:
                wanted = f"at most {function.most}"
            raise self._source.error(at, f"wrong number of args for {name}: want {wanted} got {count}")
        for argument in arguments:
            self._weigh(at, argument)
        try:
            value = function.call(*arguments)
        except TemplateError:
            raise
        except (ValueError, TypeError, ArithmeticError, LookupError, RecursionError) as error:
            raise self._source.error(at, f"error calling {name}: {error}") from error
        self._weigh(at, value)
        return value
