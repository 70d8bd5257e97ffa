"""Types of accel.endpoints for Python code; see endpoints.pxd for who owns what."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

KINDS: Final[tuple[str, ...]]
OPEN: Final[int]
PASS_IGNORED: Final[int]
FORBIDDEN: Final[int]
REPLY: Final[int]

Reply = tuple[int, list[tuple[bytes, bytes]], bytes]

class Pattern:
    source: bytes
    def __init__(self, source: bytes) -> None: ...
    def search(self, path: bytes) -> bool: ...

class Endpoint:
    number: int
    kind: str
    path: bytes
    pattern: Pattern
    methods: frozenset[bytes] | None
    actions: dict[bytes, Reply | bool | None] | None
    data: Any
    def __init__(
        self,
        kind: str,
        source: bytes,
        methods: Iterable[bytes] | None = None,
        data: Any = None,
        *,
        path: bytes = b"",
        actions: Mapping[bytes, Reply | bool | None] | None = None,
    ) -> None: ...

class Verdict:
    said: int
    reply: Reply | None
    tracked: bytes | None
    untracked: bool

class EndpointMatcher:
    gated: bool
    listed: bool
    timed: bool
    def __init__(self, endpoints: Iterable[Endpoint]) -> None: ...
    def has(self, kind: str) -> bool: ...
    def find(self, kind: str, method: bytes, candidates: Iterable[bytes]) -> Any: ...
    def judge(self, method: bytes, full: bytes, rest: bytes, bare: bytes, looping: bool = False) -> Verdict: ...

class VerdictMemo:
    most: int
    cleared: int
    def __init__(self, most: int) -> None: ...
    def configure(self, most: int) -> None: ...
    def __len__(self) -> int: ...
