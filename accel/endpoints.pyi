from collections.abc import Iterable, Mapping
from typing import Final

MOCK: Final[int]
IGNORED: Final[int]
BLACK: Final[int]
WHITE: Final[int]
INTERNAL: Final[int]

Reply = tuple[int, list[tuple[bytes, bytes]], bytes]

class Pattern:
    def __init__(self, source: bytes) -> None: ...
    def matches(self, path: bytes) -> bool: ...

class Gate:
    def __init__(
        self, entries: Iterable[tuple[int, bytes, bytes, Mapping[bytes, Reply | None] | None, Reply | None]]
    ) -> None: ...
    def judge(
        self, method: bytes, full: bytes, rest: bytes, bare: bytes, looping: bool = False
    ) -> tuple[int, Reply | None]: ...
