"""The request as hooks see it (tyk-plugins 5.4)."""

from __future__ import annotations

from typing import Any


class TykCoProcessRequest:
    """`object` is the MiniRequestObject; the methods note edits in it."""

    def __init__(self, request: Any) -> None:
        self.object = request

    def add_header(self, key: str, value: str) -> None:
        """Set a header of the request that goes upstream."""
        self.object.set_headers[key] = value

    def delete_header(self, key: str) -> None:
        """Remove a header."""
        self.object.delete_headers.append(key)

    def add_param(self, key: str, value: str) -> None:
        """Set a query parameter."""
        self.object.add_params[key] = value

    def delete_param(self, key: str) -> None:
        """Remove a query parameter."""
        self.object.delete_params.append(key)

    def get_header(self, key: str) -> str | None:
        """First value of a header by its canonical name, None without it."""
        value: str | None = self.object.headers.get(key)
        return value
