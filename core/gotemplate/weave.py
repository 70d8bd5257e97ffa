"""Gives every value of a template the escaper of its place (html/template, "Contexts").

A template that is called in several contexts is copied for each of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace

from core.gotemplate.contexts import EscapingMode
from core.gotemplate.errors import Source
from core.gotemplate.nodes import Action, Branch, Call, Command, Jump, Node, Pipe, Text, Word

MAX_COPIES = 200


def weave(source: Source, trees: Mapping[str, list[Node]], mode: EscapingMode) -> dict[str, list[Node]]:
    """Return the trees with escapers. Raises TemplateError where a value may not stand, or where branches do not fit."""
    weaver = _Weaver(source, trees, mode)
    _, end = weaver.template(0, source.name, mode.start)
    left = "" if end is None else mode.unfinished(end)
    if left:
        raise source.error(max(0, len(source.text) - 1), f"the template ends inside of {left}")
    return weaver.woven


class _Weaver:
    def __init__(self, source: Source, trees: Mapping[str, list[Node]], mode: EscapingMode) -> None:
        self.woven: dict[str, list[Node]] = {}
        self._source = source
        self._trees = trees
        self._mode = mode
        # (name, context) -> (name of the copy, context behind it)
        self._done: dict[tuple[str, Hashable], tuple[str, Hashable | None]] = {}
        self._jumps: list[Hashable] = []

    def template(self, at: int, name: str, context: Hashable) -> tuple[str, Hashable | None]:
        key = (name, context)
        found = self._done.get(key)
        if found is not None:
            return found
        if len(self._done) >= MAX_COPIES:
            raise self._source.error(at, f"more than {MAX_COPIES} templates in different contexts")
        copy = name if name not in self.woven else f"{name}\0{len(self._done)}"
        self.woven[copy] = []
        # While it is being read a template is taken to end where it starts: checked below for those that call themselves.
        self._done[key] = (copy, context)
        body, end = self._nodes(self._trees[name], context)
        self.woven[copy] = body
        if end != context and self._calls_itself(name):
            raise self._source.error(at, f"template {name!r} calls itself and ends in another context than it starts in")
        self._done[key] = (copy, end)
        return copy, end

    def _calls_itself(self, name: str) -> bool:
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            for called in _called(self._trees[waiting.pop()]):
                if called == name:
                    return True
                if called not in seen:
                    seen.add(called)
                    waiting.append(called)
        return False

    def _nodes(self, nodes: list[Node], context: Hashable | None) -> tuple[list[Node], Hashable | None]:
        """The nodes with escapers and the context behind them; None behind a jump."""
        found: list[Node] = []
        for node in nodes:
            if context is None:
                break
            match node:
                case Text():
                    text, context = self._mode.after(context, node.text)
                    found.append(Text(node.at, text))
                case Action():
                    if node.pipe.declared:
                        found.append(node)
                        continue
                    try:
                        escape, context = self._mode.at_value(context)
                    except ValueError as error:
                        raise self._source.error(node.at, str(error)) from error
                    found.append(Action(node.at, _without_html(node.pipe), escape))
                case Branch():
                    branch, context = self._branch(node, context)
                    found.append(branch)
                case Call():
                    copy, context = self.template(node.at, node.name, context)
                    found.append(replace(node, name=copy))
                case Jump():
                    self._jumps.append(context)
                    found.append(node)
                    context = None
        return found, context

    def _branch(self, node: Branch, context: Hashable) -> tuple[Branch, Hashable | None]:
        kept = self._jumps
        if node.kind == "range":
            self._jumps = []
        body, behind = self._nodes(node.body, context)
        if node.kind == "range":
            for jump in self._jumps:
                behind = self._join(node, behind, jump)
            self._jumps = kept
            if behind is not None:
                # The body runs again where it ended.
                behind = self._join(node, behind, context)
                if behind != context:
                    body, again = self._nodes(node.body, behind)
                    self._join(node, again, behind)
        other, otherwise = self._nodes(node.other, context)
        return replace(node, body=body, other=other), self._join(node, behind, otherwise)

    def _join(self, node: Branch, first: Hashable | None, second: Hashable | None) -> Hashable | None:
        if first is None or second is None:
            return first if second is None else second
        joined = self._mode.join(first, second)
        if joined is None:
            raise self._source.error(node.at, f"the branches of {{{{{node.kind}}}}} end in different contexts")
        return joined


def _called(nodes: list[Node]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, Call):
            found.add(node.name)
        elif isinstance(node, Branch):
            found |= _called(node.body) | _called(node.other)
    return found


def _without_html(pipe: Pipe) -> Pipe:
    """The pipeline without a last ``html``: the escaper of the place does its work."""
    last = pipe.commands[-1]
    if not isinstance(last.arguments[0], Word) or last.arguments[0].name != "html":
        return pipe
    if len(last.arguments) == 1 and len(pipe.commands) > 1:
        return replace(pipe, commands=pipe.commands[:-1])
    if len(last.arguments) == 2 and len(pipe.commands) == 1:
        return replace(pipe, commands=[Command(last.at, last.arguments[1:])])
    return pipe
