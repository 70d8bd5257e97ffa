"""Conditions of url_rewrites, and what they leave for the new path (tyk-core 2.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_to_bytes

from accel.capture import CaptureSearch
from accel.headers import canonical
from accel.http1 import Exchange
from core.apidef.rewrites import Trigger

Found = dict[str, bytes]
"""Context variables that triggers set: "trigger-<number>-<name>-<value>-<group>" and the like.
In a body only the first match leaves some."""


@dataclass(slots=True)
class _Place:
    """What the conditions on one part of a request have in common. values: name -> texts to look at; numbered: the
    variables carry the number of the value."""

    values: Callable[[Exchange, str], list[bytes]]
    numbered: bool
    conditions: list[tuple[str, CaptureSearch, bool]] = field(default_factory=list)

    def count(self, x: Exchange, number: int, found: Found) -> int:
        """How many conditions are met. The parts of a path are numbered through all conditions."""
        fits = met = 0
        for name, expression, reverse in self.conditions:
            before = fits
            for index, value in enumerate(self.values(x, name)):
                groups = expression.find(value)
                if (groups is None) != reverse:
                    continue
                if groups is not None:
                    label = f"trigger-{number}-{name}"
                    if self.numbered:
                        label += f"-{fits if self.values is _parts else index}"
                    found[label] = groups[0] or b""
                    found.update((f"{label}-{at}", group or b"") for at, group in enumerate(groups[1:]))
                fits += 1
            met += fits > before
        return met


class TriggerCheck:
    """One trigger, compiled."""

    def __init__(self, number: int, spec: Trigger) -> None:
        """number: of the trigger in its entry, from 0."""
        self.number = number
        self.every = spec.every
        places: dict[str, _Place] = {}
        for match in spec.matches:
            values, numbered = _VALUES[match.place]
            place = places.setdefault(match.place, _Place(values, numbered))
            name = match.name
            if match.place == "header_matches":
                name = canonical(name.encode("latin-1", "replace")).decode("latin-1")
            place.conditions.append((name, CaptureSearch(match.pattern.encode()), match.reverse))
        self._places = tuple(places.values())

    def fits(self, x: Exchange, found: Found) -> bool:
        """Whether the request meets the trigger; what its expressions matched is put into `found`."""
        for place in self._places:
            count = place.count(x, self.number, found)
            if not self.every and count:
                return True
            if self.every and count < len(place.conditions):
                return False
        return self.every


def _headers(x: Exchange, name: str) -> list[bytes]:
    wanted = name.encode("latin-1").lower()
    return [value for key, value in x.req.items() if key.lower() == wanted]


def _query(x: Exchange, name: str) -> list[bytes]:
    pairs: Iterable[tuple[bytes, bytes]] = parse_qsl(x.query, keep_blank_values=True)
    wanted = name.encode()
    return [value for key, value in pairs if key == wanted]


def _parts(x: Exchange, name: str) -> list[bytes]:
    return unquote_to_bytes(x.path).split(b"/")


def _session(x: Exchange, name: str) -> list[bytes]:
    value = (x.key.session["meta_data"] or {}).get(name) if x.key is not None else None
    return [value.encode("utf-8", "surrogateescape")] if isinstance(value, str) else []


def _payload(x: Exchange, name: str) -> list[bytes]:
    return [x.body or b""]


_VALUES: dict[str, tuple[Callable[[Exchange, str], list[bytes]], bool]] = {
    "header_matches": (_headers, True),
    "query_val_matches": (_query, True),
    "path_part_matches": (_parts, True),
    "session_meta_matches": (_session, False),
    "payload_matches": (_payload, True),
}
