"""What scripts are told about the path of a request: the entry that it meets and the values of its variables."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from accel.endpoints import Pattern
from accel.http1 import Exchange
from core.apidef.endpoints import EndpointSpec
from core.apidef.specs import PlanSpec
from core.edits.addresses import listen_end

MOST = 1024     # paths whose result is kept
LONGEST = 512   # bytes of a path that is worth keeping

Place = tuple[str, dict[str, str]]

_VARIABLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)(?::[^{}]*)?\}")
_NOTHING: Place = ("", {})


class Places:
    """The path entries of one version and the variables of its listen path. extra.Path is the path of the first entry that
    a request meets; extra.PathParams the values of {variables} in the listen path and in that entry's path."""

    def __init__(self, spec: PlanSpec) -> None:
        self._listen = _variables(spec.listen_path)
        self._listen_end = listen_end(spec.route)
        found: dict[tuple[str, str], EndpointSpec] = {}
        for entry in spec.endpoints:
            found.setdefault((entry.path, entry.method), entry)
        self._entries = [
            (entry.method.encode(), Pattern(entry.pattern.encode()), entry.path, _variables(entry.path))
            for entry in found.values()
        ]
        self._known: dict[tuple[bytes, bytes, int], Place] = {}

    @property
    def same(self) -> bool:
        """Whether every request has the same place."""
        return not self._entries and self._listen is None

    def varies(self, path: str) -> bool:
        """Whether the place of an entry depends on the request."""
        return self._listen is not None or _variables(path) is not None

    def find(self, x: Exchange, *, answered: bool = False) -> Place:
        """The place of a request; not to be changed. answered: there is a response, and the path may be the upstream's."""
        if self.same:
            return _NOTHING
        path = x.full_path
        end = self._listen_end(unquote_to_bytes(path)) if answered else x.route_end
        key = x.method, path, end
        known = self._known.get(key)
        if known is None:
            known = self._look(x.method, unquote_to_bytes(path), end)
            if len(path) <= LONGEST:
                if len(self._known) >= MOST:
                    self._known.clear()
                self._known[key] = known
        return known

    def of(self, x: Exchange, path: str) -> Place:
        """The same where the entry is known."""
        decoded, end = x.decoded_path, x.route_end
        return path, {**_values(self._listen, decoded[:end]), **_values(_variables(path), _behind(decoded, end))}

    def _look(self, method: bytes, decoded: bytes, end: int) -> Place:
        found = _values(self._listen, decoded[:end])
        rest = _behind(decoded, end)
        for wanted, pattern, path, variables in self._entries:
            if (not wanted or wanted == method) and pattern.search(rest):
                return path, {**found, **_values(variables, rest)}
        return "", found


def _behind(decoded: bytes, end: int) -> bytes:
    rest = decoded[end:]
    return rest if rest.startswith(b"/") else b"/" + rest


class _Variables:
    """Finds the values of the {variables} of a path."""

    def __init__(self, path: str) -> None:
        self._names: list[str] = []
        source, at = "", 0
        for match in _VARIABLE.finditer(path):
            source += re.escape(path[at : match.start()].lstrip("^")) + "([^/]+)"
            at = match.end()
            self._names.append(match[1])
        self._pattern = re.compile(source + re.escape(path[at:].rstrip("$")))

    def __call__(self, path: str) -> dict[str, str]:
        match = self._pattern.search(path)
        return {} if match is None else dict(zip(self._names, match.groups(), strict=True))


def _variables(path: str) -> _Variables | None:
    return _Variables(path) if _VARIABLE.search(path) else None


def _values(variables: _Variables | None, path: bytes) -> dict[str, str]:
    return {} if variables is None else variables(path.decode("utf-8", "replace"))
