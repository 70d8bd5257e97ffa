"""Headers whose values come from the meta data of the client's key (tyk-core 2.9)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from accel.http1 import Exchange, PyStep

VARIABLE = re.compile(r"\$tyk_meta\.([A-Za-z0-9_\-.]+)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def fill(template: str, meta: dict[str, Any]) -> str:
    """The template with its variables replaced; a variable that the meta data lacks is empty.

    Values are data of keys, so that line ends and other control characters are taken out of them.
    """
    return VARIABLE.sub(lambda match: _CONTROL.sub("", text_of(meta.get(match[1]))), template)


def text_of(value: Any) -> str:
    """A value of meta data as the text that stands for it; "" for None."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def meta_headers(pairs: Iterable[tuple[bytes, str]], *, response: bool) -> PyStep:
    """A step that sets headers, (name, template), of the request or the response."""
    known = tuple(pairs)

    def put(x: Exchange) -> None:
        meta = x.key.session["meta_data"] or {} if x.key is not None else {}
        block = x.res if response else x.req
        for name, template in known:
            block.set(name, fill(template, meta).strip(" \t").encode("utf-8", "surrogateescape"))

    return PyStep(put)
