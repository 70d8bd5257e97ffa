"""One call as an object (tyk-plugins 5.4)."""

from __future__ import annotations

from typing import Any

from coprocess.python.host.protobuf import message
from coprocess.python.host.tyk.request import TykCoProcessRequest

__all__ = ["TykCoProcessObject"]

_Object: Any = message("coprocess_object_pb2", "Object")
_HOOK_TYPES = ("", "pre", "post", "postkeyauth", "customkeycheck", "response")


class TykCoProcessObject:
    """A coprocess.Object and its parts."""

    def __init__(self, raw: bytes) -> None:
        """raw: the encoded message. Raises protobuf's DecodeError."""
        self.object = thing = _Object.FromString(raw)
        self.request = TykCoProcessRequest(thing.request)
        self.response = thing.response
        self.session = thing.session
        self.metadata = thing.session.metadata
        self.spec = thing.spec
        self.hook_name: str = thing.hook_name
        number = thing.hook_type
        self.hook_type = _HOOK_TYPES[number] if 0 <= number < len(_HOOK_TYPES) else ""

    def dump(self) -> bytes:
        """The encoded message, with what the plugin changed."""
        encoded: bytes = self.object.SerializeToString()
        return encoded
