"""The second half of an upgrade: the new image replaces the workers of the old one, slot by slot."""

from __future__ import annotations

import logging
from collections.abc import Callable

from core.process.slots import Slot
from core.process.systemd import Notifier

log = logging.getLogger("preforge.master")


class Rolling:
    """Replaces one worker after the other; the next when the one before is ready."""

    def __init__(self, notifier: Notifier, start: Callable[[Slot], None]) -> None:
        """start: forks the new worker of a slot, which takes over when it is ready."""
        self.active = False
        self._notifier = notifier
        self._start = start
        self._slots: list[Slot] = []
        self._number = 0

    def begin(self, slots: list[Slot]) -> None:
        self.active = True
        self._slots = slots
        self.next()

    def next(self) -> None:
        """Go on after something has changed."""
        if not self.active:
            return
        while self._number < len(self._slots):
            slot = self._slots[self._number]
            if slot.replacing is not None:
                return
            self._number += 1
            if slot.current is not None:
                self._start(slot)
                return
        if not any(slot.replacing for slot in self._slots):
            self.done("")

    def done(self, error: str) -> None:
        """End it; workers of the old code that are left go on. error: why, "" if it is complete."""
        self.active = False
        self._notifier.ready("serving")
        log.log(
            logging.ERROR if error else logging.INFO, "upgrade: %s", error or "all workers run the new code"
        )
