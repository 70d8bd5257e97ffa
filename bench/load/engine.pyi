from typing import TypedDict

KIND_NAMES: tuple[str, ...]

class Counters(TypedDict):
    requests: int
    bytes: int
    opened: int
    failures: dict[str, int]
    statuses: dict[int, int]
    buckets: dict[int, int]

class Engine:
    def __init__(
        self,
        host: str,
        port: int,
        requests: list[tuple[bytes, tuple[int, ...], int]],
        connections: int = 64,
        status: int = 200,
        timeout: float = 10.0,
        limit: int = 0,
        seed: int = 1,
        others: tuple[int, ...] = (),
    ) -> None: ...
    def run(self, seconds: float) -> None: ...
    def stop(self) -> None: ...
    def counters(self) -> Counters: ...
