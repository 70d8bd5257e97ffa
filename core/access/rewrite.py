"""Rewriting of paths: to another path, another upstream, or another API of the gateway (tyk-core 2.6, 3.8)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes, quote_plus, unquote_plus, unquote_to_bytes

from accel.capture import CaptureSearch
from accel.http1 import Exchange, Plan, Target, clean_path
from core.access.meta_headers import text_of
from core.access.triggers import Found, TriggerCheck
from core.apidef.loops import slug
from core.apidef.rewrites import SELF, Destination, Piece, RewriteSpec
from core.apidef.specs import RouteSpec, TargetSpec

log = logging.getLogger("preforge.rewrite")

PROBLEM = "There was a problem proxying the request"
NOT_FOUND = "Couldn't detect target"
_UNSAFE = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^\x21-\x7e]")
_ADDRESS = re.compile(rb"(https?)://([^/?#]*)")
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_KEEP = "/!$&'()*+,;=:@~"


@dataclass(slots=True)
class Loops:
    """The APIs that tyk:// leads to, as they are now: api_id or slug -> (plan, literal start of its listen path)."""

    by_id: Mapping[str, tuple[Plan, bytes]] = field(default_factory=dict)
    by_name: Mapping[str, tuple[Plan, bytes]] = field(default_factory=dict)

    def find(self, name: str) -> tuple[Plan, bytes] | None:
        """By id, else by name."""
        return self.by_id.get(name) or self.by_name.get(slug(name))


class Rewriter:
    """One entry of url_rewrites: called with the exchange that meets it."""

    def __init__(
        self,
        spec: RewriteSpec,
        strip: Callable[[bytes], bytes],
        start: bytes,
        target: Callable[[TargetSpec], Target],
        named: Callable[[str], Target],
        loops: Loops,
    ) -> None:
        """strip: takes the listen path off; start: the listen path, b"" if it has variables; target: makes an upstream from
        a TargetSpec; named: finds one for scheme://host, or raises ValueError."""
        self.reads_body = spec.reads_body
        self.targets = {one.target: target(one.target) for one in spec.destinations if one.target is not None}
        self._find = CaptureSearch(spec.pattern.encode()).find
        self._triggers = tuple((TriggerCheck(n, one), one.destination) for n, one in enumerate(spec.triggers))
        self._destination = spec.destination
        self._strip = strip
        self._start = start
        self._named = named
        self._loops = loops

    def __call__(self, x: Exchange) -> None:
        """Say where the request goes, if the expression is in its path and query."""
        url = x.path + b"?" + x.query if x.query else x.path
        groups = self._find(url)
        if groups is None and b"%" in url:
            groups = self._find(unquote_to_bytes(url))
        if groups is None:
            return
        found: Found = {}
        leads = self._destination
        for trigger, destination in self._triggers:
            if trigger.fits(x, found):
                leads = destination
                break
        text = fill(leads.pieces, groups, found, x)
        target = None if leads.target is None else self.targets[leads.target]
        if leads.scheme or leads.named:
            scheme, host = leads.scheme, fill(leads.host, groups, found, x, escape=False)
            address = _ADDRESS.match(text) if leads.named else None
            if address is not None:
                scheme, host, text = address[1].decode(), address[2], text[address.end() :]
            if scheme:
                target = self._upstream(x, scheme, host)
                if target is None:
                    return
        text = text.partition(b"#")[0]
        path, _, query = _UNSAFE.sub(_escaped, text).partition(b"?")
        if not path.startswith(b"/"):
            path = b"/" + path
        path = without_dots(path)
        if leads.loop:
            self._loop(x, leads, path, query)
        else:
            x.rewrite(self._strip(path), query, target, _address(target, path, query))

    def _upstream(self, x: Exchange, scheme: str, host: bytes) -> Target | None:
        try:
            if _HOST.fullmatch(host):
                return self._named(f"{scheme}://{host.decode()}")
            why = "expected a host and a port"
        except ValueError as error:
            why = str(error)
        log.error("API %s: a rewrite leads to %s://%.80r: %s", x.plan.api_id.decode(), scheme, host, why)
        x.fail(500, PROBLEM)
        return None

    def _loop(self, x: Exchange, leads: Destination, path: bytes, query: bytes) -> None:
        if not go_round(x, self._loops, self._start, leads.loop, path, query, later=True):
            log.error("API %s: a rewrite leads to tyk://%s, and there is no such API", x.plan.api_id.decode(), leads.loop)
            x.fail(500, NOT_FOUND)


