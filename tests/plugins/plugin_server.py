"""A plugin server: a process of its own with grpcio, whose hooks are Python functions that a test writes.

Run as: plugin_server.py ADDRESS HOOKS RECORD. HOOKS is a file that defines functions, called with the Object under their
names; what they return, an Object or bytes as they are, or None for the Object itself, is the reply. RECORD gets one line for
each call.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from coprocess.proto import coprocess_object_pb2 as messages

LARGEST = 256 << 20


class Dispatcher:
    """Both methods of coprocess.Dispatcher, on the bytes of messages."""

    def __init__(self, hooks: dict[str, Any], record: Path) -> None:
        self._hooks = hooks
        self._record = record
        self._lock = threading.Lock()

    def _note(self, **what: Any) -> None:
        with self._lock, self._record.open("a") as file:
            file.write(json.dumps(what) + "\n")

    def dispatch(self, raw: bytes, context: Any) -> bytes:
        said = messages.Object.FromString(raw)
        self._note(hook=said.hook_name, object=base64.b64encode(raw).decode())
        context.add_callback(lambda: self._note(ended=said.hook_name, cancelled=context.code() is None))
        hook: Callable[[Any], Any] = self._hooks[said.hook_name]
        found = hook(said)
        if isinstance(found, bytes):
            return found
        reply: bytes = (said if found is None else found).SerializeToString()
        return reply

    def event(self, raw: bytes, context: Any) -> bytes:
        self._note(event=json.loads(messages.Event.FromString(raw).payload))
        return b""


def main() -> None:
    address, source, record = sys.argv[1:]
    hooks: dict[str, Any] = {"messages": messages}
    exec(compile(Path(source).read_text(), source, "exec"), hooks)
    dispatcher = Dispatcher(hooks, Path(record))
    sizes = dict.fromkeys(("grpc.max_receive_message_length", "grpc.max_send_message_length"), LARGEST)
    options = [*sizes.items(), ("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(16), options=options)
    methods = {
        "Dispatch": grpc.unary_unary_rpc_method_handler(dispatcher.dispatch),
        "DispatchEvent": grpc.unary_unary_rpc_method_handler(dispatcher.event),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("coprocess.Dispatcher", methods),))
    if not server.add_insecure_port(address):
        sys.exit(f"cannot listen on {address}")
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
