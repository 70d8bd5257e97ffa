"""Sessions on their way to a plugin and back (tyk-plugins 2.4)."""

from __future__ import annotations

import json
from typing import Any

from coprocess.codec import json_session, session_message
from coprocess.codec.frame import SessionWire
from coprocess.codec.plain import integer
from coprocess.codec.replies import CodecError, member, wrong
from coprocess.codec.schema import EXPECTED, QUOTA, SESSION, WITHOUT_QUOTA
from coprocess.driver import Format

# Go keeps these out of its JSON.
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def session_to_wire(session: dict[str, Any], token: str, format: Format) -> SessionWire:
    """A session as plugins get it. See lasting_part, which raises CodecError for more."""
    return lasting_part(session, token, format).with_quota(quota_left(session))


def quota_left(session: dict[str, Any]) -> int:
    """What a session says to be left of its quota. Raises CodecError for what is no integer of 64 bits."""
    value = session.get(QUOTA)
    return 0 if value is None else integer(value, f"session.{QUOTA}")


def lasting_part(session: dict[str, Any], token: str, format: Format) -> SessionWire:
    """A session as plugins get it, but for what is left of its quota: add that before it goes into a message, see
    SessionWire.with_quota. session: in the JSON of Tyk's store, what is missing counts as empty; token: the key.

    `certificate` and `max_query_depth` are not sent; metadata that are not text are sent as JSON. Raises CodecError, naming
    the field, for what the message cannot hold.
    """
    metadata = _metadata(session.get("meta_data"))
    sent = {
        **session,
        "meta_data": metadata,
        "key_id": token,
        "enable_detailed_recording": bool(session.get("enable_detailed_recording") or session.get("enable_detail_recording")),
    }
    encode = json_session.encode_session if format == "json" else session_message.encode_session
    return SessionWire(format, encode(WITHOUT_QUOTA, sent), metadata)


def session_from_wire(format: Format, raw: bytes) -> dict[str, Any]:
    """A plugin's session in the JSON of Tyk's store: every field that SessionState has. Raises CodecError."""
    decode = json_session.decode_session if format == "json" else session_message.decode_session
    return decode(SESSION, raw)


def _metadata(values: Any) -> dict[str, str]:
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise wrong("session.metadata", EXPECTED["map"], values)
    return {key: value if isinstance(value, str) else _text(key, value) for key, value in values.items()}


def _text(key: str, value: Any) -> str:
    """JSON as Go writes it: members sorted, no white space."""
    try:
        found = json.dumps(_whole(value), ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):
        raise CodecError(member("session.metadata", key), "expected what JSON can hold") from None
    return found.translate(_ESCAPES)


def _whole(value: Any) -> Any:
    """Floats without a fraction as integers, which is how Go prints them."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value
