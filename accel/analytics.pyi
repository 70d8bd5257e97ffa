from collections.abc import Callable, Iterable, Sequence
from typing import Any

class RecordPlan:
    @property
    def host(self) -> bytes: ...
    @property
    def detailed(self) -> bool: ...
    @property
    def own_expiry(self) -> int: ...
    @property
    def expires_after(self) -> int: ...
    def __init__(
        self,
        api_id: str,
        *,
        name: str = "",
        org_id: str = "",
        listen_path: str = "",
        host: str = "",
        tags: Sequence[str] = (),
        tag_headers: Sequence[str] = (),
        expires_after: int = 0,
        detailed: bool = False,
    ) -> None: ...
    def organisation(self, expires_after: int, detailed: bool) -> None: ...

class KeyRecord:
    @property
    def detailed(self) -> bool: ...
    def __init__(
        self,
        api_key: str = "",
        *,
        alias: str = "",
        oauth_id: str = "",
        tags: Sequence[str] = (),
        detailed: bool = False,
    ) -> None: ...

class Capture:
    def __init__(self, recorder: Recorder) -> None: ...

class Recorder:
    wake: Callable[[], None] | None
    describe: Callable[[Any], KeyRecord] | None
    @property
    def records(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def held(self) -> int: ...
    @property
    def held_bytes(self) -> int: ...
    @property
    def captured(self) -> int: ...
    @property
    def max_records(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def batch_records(self) -> int: ...
    @property
    def batch_bytes(self) -> int: ...
    @property
    def max_body(self) -> int: ...
    @property
    def anonymous(self) -> KeyRecord: ...
    @property
    def address(self) -> Callable[[bytes, bytes | None, bytes | None], bytes] | None: ...
    def __init__(
        self,
        max_records: int = 100_000,
        max_bytes: int = 67108864,
        *,
        batch_records: int = 1000,
        batch_bytes: int = 1048576,
        max_body: int = 65536,
    ) -> None: ...
    def configure(
        self,
        *,
        anonymous: KeyRecord | None = None,
        ignored: Iterable[bytes] = (),
        node_tags: Sequence[str] = (),
        normalise: Callable[[bytes], bytes] | None = None,
        address: Callable[[bytes, bytes | None, bytes | None], bytes] | None = None,
    ) -> None: ...
    def take(self, partial: bool = True) -> list[bytes] | None: ...
    def release(self, batch: list[bytes]) -> None: ...
    def record(
        self,
        plan: RecordPlan,
        key: KeyRecord | None = None,
        *,
        method: bytes = b"",
        host: bytes = b"",
        path: bytes = b"",
        original_path: bytes = b"",
        user_agent: bytes = b"",
        version: bytes = b"",
        address: bytes = b"",
        tracked: bytes | None = None,
        status: int = 0,
        time_us: int = 0,
        total_us: int = 0,
        upstream_us: int = 0,
        content_length: int = 0,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None: ...

def benchmark(recorder: Recorder, plan: RecordPlan, key: KeyRecord | None, count: int) -> float: ...
