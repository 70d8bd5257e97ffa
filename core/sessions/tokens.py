"""What a key looks like: made, taken apart, hashed (tyk-core 5.3)."""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from typing import Any

from core.sessions.murmur import ALGORITHMS, digest

ORG_LENGTH = 24
_HEX = re.compile(r"[0-9a-fA-F]{24}")


def parts(token: str) -> dict[str, Any] | None:
    """The JSON inside a base64 token, None for any other."""
    if not token.startswith("ey"):
        return None
    try:
        value = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and "org" in value else None


def generate(org: str, key_id: str, hash_function: str) -> str:
    """The token of a key id in an organisation; an empty id becomes 32 random digits.

    Without a hash function the two stand behind each other; with one they are JSON in base64.
    """
    key_id = key_id or uuid.uuid4().hex
    if not hash_function:
        return org + key_id
    algorithm = hash_function if hash_function in ALGORITHMS else "murmur64"
    text = json.dumps({"org": org, "id": key_id, "h": algorithm}, separators=(",", ":"), ensure_ascii=False)
    return base64.b64encode(text.encode()).decode()


def org_of(token: str) -> str:
    """The organisation in a token, "" if there is none."""
    found = parts(token)
    if found is not None:
        return str(found["org"])
    return token[:ORG_LENGTH] if len(token) > ORG_LENGTH and _HEX.match(token) else ""


def id_of(token: str) -> str:
    """The key id in a base64 token, else ""."""
    found = parts(token)
    return str(found.get("id", "")) if found is not None else ""


def algorithm_of(token: str) -> str:
    """The hash algorithm that a token names, "" for a legacy one."""
    found = parts(token)
    return str(found.get("h", "")) if found is not None else ""


def hash_key(token: str, hash_keys: bool) -> str:
    """What stands for a token in the store: its hash, or itself when keys are not hashed."""
    if not hash_keys:
        return token
    return digest(algorithm_of(token), token.encode("utf-8", "surrogateescape"))


def candidates(token: str, org: str, hash_function: str, fallback: list[str]) -> list[str]:
    """The full tokens that a client may mean, in the order in which they are looked up.

    A token of another organisation, or without one, may be the id of a key of this API's organisation.
    """
    if org and org_of(token) == org:
        return [token]
    found = [generate(org, token, hash_function), token]
    found += [generate(org, token, algorithm) for algorithm in fallback]
    return list(dict.fromkeys(found))


def shortened(token: str) -> str:
    """The form for logs."""
    return f"****{token[-4:]}"
