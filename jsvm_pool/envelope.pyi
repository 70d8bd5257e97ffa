"""Types of jsvm_pool.envelope for Python code."""

from accel.http1 import Exchange

def hook_payload(
    x: Exchange,
    params: bytes,
    session: bytes,
    config: bytes,
    more: bytes,
    response: bytes | None = None,
    body: bytes | None = b"",
) -> bytes: ...
def virtual_payload(
    x: Exchange, params: bytes, session: bytes, config: bytes, more: bytes, body: bytes
) -> bytes: ...
