"""Types of accel.edits for Python code; see edits.pxd for the design."""

from collections.abc import Callable, Iterable

from accel.http1 import Exchange

class FieldNames:
    def __init__(self, check: Callable[[str], bytes | None]) -> None: ...

class RequestEditor:
    def __init__(
        self,
        names: FieldNames,
        change_query: Callable[[bytes, list[str], dict[str, str], dict[str, list[str]]], bytes],
        most: int,
    ) -> None: ...
    def headers(self, x: Exchange, put: Iterable[tuple[str, str]], delete: list[str]) -> bool: ...
    def query(self, query: bytes, delete: list[str], add: dict[str, str]) -> bytes: ...
