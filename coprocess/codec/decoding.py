"""A plugin's reply, whatever its format."""

from __future__ import annotations

from coprocess.codec.json_reply import decode_json
from coprocess.codec.replies import PluginReply
from coprocess.codec.reply import decode_protobuf
from coprocess.driver import Format


def decode(format: Format, message: bytes) -> PluginReply:
    """Read one coprocess.Object; all of it is copied. Raises CodecError, naming the field."""
    return decode_json(message) if format == "json" else decode_protobuf(message)
