"""Types of jsvm_pool.envelope for Python code."""

from accel.http1 import Exchange

def script_payload(
    x: Exchange, params: bytes, session: bytes, more: bytes, body: bytes | None, response: bytes | None, hostless: bool
) -> bytes: ...
