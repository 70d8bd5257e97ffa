"""Types of accel.http1 for Python code; see http1.pxd for the design."""

import asyncio
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from accel.accesslog import AccessLog
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
    @property
    def remote_addr(self) -> bytes: ...
    @property
    def decoded_path(self) -> bytes: ...
    @property
    def answered(self) -> bool: ...
    def header(self, name: bytes) -> bytes | None: ...
    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"") -> None: ...
    def fail(self, status: int, message: str) -> None: ...

class Step: ...

class HeaderEdit(Step):
    def __init__(
        self, remove: Iterable[bytes], put: Iterable[tuple[bytes, bytes]], response: bool = False
    ) -> None: ...

class PyStep(Step):
    def __init__(self, function: Callable[[Exchange], Awaitable[None] | None]) -> None: ...

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
    targets: list[Target]
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
        add_forwarded_for: bool = True,
        head_timeout_ms: int = 30000,
        hard_timeouts: Sequence[tuple[bytes, re.Pattern[bytes], int]] = (),
        loop_path: bytes = b"",
    ) -> None: ...
    def link(self, loop: Plan) -> None: ...

class Gateway:
    loop: asyncio.AbstractEventLoop
    region: Region
    router: Router
    draining: bool
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
    def control_plan(self, path: bytes, plan: Plan, prefix: bool = False) -> None: ...
    def clear_controls(self) -> None: ...
    def swap(self, router: Router, used_origins: Iterable[Origin]) -> None: ...
    async def drain(self, grace: float) -> None: ...
    def abort(self) -> None: ...

def clean_path(path: bytes) -> bytes: ...
