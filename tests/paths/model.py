"""What path entries mean, said plainly: the reference for the compiled matcher. Brute force, no regular expressions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ORDER = ("mock_response", "ignored", "black_list", "white_list")
OPEN, IGNORED, FORBIDDEN = "open", "ignored", "forbidden"


@dataclass(frozen=True)
class Entry:
    """One entry of extended_paths. actions: method -> "no_action", "reply" or anything else."""

    kind: str
    path: str
    method: str = ""
    disabled: bool = False
    ignore_case: bool = False
    actions: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As it stands in a definition."""
        found: dict[str, Any] = {"path": self.path, "method": self.method, "disabled": self.disabled}
        if self.kind in ORDER:
            found["ignore_case"] = self.ignore_case
        if self.kind == "mock_response":
            found |= {"code": 200, "body": f"mock {self.path}"}
        if self.actions:
            found["method_actions"] = {
                verb: {"action": action, "code": 200, "data": f"action {self.path}"} for verb, action in self.actions.items()
            }
        return found


def pieces(path: str) -> list[str]:
    """Single characters, "+" for one or more that are no slash, "*" for any number of any character."""
    found: list[str] = []
    at = 0
    while at < len(path):
        if path[at] == "{":
            at = path.index("}", at)
            found.append("+")
        elif path[at] == "*":
            found.append("+" if path[at + 1 : at + 2] == "/" else "*")
        else:
            found.append(path[at])
        at += 1
    return found


def fits(want: list[str], text: str, to_end: bool) -> bool:
    """Whether the pieces fit at the start of the text, or the whole text."""
    if not want:
        return not text or not to_end
    first, rest = want[0], want[1:]
    if first == "*":
        return any(fits(rest, text[n:], to_end) for n in range(len(text) + 1))
    if first == "+":
        longest = len(text.partition("/")[0])
        return any(fits(rest, text[n:], to_end) for n in range(1, longest + 1))
    return text[:1] == first and fits(rest, text[1:], to_end)


def meets(entry: Entry, candidates: list[str], prefix: bool, suffix: bool, ignore_case: bool) -> bool:
    """Whether one of the candidates has the entry's path in it, or at its start or end as the options say."""
    fold = ignore_case or entry.ignore_case
    want = pieces(entry.path.lower() if fold else entry.path)
    for text in candidates:
        shown = text.lower() if fold else text
        starts = [0] if prefix and entry.path.startswith("/") else range(len(shown) + 1)
        if any(fits(want, shown[start:], suffix) for start in starts):
            return True
    return False


def judge(
    entries: list[Entry], method: str, candidates: list[str], looping: bool, prefix: bool, suffix: bool, ignore_case: bool
) -> str:
    """What the lists say: OPEN, IGNORED, FORBIDDEN or the text of the answer."""
    living = [entry for entry in entries if not entry.disabled]
    met = [entry for entry in living if meets(entry, candidates, prefix, suffix, ignore_case)]
    internal = any(entry.kind == "internal" and entry.method == method for entry in met)
    if internal and not looping:
        return FORBIDDEN
    for entry in sorted((e for e in met if e.kind in ORDER), key=lambda e: ORDER.index(e.kind)):
        if entry.actions:
            action = entry.actions.get(method)
            if action is None:
                continue
            if action == "reply":
                return f"action {entry.path}"
            if action != "no_action":
                return FORBIDDEN
        elif entry.kind == "mock_response":
            if entry.method != method:
                continue
            return f"mock {entry.path}"
        elif entry.method not in ("", method):
            continue
        return {"ignored": IGNORED, "black_list": FORBIDDEN, "white_list": OPEN}[entry.kind]
    white = any(entry.kind == "white_list" for entry in living)
    return FORBIDDEN if white and not internal else OPEN
