"""What a key looks like: made, taken apart, hashed (tyk-core 5.3)."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Sequence
from json.encoder import encode_basestring as _quoted  # as it is but for quotes, backslashes and control characters
from typing import Any

import orjson

from core.sessions.murmur import ALGORITHMS, digest

ORG_LENGTH = 24
DEFAULT_MIN_LENGTH = 3
_HEX = re.compile(r"[0-9a-fA-F]{24}", re.ASCII)
_PREFIX = "ey"      # base64 of an object's opening


def parts(token: str) -> dict[str, Any] | None:
    """The object inside a base64 token, None for any other."""
    if not token.startswith(_PREFIX):
        return None
    try:
        value = orjson.loads(base64.b64decode(token, validate=True).decode("utf-8", "replace"))
    except (binascii.Error, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _part(token: str, name: str) -> str | None:
    value = (parts(token) or {}).get(name)
    return value if isinstance(value, str) else None


def generate(org: str, key_id: str, hash_function: str) -> str:
    """The token of a key id in an organisation; an empty id becomes 32 random digits.

    Without a hash function the two stand behind each other; with one they are JSON in base64. The organisation is not
    put in front of an id that begins with it.
    """
    key_id = key_id.removeprefix(org) or uuid.uuid4().hex
    if not hash_function:
        return org + key_id
    algorithm = hash_function if hash_function in ALGORITHMS else "murmur64"
    opened = f'{{"org":{_quoted(org)},"id":{_quoted(key_id)},"h":"{algorithm}"}}'
    return base64.b64encode(opened.encode("utf-8", "surrogateescape")).decode()


def org_of(token: str) -> str:
    """The organisation in a token, "" if there is none."""
    found = _part(token, "org")
    if found is not None:
        return found
    return token[:ORG_LENGTH] if len(token) > ORG_LENGTH and _HEX.match(token) else ""


def id_of(token: str) -> str:
    """The key id in a base64 token, else ""."""
    return _part(token, "id") or ""


def algorithm_of(token: str) -> str:
    """The hash algorithm that a token names, "" for a legacy one."""
    return _part(token, "h") or ""


def hash_key(token: str, hash_keys: bool) -> str:
    """What stands for a token in the store: its hash, or itself when keys are not hashed."""
    if not hash_keys:
        return token
    return digest(algorithm_of(token), token.encode("utf-8", "surrogateescape"))


def candidates(token: str, org: str, hash_function: str, fallback: Sequence[str], *, by_name: bool = True) -> list[str]:
    """The full tokens that a client may mean, in the order in which they are looked up.

    A token of another organisation, or without one, may be the id of a key of this API's organisation; by_name: False
    where that is not allowed (disable_key_actions_by_username).
    """
    if org_of(token) == org:
        return [token]
    named = by_name and token != org
    found = [generate(org, token, hash_function)] if named else []
    found.append(token)
    if named:
        found += [generate(org, token, algorithm) for algorithm in fallback]
    return list(dict.fromkeys(found))


def too_short(token: str | bytes, min_length: int) -> bool:
    """Whether a token is never looked up: one of min_token_length characters, 3 if that is 0, or fewer."""
    return len(token) <= (min_length or DEFAULT_MIN_LENGTH)


def shortened(token: str, whole: bool = False) -> str:
    """The form for logs; whole: as it is (enable_key_logging)."""
    if whole:
        return token
    return f"****{token[-4:]}" if len(token) > 4 else "----"
