"""What `preforge js test` prints: as text for people, or as JSON."""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
import re
import statistics
from array import array
from typing import Any

from core.scripts.trial_case import Case, Message, Outcome

MOST_LINES = 400        # of a body that are shown
MOST_WIDTH = 4000       # characters of a line
HEX_WIDTH = 32          # bytes in a line of a binary body
_HUNK = 2               # index of a unified diff's line that says where it applies
_RED, _GREEN, _BOLD, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[1m", "\x1b[0m"
# Texts of scripts must not move the cursor, hide other text or fail to be encoded.
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def as_text(case: Case, why: str, outcome: Outcome, *, color: bool) -> str:
    """The report. why: how the name was found, "" if it was given."""
    lines = [_paint(f"{case.hook} {case.name} of {case.file}" + (f" ({why})" if why else ""), _BOLD, color)]
    lines += ["", *_difference(case, outcome, color)]
    if outcome.leads_to:
        lines += ["", f"The request goes on at {outcome.leads_to}"]
    if outcome.answer is not None:
        lines += ["", _paint("The client gets:", _BOLD, color), *_indented(_shown(outcome.answer))]
    if outcome.meta is not None and outcome.meta[0] != outcome.meta[1]:
        lines += ["", _paint("Meta data of the key:", _BOLD, color), *_indented(_changes(*outcome.meta, color))]
    if outcome.auth is not None:
        token = f'"{outcome.auth.token}"' if outcome.auth.token else "none (no AuthValue), so the session is not stored"
        fields = {name: value for name, value in outcome.auth.session.items() if not _empty(value)}
        lines += ["", _paint("Session of the client:", _BOLD, color), f"  key: {_safe(token)}"]
        lines += _indented([_safe(f"{name}: {_json(value)}") for name, value in fields.items()])
    if outcome.logs:
        lines += ["", _paint("Log:", _BOLD, color)]
        for line in outcome.logs:
            first, *rest = line.text.split("\n")
            lines += [f"  {line.level:<7} {_safe(first)}", *(f"          {_safe(one)}" for one in rest)]
        if outcome.logs_left_out:
            lines.append(f"  ... and {outcome.logs_left_out} lines more")
    if outcome.seconds:
        lines += ["", _times(outcome.seconds)]
    return "".join(f"{line}\n" for line in lines)


def failures(outcome: Outcome) -> str:
    """Why the script has failed, each line of the log as it is."""
    number = outcome.failed_call
    call = f"call {number}: " if number > 1 else ""
    return "".join("\n".join(_safe(line) for line in f"{call}{text}".split("\n")) + "\n" for text in outcome.failures)


def as_json(case: Case, why: str, outcome: Outcome) -> str:
    """The same as one JSON object; members that say nothing are null."""
    first, median, p99 = _numbers(outcome.seconds)
    auth, meta = outcome.auth, outcome.meta
    found = {
        "file": case.file,
        "hook": case.hook,
        "name": case.name,
        "name_is": why or "given",
        "ok": not failed(outcome),
        "errors": outcome.failures,
        "failed_call": outcome.failed_call or None,
        "before": _message(outcome.before),
        "after": _message(outcome.after),
        "answer": _message(outcome.answer),
        "leads_to": outcome.leads_to or None,
        "meta_data": None if meta is None else {"before": meta[0], "after": meta[1]},
        "auth": None if auth is None else {"key": auth.token, "session": auth.session},
        "log": [{"level": line.level, "message": line.text, "script": line.script} for line in outcome.logs],
        "log_left_out": outcome.logs_left_out,
        "time": {"calls": len(outcome.seconds), "first_ms": first, "median_ms": median, "p99_ms": p99},
    }
    return json.dumps(found, indent=2) + "\n"


def failed(outcome: Outcome) -> bool:
    """Whether the script, a part of it, or what it returned could not be used."""
    return bool(outcome.failures)


def _difference(case: Case, outcome: Outcome, color: bool) -> list[str]:
    what = "response" if case.hook == "response" else "request"
    before, after = outcome.before, outcome.after
    if before is None:
        return []
    if after is None or before == after:
        state = "is as it was" if after is not None else "does not go on" if not outcome.leads_to else "is"
        return [_paint(f"The {what} {state}:", _BOLD, color), *_indented(_shown(before))]
    old, new = _shown(before), _shown(after)
    if old == new:      # they differ where a long body is not shown
        old, new = ([*lines, _digest(one.body)] for lines, one in ((old, before), (new, after)))
    lines = difflib.unified_diff(old, new, f"{what} before", f"{what} after", lineterm="", n=len(old) + len(new))
    # The whole message is one hunk, so that the third line, its place, says nothing.
    return [_paint(line, _hue(line), color) for index, line in enumerate(lines) if index != _HUNK]


def _digest(body: bytes) -> str:
    return f"({len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()})"


def _hue(line: str) -> str:
    if line.startswith(("---", "+++")):
        return _BOLD
    return {"-": _RED, "+": _GREEN}.get(line[:1], "")


def _paint(text: str, hue: str, color: bool) -> str:
    return f"{hue}{text}{_PLAIN}" if color and hue else text


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" if line else "" for line in lines]


def _shown(message: Message) -> list[str]:
    head = [message.start, *(f"{name}: {value}" for name, value in message.fields)]
    return [_safe(line) for line in head] + (["", *_body(message.body)] if message.body else [])


def _body(body: bytes) -> list[str]:
    try:
        lines = [_safe(line) for line in body.decode().split("\n")]
    except UnicodeDecodeError:
        lines = [f"{at:08x}  {body[at : at + HEX_WIDTH].hex(' ', 2)}" for at in range(0, len(body), HEX_WIDTH)]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"... {len(lines) - MOST_LINES} lines more"]
    return lines


def _changes(before: dict[str, Any], after: dict[str, Any], color: bool) -> list[str]:
    lines = []
    for name in sorted({**before, **after}):
        old, new = before.get(name), after.get(name)
        if name in before and (name not in after or old != new):
            lines.append(_paint(_safe(f"-{name}: {_json(old)}"), _RED, color))
        if name in after and (name not in before or old != new):
            lines.append(_paint(_safe(f"+{name}: {_json(new)}"), _GREEN, color))
    return lines


def _times(seconds: array[float]) -> str:
    first, median, p99 = _numbers(seconds)
    text = f"Time: {first:.3f} ms for the first call"
    if median is not None:
        text += f"; {len(seconds) - 1} more: median {median:.3f} ms, p99 {p99:.3f} ms"
    return text


def _numbers(seconds: array[float]) -> tuple[float | None, float | None, float | None]:
    """Milliseconds: of the first call; median and 99th percentile (nearest rank) of the others, None if there are none."""
    if not seconds:
        return None, None, None
    more = sorted(seconds[1:])
    first = round(seconds[0] * 1000, 4)
    if not more:
        return first, None, None
    return first, round(statistics.median(more) * 1000, 4), round(more[-(-99 * len(more) // 100) - 1] * 1000, 4)


def _message(message: Message | None) -> dict[str, Any] | None:
    if message is None:
        return None
    found: dict[str, Any] = {"start": message.start, "headers": [list(field) for field in message.fields]}
    try:
        found["body"] = message.body.decode()
    except UnicodeDecodeError:
        found["body_base64"] = base64.b64encode(message.body).decode()
    return found


def _empty(value: Any) -> bool:
    return not value or value == "0001-01-01T00:00:00Z" or (isinstance(value, dict) and all(map(_empty, value.values())))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _safe(text: str) -> str:
    if len(text) > MOST_WIDTH:
        text = f"{text[:MOST_WIDTH]}... {len(text) - MOST_WIDTH} characters more"
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
