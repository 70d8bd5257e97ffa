"""Types of coprocess.codec.reply for Python code."""

from coprocess.codec.replies import PluginReply

def decode_protobuf(message: bytes) -> PluginReply: ...
