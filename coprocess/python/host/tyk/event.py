"""An event (tyk-plugins 9)."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["TykEvent"]


class TykEvent:
    """message: {"Type", "Meta", "TimeStamp"}; handler_name: the function; spec: {"APIID", "OrgID"}."""

    def __init__(self, raw: Any) -> None:
        """raw: JSON text. Raises ValueError."""
        parsed = json.loads(raw)
        if not isinstance(parsed, dict):
            raise ValueError("an event: expected a JSON object")
        self.message: dict[str, Any] = parsed.get("message") or {}
        self.handler_name: str = parsed.get("handler_name", "")
        self.spec: dict[str, str] = parsed.get("spec") or {}
