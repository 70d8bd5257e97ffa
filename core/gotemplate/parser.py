"""From tokens to nodes. Unknown functions, variables and templates are errors here, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from core.gotemplate import literals
from core.gotemplate.errors import Source
from core.gotemplate.lexer import SPACE, Token, tokens
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

MAX_NESTING = 60
_CONTROL = frozenset(("if", "with", "range"))
_KEYWORDS = _CONTROL | {"else", "end", "define", "block", "template", "break", "continue"}
_CONSTANTS = frozenset(("number", "string", "raw", "char"))


class Parser:
    """Parses one source. trees holds its templates by name; the source itself has the source's name."""

    def __init__(self, source: Source, functions: Mapping[str, Any]) -> None:
        self.trees: dict[str, list[Node]] = {}
        self.calls: list[tuple[int, str]] = []
        self._source = source
        self._functions = functions
        self._tokens = list(tokens(source))
        self._next = 0
        self._depth = 0
        self._loops = 0
        self._variables = ["$"]

    def parse(self) -> None:
        """Fill trees. Raises TemplateError."""
        body, _ = self._list(frozenset(), top=True)
        self.trees[self._source.name] = body
        for at, name in self.calls:
            if name not in self.trees:
                raise self._source.error(at, f"template {name!r} is not defined")

    # -- tokens --------------------------------------------------------------------------

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _fail(self, token: Token, message: str) -> NoReturn:
        raise self._source.error(token.at, message)

    def _unexpected(self, token: Token, where: str) -> NoReturn:
        what = {"right": "'}}'", "end": "the end of the template"}.get(token.kind, repr(token.text))
        self._fail(token, f"unexpected {what} in {where}")

    def _expect(self, kind: str, where: str) -> Token:
        token = self._take()
        if token.kind != kind:
            self._unexpected(token, where)
        return token

    def _deeper(self, token: Token) -> None:
        self._depth += 1
        if self._depth > MAX_NESTING:
            self._fail(token, f"nested deeper than {MAX_NESTING} levels")

    # -- lists of nodes --------------------------------------------------------------------

    def _list(self, until: frozenset[str], *, top: bool = False) -> tuple[list[Node], Token]:
        """Parse until one of the words, whose token (behind ``{{``) is returned."""
        found: list[Node] = []
        while True:
            token = self._take()
            if token.kind == "text":
                if token.text:
                    found.append(Text(token.at, token.text))
                continue
            if token.kind == "end":
                if until:
                    self._fail(token, "unexpected end of the template, expected {{end}}")
                return found, token
            word = self._peek()
            if word.kind == "word" and word.text in until:
                return found, self._take()
            if word.kind == "word" and word.text == "define":
                if not top:
                    self._fail(word, "unexpected {{define}}: it must stand outside of every other block")
                self._define()
            else:
                found.append(self._statement(token))

    def _statement(self, left: Token) -> Node:
        word = self._peek()
        name = word.text if word.kind == "word" else ""
        if name in ("break", "continue") and name in self._functions:
            name = ""
        if name in _CONTROL:
            self._take()
            return self._branch(word)
        if name == "template":
            self._take()
            return self._call(word)
        if name == "block":
            self._take()
            return self._block(word)
        if name in ("break", "continue"):
            self._take()
            self._expect("right", f"{{{{{name}}}}}")
            if not self._loops:
                self._fail(word, f"{{{{{name}}}}} outside of {{{{range}}}}")
            return Jump(word.at, name)
        if name in ("else", "end"):
            self._fail(word, f"unexpected {{{{{name}}}}}")
        return Action(left.at, self._pipe("right", "an action"))

    def _branch(self, word: Token) -> Branch:
        self._deeper(word)
        kept = len(self._variables)
        pipe = self._pipe("right", word.text, ranges=word.text == "range")
        self._loops += word.text == "range"
        body, end = self._list(frozenset(("else", "end")))
        self._loops -= word.text == "range"
        branch = Branch(word.at, word.text, pipe, body)
        if end.text == "else":
            again = self._peek()
            if again.kind == "word" and again.text in ("if", "with") and word.text != "range":
                if word.text != again.text:
                    self._fail(again, f"expected {{{{else}}}} or {{{{else {word.text}}}}}")
                # "else if" shares the {{end}} with its "if".
                self._take()
                branch.other = [self._branch(again)]
                del self._variables[kept:]
                self._depth -= 1
                return branch
            self._expect("right", "{{else}}")
            branch.other, end = self._list(frozenset(("end", "else")))
            if end.text == "else":
                self._fail(end, "expected {{end}}, got another {{else}}")
        self._expect("right", "{{end}}")
        del self._variables[kept:]
        self._depth -= 1
        return branch

    def _name(self, where: str) -> str:
        token = self._take()
        if token.kind not in ("string", "raw"):
            self._fail(token, f"expected the name of a template in quotes in {where}")
        return str(self._constant(token).value)

    def _call(self, word: Token) -> Call:
        name = self._name("{{template}}")
        pipe = None
        if self._peek().kind == "right":
            self._take()
        else:
            pipe = self._pipe("right", "{{template}}")
        self.calls.append((word.at, name))
        return Call(word.at, name, pipe)

    def _block(self, word: Token) -> Call:
        name = self._name("{{block}}")
        pipe = self._pipe("right", "{{block}}")
        self._body(word, name)
        self.calls.append((word.at, name))
        return Call(word.at, name, pipe)

    def _define(self) -> None:
        word = self._take()
        name = self._name("{{define}}")
        self._expect("right", "{{define}}")
        self._body(word, name)

    def _body(self, word: Token, name: str) -> None:
        """The template between {{define}} or {{block}} and its {{end}}; it sees no variables but ``$``."""
        self._deeper(word)
        kept, self._variables = self._variables, ["$"]
        loops, self._loops = self._loops, 0
        body, _ = self._list(frozenset(("end",)))
        self._expect("right", "{{end}}")
        self._variables, self._loops = kept, loops
        self._depth -= 1
        if name == self._source.name or not _empty(self.trees.get(name, [])):
            if not _empty(body):
                self._fail(word, f"template {name!r} is defined twice")
            return
        self.trees[name] = body

    # -- pipelines ---------------------------------------------------------------------------

    def _pipe(self, end: str, where: str, *, ranges: bool = False) -> Pipe:
        first = self._peek()
        declared, assigns = self._declaration(where, ranges)
        commands: list[Command] = []
        while True:
            token = self._peek()
            if token.kind == end:
                self._take()
                break
            if token.kind in ("right", "close", "end", "pipe", "comma", "declare", "assign"):
                self._unexpected(token, where)
            commands.append(self._command(end, where))
            if self._peek().kind == "pipe":
                self._take()
        if not commands:
            self._fail(first, f"missing value for {where}")
        if any(isinstance(node := command.arguments[0], Const) and node.kind == "nil" for command in commands):
            self._fail(first, "nil is not a command")
        for command in commands[1:]:
            if isinstance(command.arguments[0], Const | Dot):
                raise self._source.error(command.at, "a stage of a pipeline must be a function or a method")
        self._variables.extend(declared if not assigns else ())
        return Pipe(first.at, declared, assigns, commands)

    def _declaration(self, where: str, ranges: bool) -> tuple[tuple[str, ...], bool]:
        names: list[str] = []
        start = self._next
        while self._peek().kind == "variable":
            token = self._take()
            names.append(token.text)
            follows = self._peek()
            if follows.kind == "comma" and ranges and len(names) == 1:
                self._take()
                if self._peek().kind != "variable":
                    self._unexpected(self._peek(), where)
                continue
            if follows.kind in ("declare", "assign"):
                self._take()
                assigns = follows.kind == "assign"
                if assigns:
                    for name in names:
                        if name not in self._variables:
                            self._fail(token, f"undefined variable {name!r}")
                return tuple(names), assigns
            break
        self._next = start
        return (), False

    def _command(self, end: str, where: str) -> Command:
        at = self._peek().at
        found: list[Operand] = []
        while True:
            token = self._peek()
            if token.kind in ("pipe", end):
                return Command(at, found)
            if found and not token.spaced:
                self._unexpected(token, where)
            found.append(self._operand(where))

    def _operand(self, where: str) -> Operand:
        token = self._take()
        node = self._term(token, where)
        names: list[str] = []
        while self._peek().kind == "field" and not self._peek().spaced:
            names.append(self._take().text[1:])
        if not names:
            return node
        match node:
            case Field():
                return Field(node.at, node.names + tuple(names))
            case Variable():
                return Variable(node.at, node.name, tuple(names))
            case Const() | Dot():
                self._fail(token, f"unexpected field behind {token.text!r}")
        return Chain(token.at, node, tuple(names))

    def _term(self, token: Token, where: str) -> Operand:
        if token.kind == "word":
            if token.text in ("true", "false"):
                return Const(token.at, token.text == "true", "bool")
            if token.text == "nil":
                return Const(token.at, None, "nil")
            if token.text in self._functions:
                return Word(token.at, token.text)
            if token.text in _KEYWORDS:
                self._unexpected(token, where)
            self._fail(token, f"function {token.text!r} is not defined")
        if token.kind == "dot":
            return Dot(token.at)
        if token.kind == "field":
            return Field(token.at, (token.text[1:],))
        if token.kind == "variable":
            if token.text not in self._variables:
                self._fail(token, f"undefined variable {token.text!r}")
            return Variable(token.at, token.text, ())
        if token.kind == "open":
            self._deeper(token)
            pipe = self._pipe("close", "parentheses")
            self._depth -= 1
            return pipe
        if token.kind in _CONSTANTS:
            return self._constant(token)
        return self._unexpected(token, where)

    def _constant(self, token: Token) -> Const:
        try:
            if token.kind == "raw":
                return Const(token.at, token.text[1:-1].replace("\r", ""), "string")
            if token.kind == "string":
                return Const(token.at, literals.unquote(token.text), "string")
            if token.kind == "char":
                char = literals.unquote(token.text)
                if len(char) != 1:
                    raise ValueError("expected one character")
                return Const(token.at, ord(char), "number")
            return Const(token.at, literals.number(token.text), "number")
        except ValueError as error:
            raise self._source.error(token.at, f"{token.text!r} cannot be read: {error}") from error


def _empty(body: list[Node]) -> bool:
    return all(isinstance(node, Text) and not node.text.strip(SPACE) for node in body)
