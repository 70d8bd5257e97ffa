"""Types of accel.http1 for Python code; see http1.pxd for the design."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from accel.accesslog import AccessLog
from accel.analytics import Recorder, RecordPlan
from accel.endpoints import EndpointMatcher, Pattern, VerdictMemo
from accel.limits import LimitTable, QuotaWindow, RateWindow
from accel.router import Router
from accel.shm import Region

DEFAULTS: dict[str, Any]

class Headers:
    def get(self, name: bytes) -> bytes | None: ...
    def items(self) -> list[tuple[bytes, bytes]]: ...
    def remove(self, name: bytes) -> int: ...
    def add(self, name: bytes, value: bytes) -> None: ...
    def set(self, name: bytes, value: bytes) -> None: ...

class Exchange:
    gw: Gateway
    plan: Plan
    req: Headers
    res: Headers
    path: bytes
    query: bytes
    method: bytes
    request_id: bytes
    body: bytes | None
    state: Any
    waits_for: Any
    @property
    def remote_addr(self) -> bytes: ...
    @property
    def client_address(self) -> bytes: ...
    @property
    def decoded_path(self) -> bytes: ...
    @property
    def full_path(self) -> bytes: ...
    @property
    def full_query(self) -> bytes: ...
    @property
    def request_target(self) -> bytes: ...
    @property
    def secure(self) -> bool: ...
    route_end: int
    @property
    def answered(self) -> bool: ...
    key: KeyEntry | None
    grant: Grant | None
    limit_max: int
    limit_left: int
    limit_reset: int
    limits_known: bool
    ignored: bool
    cached: bool
    untracked: bool
    tracked: bytes | None
    version: bytes
    default_version: bytes | None
    @property
    def serial_number(self) -> int: ...
    @property
    def started_ms(self) -> int: ...
    def resume(self, serial: int) -> None: ...
    def waits(self, serial: int) -> bool: ...
    def note_quota(self) -> None: ...
    def add_header(self, name: bytes, value: bytes) -> None: ...
    def mark(self, flag: bytes) -> None: ...
    def header(self, name: bytes) -> bytes | None: ...
    def answer(
        self, status: int, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"", *, length: int = -1
    ) -> None: ...
    def copy_response(
        self,
        bounds: CopyBounds,
        began: Callable[[Exchange], bool],
        ended: Callable[[Exchange, bytes | None], None],
    ) -> None: ...
    def fail(self, status: int, message: str) -> None: ...
    def set_url(self, path: bytes, query: bytes, end: int) -> None: ...
    def set_body(self, body: bytes) -> None: ...
    def rewrite(
        self, path: bytes, query: bytes, target: Target | None = None, address: bytes | None = None
    ) -> None: ...
    @property
    def pending_url(self) -> bytes | None: ...
    @property
    def pending_target(self) -> Target | None: ...
    @property
    def pending_method(self) -> bytes: ...
    @property
    def upstream_url(self) -> bytes | None: ...
    def loop(
        self,
        plan: Plan,
        path: bytes,
        query: bytes,
        end: int,
        *,
        method: bytes = b"",
        limit: int = 0,
        limits: bool = False,
        same: bool = False,
        later: bool = False,
        address: bytes | None = None,
        instead: bool = False,
    ) -> None: ...
    def transform_method(self, method: bytes) -> None: ...
    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None: ...
    @property
    def status_code(self) -> int: ...
    @property
    def response_body(self) -> bytes | None: ...
    def set_response(self, status: int, body: bytes) -> None: ...
    def cannot_count(self) -> None: ...

class CopyBounds:
    each: int
    together: int
    held: int
    def __init__(self, each: int, together: int) -> None: ...
    def configure(self, each: int, together: int) -> None: ...

class Step: ...

class HeaderEdit(Step):
    def __init__(
        self, remove: Iterable[bytes], put: Iterable[tuple[bytes, bytes]], response: bool = False
    ) -> None: ...

class PyStep(Step):
    def __init__(self, function: Callable[[Exchange], Awaitable[None] | None], *, whole_body: bool = False) -> None: ...

class WaitStep(Step):
    def __init__(self, function: Callable[[Exchange], bool], *, whole_body: bool = False) -> None: ...

class PathStep(Step):
    def __init__(self, kind: str, function: Callable[[Exchange, Any], bool]) -> None: ...

class KeyEntry:
    token: bytes
    name: bytes
    session: Any
    loaded: int
    fetched: int
    refreshing: bool
    seen: int
    grants: dict[Any, Grant]
    record: Any
    raw: Any
    def __init__(self, token: bytes, name: bytes, session: Any, loaded_ms: int) -> None: ...

class Grant:
    entry: KeyEntry
    rate: RateWindow | None
    quota: QuotaWindow | None
    throttle_interval: float
    throttle_retries: int
    data: Any
    def __init__(
        self,
        entry: KeyEntry,
        *,
        expires: int = 0,
        inactive: bool = False,
        deny: tuple[int, str] | None = None,
        versions: frozenset[bytes] | None = None,
        urls: Sequence[tuple[Pattern, frozenset[bytes]]] | None = None,
        rate: RateWindow | None = None,
        quota: QuotaWindow | None = None,
        quota_max: int = 0,
        quota_left: int = 0,
        quota_renews: int = 0,
        throttle_interval: float = 0,
        throttle_retries: int = 0,
        endpoint_rates: Sequence[tuple[Pattern, bytes, RateWindow]] = (),
        data: Any = None,
    ) -> None: ...

class KeyCache:
    most: int
    fresh: int
    evicted: int
    @property
    def marks(self) -> LimitTable: ...
    def __init__(self, most: int, fresh_ms: int, marks: LimitTable) -> None: ...
    def current(self, entry: KeyEntry) -> bool: ...
    def configure(self, most: int, fresh_ms: int) -> None: ...
    def get(self, key: bytes) -> KeyEntry | None: ...
    def put(self, key: bytes, entry: KeyEntry) -> None: ...
    def forget(self, key: bytes) -> bool: ...
    def named(self, name: bytes) -> list[KeyEntry]: ...
    def forget_name(self, name: bytes) -> int: ...
    def expire(self) -> None: ...
    def __len__(self) -> int: ...

class TokenSource:
    header: bytes
    param: bytes
    cookie: bytes
    def __init__(self, header: bytes = b"", param: bytes = b"", cookie: bytes = b"") -> None: ...
    def remove(self, x: Exchange) -> None: ...

class TokenAuth(Step):
    def __init__(
        self,
        sources: Iterable[TokenSource],
        prefix: bytes,
        cache: KeyCache,
        load: Callable[[Exchange, bytes], Awaitable[None]],
        refresh: Callable[[Exchange, bytes], None],
        refresh_ms: int,
        missing: Callable[[Exchange], None],
    ) -> None: ...

class KeyChecks(Step):
    def __init__(
        self,
        compile: Callable[[Exchange, KeyEntry], Grant],
        deny: Callable[[Exchange, str, int, str], None],
        full_paths: bool,
    ) -> None: ...

class RateLimit(Step):
    def __init__(
        self,
        blocked: Callable[[Exchange, RateWindow], Awaitable[None] | None],
        remote: Callable[[Exchange, RateWindow], None],
        always: bool,
        threshold: float,
    ) -> None: ...

class ApiRateLimit(RateLimit):
    def __init__(
        self,
        window: RateWindow,
        blocked: Callable[[Exchange, RateWindow], Awaitable[None] | None],
        remote: Callable[[Exchange, RateWindow], None],
        always: bool,
        threshold: float,
    ) -> None: ...

class PathRateLimit(RateLimit): ...

class Quota(Step):
    def __init__(
        self, ask: Callable[[Exchange, Grant], None], exceeded: Callable[[Exchange], None], dirty: list[Grant]
    ) -> None: ...

class StripAuth(Step):
    def __init__(self, sources: Iterable[TokenSource]) -> None: ...

class VersionCheck(Step):
    def __init__(
        self,
        location: int,
        key: bytes,
        plans: Mapping[bytes, tuple[Plan, float | None, bytes]],
        default: bytes = b"",
        fallback: bool = False,
        strip: bool = False,
        pattern: Pattern | None = None,
        slug: bytes = b"",
        header: bytes = b"",
        failed: Callable[[Exchange, int, str], None] | None = None,
        unknown_status: int = 403,
    ) -> None: ...
    def adopt(self, children: dict[bytes, tuple[Plan, bytes]]) -> None: ...

class Expiry(Step):
    def __init__(self, at: float, text: bytes, message: str, failed: Callable[[Exchange, int, str], None]) -> None: ...

class GateCheck(Step):
    def __init__(
        self,
        matcher: EndpointMatcher,
        memo: VerdictMemo,
        failed: Callable[[Exchange, int, str], None],
    ) -> None: ...

class PathRewrite(Step): ...

class PathMethod(Step): ...

class PathEdits(Step):
    def __init__(self, kind: str, response: bool = False) -> None: ...

class PathAnswer(Step):
    def __init__(self, suffix: bytes, function: Callable[[Exchange], None]) -> None: ...

class Origin:
    host: str
    port: int
    tls: ssl.SSLContext | None
    server_name: str
    open: int
    def close_idle(self) -> None: ...

class Target:
    origin: Origin
    host: bytes
    def __init__(self, origin: Origin, host: bytes, path: bytes = b"", query: bytes = b"") -> None: ...

class Plan:
    api_id: bytes
    name: bytes
    org_id: bytes
    targets: list[Target]
    others: list[Target]
    steps: list[Any]
    versions: dict[str, Plan] | None
    matcher: EndpointMatcher | None
    def __init__(
        self,
        api_id: bytes,
        *,
        name: bytes = b"",
        org_id: bytes = b"",
        row: int = 0,
        steps: Sequence[Step] = (),
        response_steps: Sequence[Step] = (),
        targets: Sequence[Target] = (),
        strip: bool = False,
        exact_target: bool = False,
        preserve_host: bool = False,
        needs_body: bool = False,
        head_timeout_ms: int = 30000,
        matcher: EndpointMatcher | None = None,
        exchange_timeout_ms: int = 0,
        loop_path: bytes = b"",
        grant_key: Any = None,
        version: bytes = b"",
        recording: RecordPlan | None = None,
        others: Sequence[Target] = (),
    ) -> None: ...
    def link(self, loop: Plan) -> None: ...

class Gateway:
    loop: asyncio.AbstractEventLoop
    region: Region
    router: Router
    draining: bool
    recorder: Recorder | None
    address_of: Callable[[bytes, bytes | None, bytes | None], bytes] | None
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        region: Region,
        pages: Callable[[int, str, bytes], tuple[bytes, bytes]],
        logger: logging.Logger,
        log: AccessLog | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None: ...
    def configure(self, settings: dict[str, Any]) -> None: ...
    def set_pages(self, pages: Callable[[int, str, bytes], tuple[bytes, bytes]]) -> None: ...
    def client(self) -> asyncio.Protocol: ...
    def origin(self, host: str, port: int, tls: ssl.SSLContext | None = None, server_name: str = "") -> Origin: ...
    def forget(self, origin: Origin) -> None: ...
    def control_plan(self, path: bytes, plan: Plan, prefix: bool = False) -> None: ...
    def clear_controls(self) -> None: ...
    def swap(self, router: Router, used_origins: Iterable[Origin]) -> None: ...
    async def drain(self, grace: float) -> None: ...
    def abort(self) -> None: ...

def note_rate_of(x: Exchange, window: RateWindow, left: int, reset_ms: int) -> None: ...
def clean_path(path: bytes) -> bytes: ...
