"""What records say about the key of a request (tyk-core 6)."""

from __future__ import annotations

from accel.analytics import KeyRecord
from accel.http1 import KeyEntry
from core.sessions.tokens import hash_key


def key_record(entry: KeyEntry) -> KeyRecord:
    """The part of a session that its records have in common."""
    session = entry.session
    developer = (session["meta_data"] or {}).get("tyk_developer_id")
    tags = [f"pol-{policy}" for policy in session["apply_policies"]]
    if developer:
        tags.append(f"dev-{developer}")
    tags += session["tags"]
    return KeyRecord(
        entry.name.decode("utf-8", "replace"),
        alias=session["alias"],
        oauth_id=session["oauth_client_id"],
        tags=tags,
        detailed=session["enable_detail_recording"] or session["enable_detailed_recording"],
    )


def anonymous(hash_keys: bool) -> KeyRecord:
    """For requests without a key; with hashed keys that is the hash of nothing, as in Tyk."""
    return KeyRecord(hash_key("", hash_keys))
