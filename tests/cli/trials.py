"""Scripts tried in this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import uvloop

from core.config import load
from core.scripts.trial import try_script
from core.scripts.trial_case import Case, Message, Outcome
from tests.support.wire import get

MADE = "var mw = new TykJS.TykMiddleware.NewMiddleware({});\n"


def hook(body: str, *, kind: str = "Request", arguments: str = "request, session, config, extra") -> str:
    """The text of a script whose object is mw. body: of its callback."""
    return f"{MADE}mw.NewProcess{kind}(function({arguments}) {{ {body} }});\n"


def edit(body: str) -> str:
    """A script that edits its request."""
    return hook(f"{body}; return mw.ReturnData(request, session.meta_data || {{}});")


def defaults() -> Any:
    """A configuration that says nothing."""
    return load("none", {"TYK_GW_OMITCONFIGFILE": "true", "TYK_GW_APPPATH": os.curdir}, port=1).config


def attempt(
    directory: Path, script: str, hook: str = "pre", *, conf: Path | None = None, calls: int = 1, **more: Any
) -> Outcome:
    """Try a script. more: fields of the case."""
    path = directory / "mw.js"
    path.write_text(script)
    config = load(str(conf), os.environ).config if conf is not None else defaults()
    case = Case(**{"file": str(path), "hook": hook, "name": "mw", "request": get("/a/b?x=1", "h.test"), **more})
    return uvloop.run(try_script(case, config, str(conf or ""), calls))


def started(message: Message | None) -> str:
    assert message is not None
    return message.start


def body(message: Message | None) -> bytes:
    assert message is not None
    return message.body


def header(message: Message | None, name: str) -> list[str]:
    assert message is not None
    return [value for key, value in message.fields if key.lower() == name.lower()]
