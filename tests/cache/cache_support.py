"""APIs with a response cache, and what tests look for in answers and in the store."""

from __future__ import annotations

import base64
import time
from typing import Any

from tests.support.gateway import Json, api, merge, wait_for
from tests.support.valkey import Valkey
from tests.support.wire import Response

OPTIONS: Json = {"enable_cache": True, "cache_timeout": 60, "cache_all_safe_requests": True}


def caching(api_id: str, target: str, *, options: Json | None = None, **more: Any) -> Json:
    """A keyless API that caches; options: laid over OPTIONS."""
    return api(api_id, f"/{api_id}/", target, **merge({"cache_options": {**OPTIONS, **(options or {})}}, more))


def entries(*advanced: Json, simple: tuple[str, ...] = ()) -> Json:
    """The part of a definition that has path entries."""
    extended: Json = {"advance_cache_config": list(advanced), "cache": list(simple)}
    return {"version": {"use_extended_paths": True, "extended_paths": extended}}


def entry(path: str, method: str, pattern: str = "", **more: Any) -> Json:
    """One entry of advance_cache_config."""
    return {"path": path, "method": method, "cache_key_regex": pattern, **more}


def hit(answer: Response) -> bool:
    """Whether an answer comes from the cache."""
    said = answer.get("X-Tyk-Cached-Response")
    assert said in (None, "1"), said
    return said == "1"


def stored(store: Valkey, api_id: str) -> list[bytes]:
    """The names of the answers of an API."""
    return sorted(store.ask("KEYS", f"cache-{api_id}*"))


def kept(store: Valkey, api_id: str, count: int = 1) -> list[bytes]:
    """The names of the answers of an API, when so many have arrived."""
    return wait_for(lambda: names if len(names := stored(store, api_id)) == count else [], f"{count} answers in the store")


def value(text: str | bytes, seconds: float = 60) -> bytes:
    """A value as Tyk stores it. text: of the answer on the wire."""
    raw = text.encode() if isinstance(text, str) else text
    return base64.b64encode(raw) + b"|%d" % (time.time() + seconds)


def wire_of(raw: bytes) -> bytes:
    """The text of the answer in a stored value."""
    return base64.b64decode(raw.partition(b"|")[0], validate=True)
