"""From header edits of definitions to the steps that make them (tyk-core 2.6)."""

from __future__ import annotations

from collections.abc import Callable

from accel.http1 import HeaderEdit, Step
from core.access.meta_headers import VARIABLE, meta_headers
from core.apidef.edits import HeaderChange

Spell = Callable[[bytes], bytes]


def edit_steps(change: HeaderChange, spell: Spell, *, response: bool) -> list[Step]:
    """The steps that edit headers: first what is fixed, then what depends on the key. spell: how names are written."""

    def name_of(name: str) -> bytes:
        return name.encode("latin-1", "replace")

    fixed = [(spell(name_of(name)), value.encode()) for name, value in change.add if not VARIABLE.search(value)]
    varying = [(spell(name_of(name)), value) for name, value in change.add if VARIABLE.search(value)]
    steps: list[Step] = []
    if change.remove or fixed:
        steps.append(HeaderEdit([name_of(name) for name in change.remove], fixed, response))
    if varying:
        steps.append(meta_headers(varying, response=response))
    return steps
