"""Types of coprocess.codec.session_message for Python code."""

from typing import Any

from coprocess.codec.schema import Field

def encode_session(fields: tuple[Field, ...], session: dict[str, Any]) -> bytes: ...
def decode_session(fields: tuple[Field, ...], message: bytes) -> dict[str, Any]: ...
