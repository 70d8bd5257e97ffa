"""Query strings as Go's net/url reads and writes them."""

from __future__ import annotations

import re
from urllib.parse import quote_plus, unquote_to_bytes

from jsvm_pool.decoding import to_bytes

Values = dict[bytes, list[bytes]]

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def parse(query: bytes) -> Values:
    """Values by name, in the order of the query; pairs with a broken escape or a semicolon are left out."""
    found: Values = {}
    if not query:
        return found
    for pair in query.split(b"&"):
        if not pair or b";" in pair:
            continue
        name, _, value = pair.partition(b"=")
        if b"%" in pair:
            if _BAD_ESCAPE.search(pair):
                continue
            name, value = unquote_to_bytes(name.replace(b"+", b" ")), unquote_to_bytes(value.replace(b"+", b" "))
        elif b"+" in pair:
            name, value = name.replace(b"+", b" "), value.replace(b"+", b" ")
        found.setdefault(name, []).append(value)
    return found


def encode(values: Values) -> bytes:
    """The query of these values, sorted by name, a space as "+"."""
    return "&".join(f"{quote_plus(name)}={quote_plus(one)}" for name in sorted(values) for one in values[name]).encode()


def texts(values: Values) -> dict[str, list[str]]:
    """The values as text, sorted by name; bytes that are not UTF-8 become U+FFFD."""
    return {
        name.decode("utf-8", "replace"): [one.decode("utf-8", "replace") for one in values[name]]
        for name in sorted(values)
    }


def changed(query: bytes, delete: list[str], add: dict[str, str], extend: dict[str, list[str]]) -> bytes:
    """The query after DeleteParams, AddParams and ExtendedParams, in this order; the same bytes if they change nothing."""
    if not (delete or add or extend):
        return query
    values = parse(query)
    for name in delete:
        values.pop(to_bytes(name), None)
    for name, value in add.items():
        values[to_bytes(name)] = [to_bytes(value)]
    for name, more in extend.items():
        if more:
            values.setdefault(to_bytes(name), []).extend(to_bytes(one) for one in more)
    return query if values == parse(query) else encode(values)
