"""The steps of a plan that answer from the cache, and that keep what the upstream or a virtual endpoint answers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from accel.capture import CaptureSearch
from accel.endpoints import EndpointMatcher
from accel.http1 import Exchange, PathStep, Step, WaitStep
from accel.shm import Region
from accel.sniff import detect
from core.apidef.caching import SAFE_METHODS, CacheEntry, CacheSpec
from core.apidef.rewrites import RewriteSpec
from core.cache.keys import KeyMaker
from core.cache.rules import VARIANT, fits, reusable, variant, varied
from core.cache.service import ResponseCache
from core.cache.wire import NO_BODY, Answer, BrokenAnswer, Fields, decode, encode, plain
from core.obs.caches import Outcome, row_name
from core.store.errors import StoreError

if TYPE_CHECKING:
    from core.apidef.specs import PlanSpec

HIT = (b"X-Tyk-Cached-Response", b"1")
ACTION = b"x-tyk-cache-action-set"
# Said anew for each request, or only of use in the store.
_NOT_STORED = frozenset((HIT[0].lower(), b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"))
_NOT_SENT = _NOT_STORED | {VARIANT.lower()}
_SAFE = frozenset(method.encode() for method in SAFE_METHODS)
_SECONDS = re.compile(rb"[+-]?[0-9]{1,18}\Z")


class Rows(Protocol):
    """Where the numbers of an API are counted."""

    def row_for(self, api_id: str) -> int: ...


class CacheSteps:
    """Makes the steps of one worker's plans."""

    def __init__(self, service: ResponseCache, region: Region, rows: Rows) -> None:
        self._service = service
        self._region = region
        self._rows = rows
        self._caches: dict[int, tuple[PlanSpec, ApiCache]] = {}     # id of a spec -> it, and its cache
        self._rates_in_headers = False

    def configure(self, rates_in_headers: bool) -> tuple[object, ...]:
        """Take a configuration; returns what of it the steps depend on. rates_in_headers: X-Ratelimit-* speak of rates."""
        self._rates_in_headers = rates_in_headers
        self._caches = {}
        return ("cache", rates_in_headers)

    def request(self, spec: PlanSpec, matcher: EndpointMatcher | None) -> list[Step]:
        """The steps that look for an answer. matcher: of the version's path entries, those of the cache with
        an Entry as their data."""
        if spec.cache is None:
            return []
        cache = self._cache(spec, spec.cache)
        steps: list[Step] = [WaitStep(cache.safe)] if spec.cache.safe_requests else []
        if matcher is not None and matcher.has("cache"):
            steps.append(PathStep("cache", cache.entry))
        return steps

    def _cache(self, spec: PlanSpec, options: CacheSpec) -> ApiCache:
        known = self._caches.get(id(spec))
        if known is None:
            row = self._rows.row_for(row_name(spec.api_id))
            service, region = self._service, self._region

            def count(outcome: Outcome) -> None:
                service.count(outcome)
                if row > 0:         # else the table of rows is full
                    region.count(row, outcome, 0)

            hosts = spec.preserve_host_header
            led = any(isinstance(one.data, RewriteSpec) and one.data.triggers for one in spec.endpoints)
            keys = KeyMaker(spec.api_id, options.headers, versioned=not spec.not_versioned, hosts=hosts, led=led)
            cache = ApiCache(service, spec.api_id, options, keys, count, self._rates_in_headers)
            known = self._caches[id(spec)] = spec, cache
        return known[1]


class Entry:
    """What the data of a path entry are at run time."""

    __slots__ = ("_search", "codes", "reads_body", "timeout")

    def __init__(self, data: CacheEntry) -> None:
        self.reads_body = data.has_body     # see PathStep
        self.timeout = data.timeout
        self.codes = frozenset(data.codes)
        self._search = CaptureSearch(data.pattern.encode()) if data.pattern and data.has_body else None

    def fits(self, body: bytes, most: int) -> bool:
        """Whether the part of a body that counts can be looked for. most: bytes that are searched."""
        return self._search is None or len(body) <= most

    def part(self, body: bytes) -> bytes | None:
        """What of a body counts, None for nothing."""
        if not self.reads_body or self._search is None:
            return body if self.reads_body else None
        found = self._search.find(body)
        return found[0] if found else None


