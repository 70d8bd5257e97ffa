"""Bodies that are compressed with gzip, a bounded piece at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from core.outbound.messages import OutboundError

PIECE = 65536
_GZIP = 31      # zlib's number for "gzip only"


class Inflater:
    """Several members behind each other are one body (RFC 1952 2.2)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._fed = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What `data` holds, in pieces of at most PIECE bytes, so that the caller can stop. Raises OutboundError."""
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            self._fed = True
            try:
                piece = self._member.decompress(data, PIECE)
            except zlib.error as error:
                raise OutboundError(f"the answer is no valid gzip: {error}") from None
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                yield piece

    def check_end(self) -> None:
        """Raise OutboundError if the last member is incomplete."""
        if self._fed and not self._member.eof:
            raise OutboundError("the answer ends within its gzip data")
