"""What the plugin hooks of one API share, and how they reach the rest of a worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from accel.edits import RequestEditor
from accel.http1 import Exchange, Target
from coprocess.driver import Format, Outcome, Reply, Ticket
from core.access.rewrite import Loops
from core.access.tasks import Tasks
from core.edits.headers import Spell
from core.plugins.session_wires import SessionWires

log = logging.getLogger("preforge.plugins")

LONGEST_REASON = 2000   # characters of an error that are logged

FAILED = "Middleware error"                     # tyk-plugins 3.8
NOT_AUTHORISED = "Key not authorised"
NOT_LOADED = "Internal Server Error"
BUSY = "Service temporarily unavailable."
REASONS: dict[Outcome, str] = {
    "error": "the plugin failed", "timeout": "the plugin did not answer in time", "busy": "too many calls are under way",
    "away": "the plugin cannot be reached", "too_large": "the message is too large", "disabled": "the driver cannot run",
}  # fmt: skip


class Call(Protocol):
    """One hook of a plugin server, for one API."""

    @property
    def format(self) -> Format: ...

    def __call__(self, message: bytes, done: Callable[[Reply], None], /) -> Ticket:
        """Send a coprocess.Object; `done` is called once, on the loop, never from inside this call."""


class Worker:
    """What the plugin hooks of all APIs of one worker share."""

    def __init__(
        self, loops: Loops, wires: SessionWires, fire: Callable[[str, Exchange, str, Mapping[str, Any]], None]
    ) -> None:
        """loops: the APIs that tyk:// leads to; fire: an event about a request, see Services.fire."""
        self.loops = loops
        self.wires = wires
        self.fire = fire
        self.tasks = Tasks()

    def spawn(self, work: Coroutine[Any, Any, None], done: Callable[[], None]) -> None:
        """Do something that takes a while; done is called afterwards, however it ends."""
        self.tasks.spawn(work, done)


@dataclass(frozen=True, slots=True)
class Api:
    """What the hooks of one version of an API share.

    about: the map `spec` of the messages; listen_end: how many bytes of a decoded path are the listen path; strip: takes the
    listen path off; start: the listen path, b"" if it has variables; named: the upstream scheme://host, raises ValueError.
    """

    worker: Worker
    api_id: str
    about: dict[str, str]
    listen_end: Callable[[bytes], int]
    strip: Callable[[bytes], bytes]
    start: bytes
    named: Callable[[str], Target]
    spell: Spell
    editor: RequestEditor

    def refused(self, what: str, why: str) -> None:
        """Log why a plugin could not do its work. what: "pre hook X on server Y", ..."""
        if len(why) > LONGEST_REASON:
            why = why[:LONGEST_REASON] + " ..."
        log.error("API %s: %s: %s", self.api_id, what, why)
