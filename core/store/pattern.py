"""Patterns of SCAN and KEYS."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"([*?\[\]\\^])")


def literal(text: str) -> str:
    """A pattern that fits this text only."""
    return _SPECIAL.sub(r"\\\1", text)
