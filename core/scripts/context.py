"""What all hooks of one API share, and the places through which they reach the rest of a worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from accel.edits import RequestEditor
from accel.http1 import Exchange
from core.access.rewrite import Loops
from core.access.tasks import Tasks
from core.edits.headers import Spell
from core.scripts.metadata import MetaData
from core.scripts.places import Places
from core.scripts.session_text import NULL, SHORT, SessionTexts

log = logging.getLogger("preforge.scripts")

LONGEST_REASON = 2000   # characters of an error that are logged

BUSY_KINDS = frozenset(("busy", "closed"))
BUSY = "Service temporarily unavailable."
NOT_RUNNING = "JSVM isn't initialized, check your gateway settings"


class Returned(Protocol):
    """What a call led to: text, the JSON text that the script returned, if kind is "ok"; error says why it is not; edits:
    the text is the short form that results.decode_edits reads."""

    @property
    def text(self) -> bytes | None: ...
    @property
    def error(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def edits(self) -> bool: ...


class Script(Protocol):
    """One function of an API's scripts that can be called: jsvm_pool.pool.Hook."""

    def call(self, payload: bytes, done: Callable[[Returned], None], /) -> object:
        """Run it. done: called once, on the loop."""


class Worker:
    """What the hooks of all APIs of one worker share."""

    def __init__(self, loops: Loops, meta: MetaData, texts: SessionTexts) -> None:
        """loops: the APIs that tyk:// leads to."""
        self.loops = loops
        self.meta = meta
        self.texts = texts
        self.rates_in_headers = False       # rate_limit_response_headers: X-Ratelimit-* speak of rates
        self.tasks = Tasks()

    def spawn(self, work: Coroutine[Any, Any, None], done: Callable[[], None] | None = None) -> None:
        """Do something that takes a while; done is called afterwards, however it ends."""
        self.tasks.spawn(work, done)

    def session(self, x: Exchange, real: bool) -> bytes:
        """The JSON of the session that a script is given: the one of the key, null where there is none, or an empty
        one if it is not to see the `real` one."""
        if not real:
            return SHORT
        return NULL if x.key is None else self.texts.get(x.key, x.grant)


@dataclass(frozen=True, slots=True)
class Api:
    """What the hooks of one API share. listen_end: see addresses.listen_end; start: the listen path, b"" if it has
    variables; problem: why no script can run."""

    worker: Worker
    api_id: str
    name: str
    places: Places
    listen_end: Callable[[bytes], int]
    start: bytes
    spell: Spell
    editor: RequestEditor
    problem: str = ""

    def refused(self, what: str, why: str) -> None:
        """Log why a script could not do its work. what: "pre hook mw", ..."""
        if len(why) > LONGEST_REASON:
            why = why[:LONGEST_REASON] + " ..."
        log.error("API %s: %s: %s", self.api_id, what, why)
