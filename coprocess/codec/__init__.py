"""coprocess.Object, to a plugin and back: the one place that knows how it is written, in both formats."""

from coprocess.codec.decoding import decode
from coprocess.codec.frame import HookFrame, SessionWire
from coprocess.codec.replies import CodecError, Overrides, PluginReply, RequestReply, ResponseReply
from coprocess.codec.sessions import lasting_part, quota_left, session_from_wire, session_to_wire

__all__ = [
    "CodecError",
    "HookFrame",
    "Overrides",
    "PluginReply",
    "RequestReply",
    "ResponseReply",
    "SessionWire",
    "decode",
    "lasting_part",
    "quota_left",
    "session_from_wire",
    "session_to_wire",
]