class ApiCache:
    """The cache of one version of an API."""

    def __init__(
        self,
        service: ResponseCache,
        api_id: str,
        options: CacheSpec,
        keys: KeyMaker,
        count: Callable[[Outcome], None],
        rates_in_headers: bool,
    ) -> None:
        """count: counts for the API; rates_in_headers: see CacheSteps."""
        self.service = service
        self.api_id = api_id
        self.options = options
        self.named = keys.named
        self.count = count
        self._keys = keys
        self._codes = frozenset(options.codes)
        self._rates_in_headers = rates_in_headers

    def safe(self, x: Exchange) -> bool:
        """For a WaitStep: requests with a safe method."""
        return x.method in _SAFE and self._look(x, None, self.options.timeout, self._codes)

    def entry(self, x: Exchange, entry: Entry) -> bool:
        """For a PathStep: requests that meet a path entry."""
        if self.options.safe_requests and x.method in _SAFE:
            return False            # `safe` has seen it
        body = x.body or b""
        if not entry.fits(body, self.service.pattern_bytes):
            self.count(Outcome.TOO_LARGE)
            return False
        return self._look(x, entry.part(body), entry.timeout or self.options.timeout, entry.codes or self._codes)

    def _look(self, x: Exchange, body: bytes | None, timeout: int, codes: frozenset[int]) -> bool:
        """Ask the store. body: what of it counts; timeout: seconds that an answer is kept."""
        if (not timeout and not self.options.upstream_control) or x.header(b"Upgrade") is not None:
            return False
        name = self._keys.make(x, body)
        if name is None:
            return False
        serial = x.serial_number
        wanted = Wanted(self, x, name, timeout, codes)

        def found(reply: bytes | StoreError) -> None:
            if x.waits(serial):
                self._found(x, reply, wanted)
                x.resume(serial)

        self.service.get(name, found)
        return True

    def _found(self, x: Exchange, reply: bytes | StoreError, wanted: Wanted) -> None:
        """Answer, or let the request go on and keep what it is answered with."""
        answer = None
        if isinstance(reply, StoreError):
            self.count(Outcome.FAILED)
            self.service.warn("API %s: the store has not said what is cached: %s", self.api_id, reply)
        elif len(reply) > self.service.most:
            self.count(Outcome.TOO_LARGE)
        elif reply:
            answer = self._read(x, reply, wanted.name)
        if answer is not None:
            self.count(Outcome.HIT)
            self._answer(x, answer)
            return
        self.count(Outcome.MISS)
        x.copy_response(self.service.bounds, wanted.began, wanted.ended)

    def _read(self, x: Exchange, value: bytes, name: bytes) -> Answer | None:
        """A stored answer, None where it is not one for this request. What is broken is removed."""
        try:
            answer = decode(value, time.time(), head=x.method == b"HEAD")
        except BrokenAnswer as error:
            self.count(Outcome.FAILED)
            self.service.warn("API %s: a cached answer cannot be used and is removed: %s", self.api_id, error)
            self.service.remove(name)
            return None
        if answer is None or not reusable(answer.status, answer.fields, x.key is None):
            return None
        unknown_length = x.method == b"HEAD" and answer.length < 0 and answer.status not in NO_BODY
        return None if unknown_length or not fits(x, answer.fields, self.named) else answer

    def _answer(self, x: Exchange, answer: Answer) -> None:
        fields = [(name, value) for name, value in answer.fields if name.lower() not in _NOT_SENT]
        status = 304 if _not_modified(x, answer) else answer.status
        names = {name.lower() for name, _ in fields}
        if status == 304:
            fields = [(name, value) for name, value in fields if name.lower() != b"content-type"]
        elif answer.body and not names & {b"content-type", b"content-encoding"}:
            fields.append((b"Content-Type", detect(answer.body[:512])))
        x.cached = True
        if not self._rates_in_headers:
            x.limits_known = True
        x.answer(status, [*fields, HIT], answer.body, length=answer.length)


class Wanted:
    """What becomes of the answer to one request that was not in the cache."""

    __slots__ = ("_asked", "_cache", "_codes", "_fields", "_head", "_plan", "_seconds", "_status", "_timeout", "name")

    def __init__(self, cache: ApiCache, x: Exchange, name: bytes, timeout: int, codes: frozenset[int]) -> None:
        """x: as it is asked for, before it gets another plan or method; name: under which its answer is kept, for `timeout`
        seconds; codes: empty for all."""
        self._cache = cache
        self._plan = x.plan
        self._head = x.method == b"HEAD"
        self._asked = x.req.items()
        self.name = name
        self._timeout = timeout
        self._codes = codes
        self._status = self._seconds = 0
        self._fields: Fields = []

    def began(self, x: Exchange) -> bool:
        """See Exchange.copy_response."""
        status = x.status_code
        if x.plan is not self._plan or not self._chosen(x, status):
            return False
        fields = x.res.items()
        kept = [(name, value) for name, value in plain(fields) if name.lower() not in _NOT_SENT]
        if not reusable(status, kept, x.key is None):
            return False
        wanted = varied(x, kept, self._cache.named)
        mark = variant(wanted, self._asked)
        if mark != variant(wanted, x.req.items()):
            return False            # it depends on what a hook has made of the request, which no other one shows before
        if mark:
            kept.append((VARIANT, mark))
        self._status, self._fields = status, kept
        return not self._head or status in NO_BODY or x.res.get(b"Content-Length") is not None

    def _chosen(self, x: Exchange, status: int) -> bool:
        """Whether the answer is to be kept, and how long (tyk-core 2.7)."""
        options = self._cache.options
        self._seconds = self._timeout
        if not options.upstream_control:
            return not self._codes or status in self._codes
        if not x.res.get(ACTION):
            return False
        said = x.res.get(options.ttl_header.encode("utf-8", "surrogateescape"))
        if said is not None and _SECONDS.match(said) and int(said):
            self._seconds = int(said)
        return self._seconds > 0

    def ended(self, x: Exchange, body: bytes | None) -> None:
        """See Exchange.copy_response."""
        cache = self._cache
        if body is None:
            cache.count(Outcome.TOO_LARGE)
            return
        length = len(body)
        if self._head:
            length = int(x.res.get(b"Content-Length") or -1)
        answer = Answer(self._status, self._fields, body, length)
        value = encode(answer, int(time.time()) + self._seconds)
        cache.service.put(self.name, value, self._seconds, self._kept)

    def _kept(self, reply: object) -> None:
        cache = self._cache
        if isinstance(reply, StoreError):
            cache.count(Outcome.FAILED)
            cache.service.warn("API %s: the store has not taken an answer: %s", cache.api_id, reply)
        else:
            cache.count(Outcome.STORED)


def _not_modified(x: Exchange, answer: Answer) -> bool:
    """Whether the client has this answer already (RFC 9110 section 13.1.2), as far as Tyk looks at it."""
    given = x.header(b"If-None-Match")
    if not given or not 200 <= answer.status < 300 or x.method not in (b"GET", b"HEAD"):
        return False
    return any(value in given for name, value in answer.fields if name.lower() == b"etag" and value)