def go_round(
    x: Exchange, loops: Loops, start: bytes, name: str, path: bytes, query: bytes, *, later: bool, instead: bool = False
) -> bool:
    """Continue in the API that tyk://name/path?query leads to (tyk-core 3.8); returns whether there is one.

    start: the listen path of the request's own API, b"" if it has variables; later, instead: see Exchange.loop.
    """
    same = name == SELF
    found = (x.plan, start) if same else loops.find(name)
    if found is None:
        return False
    plan, start = found
    address = b"tyk://" + name.encode() + path
    if query:
        address += b"?" + query
    controls, query = split_controls(query)
    limit = controls.get("loop_limit", "")
    x.loop(
        plan,
        path,
        query,
        len(start) if start and path.startswith(start) else 0,
        method=controls.get("method", "").encode(),
        limit=int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 9 else 0,
        limits=controls.get("check_limits") == "true",
        same=same,
        later=later,
        address=address,
        instead=instead,
    )
    return True


def _address(target: Target | None, path: bytes, query: bytes) -> bytes:
    """Where a rewrite leads, as hooks are told: with the upstream if it names one."""
    url = path + b"?" + query if query else path
    return url if target is None else target_url(target) + url


def target_url(target: Target) -> bytes:
    """scheme://host of an upstream."""
    return (b"http://" if target.origin.tls is None else b"https://") + target.host


def stripper(route: RouteSpec, strip: bool) -> Callable[[bytes], bytes]:
    """A function that takes the listen path off the start of a path, where it stands there."""
    if not strip or (route.pattern is None and route.literal_prefix == "/"):
        return lambda path: path
    source = re.escape(route.literal_prefix) if route.pattern is None else route.pattern
    if route.strict and route.pattern is None and not route.literal_prefix.endswith("/"):
        source += r"(?=/|\Z)"
    pattern = re.compile(source.encode())

    def stripped(path: bytes) -> bytes:
        match = pattern.match(path)
        return path if match is None else b"/" + path[match.end() :].lstrip(b"/")

    return stripped


def fill(
    pieces: Iterable[Piece], groups: Sequence[bytes | None], found: Found, x: Exchange, *, escape: bool = True
) -> bytes:
    """A template with its values. Groups stand as they are, values of variables are escaped unless they are addresses."""
    out = b""
    for piece in pieces:
        if isinstance(piece, str):
            out += piece.encode()
        elif isinstance(piece, int):
            out += (groups[piece] or b"") if piece < len(groups) else b""
        else:
            kind, name = piece
            if kind == "context":
                value = found.get(name, b"")
            else:
                meta = x.key.session["meta_data"] or {} if x.key is not None else {}
                value = text_of(meta.get(name)).encode("utf-8", "surrogateescape")
            out += value if not escape or value.startswith(b"http") else quote_plus(value).encode()
    return out


def without_dots(path: bytes) -> bytes:
    """The path with its dot segments resolved: captured text must not lead out of where the entry leads."""
    decoded = unquote_to_bytes(path)
    if b"/." not in decoded or not {b".", b".."}.intersection(decoded.split(b"/")):
        return path
    return quote_from_bytes(clean_path(decoded), safe=_KEEP).encode()


def split_controls(query: bytes) -> tuple[dict[str, str], bytes]:
    """Take the parameters that are for the gateway out of the query of a tyk:// address."""
    controls: dict[str, str] = {}
    kept = []
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        if name in (b"method", b"loop_limit", b"check_limits"):
            controls.setdefault(name.decode(), unquote_plus(value.decode("latin-1")))
        else:
            kept.append(part)
    return controls, b"&".join(kept)


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
