"""The message classes of a session (tyk-plugins 5.4)."""

from __future__ import annotations

from typing import Any

from coprocess.python.host.protobuf import message

__all__ = ["AccessDefinition", "AccessSpec", "BasicAuthData", "JWTData", "Monitor", "TykSession"]

_MODULE = "coprocess_session_state_pb2"

TykSession: Any = message(_MODULE, "SessionState")
AccessSpec: Any = message(_MODULE, "AccessSpec")
AccessDefinition: Any = message(_MODULE, "AccessDefinition")
BasicAuthData: Any = message(_MODULE, "BasicAuthData")
JWTData: Any = message(_MODULE, "JWTData")
Monitor: Any = message(_MODULE, "Monitor")
