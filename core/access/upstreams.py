"""Upstreams that no definition names in full: a key or a request says the host (tyk-core 2.6, rewrite_to)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from accel.http1 import Origin, Target
from core.apidef import targets
from core.apidef.specs import TargetSpec, TransportSpec


class NamedUpstreams:
    """Keeps the pools of a bounded number of hosts; the one that was not used for longest goes. One per PlanBuilder."""

    def __init__(
        self,
        make: Callable[[TargetSpec, TransportSpec], Target],
        forget: Callable[[Origin], None],
        dropped: Callable[[], None],
    ) -> None:
        """make: the target with its pool; forget: gives a pool up; dropped: counts that."""
        self._make = make
        self._forget = forget
        self._dropped = dropped
        self._most = 1
        self._kept: frozenset[Origin] = frozenset()
        self._known: OrderedDict[tuple[str, TransportSpec], Target] = OrderedDict()

    def begin(self, most: int, kept: Iterable[Origin]) -> None:
        """Start anew with other plans. most: hosts; kept: pools that definitions name, which are never given up."""
        self._most = max(1, most)
        self._kept = frozenset(kept)
        self._known.clear()

    def get(self, address: str, tls: TransportSpec) -> Target:
        """The target of scheme://host:port. Raises ValueError for what is none that this build serves."""
        key = address, tls
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
            return found
        spec = targets.parse(address).target
        if not isinstance(spec, TargetSpec) or spec.path or spec.query:
            raise targets.TargetError("expected scheme://host:port")
        found = self._known[key] = self._make(spec, tls)
        if len(self._known) > self._most:
            _, oldest = self._known.popitem(last=False)
            self._dropped()
            if oldest.origin not in self._kept:
                self._forget(oldest.origin)
        return found
