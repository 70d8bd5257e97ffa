"""Types of accel.router."""

import re
from collections.abc import Iterable
from typing import Any

class Route:
    prefix: bytes
    plan: Any
    def __init__(
        self,
        prefix: bytes,
        plan: object,
        pattern: re.Pattern[bytes] | None = None,
        sort_length: int = -1,
        strict: bool = False,
    ) -> None: ...

class Router:
    size: int
    def __init__(self, routes: Iterable[tuple[bytes | re.Pattern[bytes] | None, Route]] = ()) -> None: ...
    def lookup(self, host: bytes, path: bytes) -> tuple[Route, int] | None: ...
