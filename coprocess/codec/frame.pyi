"""Types of coprocess.codec.frame for Python code."""

from accel.http1 import Exchange
from coprocess.driver import Format

class SessionWire:
    format: Format
    message: bytes
    metadata: dict[str, str]
    def __init__(self, format: Format, message: bytes, metadata: dict[str, str]) -> None: ...
    def with_quota(self, left: int) -> SessionWire: ...

class HookFrame:
    hook_type: int
    hook_name: str
    format: Format
    raw_body_only: bool
    def __init__(
        self, hook_type: int, hook_name: str, spec: dict[str, str], raw_body_only: bool, format: Format
    ) -> None: ...
    def request(self, x: Exchange, url: bytes, method: bytes, body: bytes, session: SessionWire | None) -> bytes: ...
    def response(
        self,
        x: Exchange,
        url: bytes,
        method: bytes,
        request_body: bytes,
        session: SessionWire | None,
        status: int,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
    ) -> bytes: ...
