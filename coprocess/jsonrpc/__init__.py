"""JSON-RPC 2.0 over the standard input and output of child processes: plugins in any language. See PROTOCOL.md."""

from coprocess.jsonrpc.driver import JsonRpcDriver
from coprocess.jsonrpc.settings import JsonRpcSettings

__all__ = ["JsonRpcDriver", "JsonRpcSettings"]
