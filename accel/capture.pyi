"""Types of accel.capture for Python code; see capture.pxd."""

from accel.linear import Linear

class CaptureSearch(Linear):
    groups: int
    def __init__(self, source: bytes) -> None: ...
    def find(self, text: bytes) -> list[bytes | None] | None: ...
