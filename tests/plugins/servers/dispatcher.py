"""A plugin server as they are usually written: generated stubs, grpc.aio, one Dispatch that looks at the type of the hook,
prints each object as JSON, and gives the object back that it got. Run as: dispatcher.py ADDRESS RECORD.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
from typing import Any

import grpc
from google.protobuf.json_format import MessageToJson

from coprocess.proto import coprocess_object_pb2 as messages
from coprocess.proto import coprocess_object_pb2_grpc as stubs
from coprocess.proto.coprocess_common_pb2 import HookType
from coprocess.proto.coprocess_session_state_pb2 import SessionState

SECRET = b"c2VjcmV0"
KEY = "signed-key"


def refuse(said: Any, code: int, why: str) -> None:
    said.request.return_overrides.response_code = code
    said.request.return_overrides.response_error = why


def authenticate(said: Any) -> None:
    """`Authorization: Signature keyId="...",signature="..."` over the date."""
    given = said.request.headers.get("Authorization", "")
    date = said.request.headers.get("Date", "")
    if not given or not date:
        return refuse(said, 400, "Custom middleware: Bad request")
    expected = base64.b64encode(hmac.new(SECRET, f"date: {date}".encode(), hashlib.sha256).digest()).decode()
    if f'keyId="{KEY}"' not in given or f'signature="{expected}"' not in given:
        return refuse(said, 401, "Custom middleware: Not authorized")
    session = SessionState(hmac_enabled=True, hmac_secret=SECRET.decode())
    session.metadata["token"] = "of the session, which does not count beside that of the object"
    said.metadata["token"] = KEY
    said.session.CopyFrom(session)
    return None


class Dispatcher(stubs.DispatcherServicer):
    def __init__(self, record: str) -> None:
        self._record = record

    def note(self, **what: Any) -> None:
        with open(self._record, "a", encoding="utf-8") as file:
            file.write(json.dumps(what) + "\n")

    async def Dispatch(self, said: Any, context: Any) -> Any:
        self.note(kind=HookType.Name(said.hook_type), name=said.hook_name, json=json.loads(MessageToJson(said)))
        config = json.loads(said.spec["config_data"]) if "config_data" in said.spec else {}
        if said.hook_type == HookType.Pre:
            said.request.add_params["new-param"] = config.get("param", "new-value")
            said.request.extended_params["extended-param"] = "never read"
        elif said.hook_type == HookType.CustomKeyCheck:
            authenticate(said)
        elif said.hook_type == HookType.PostKeyAuth:
            said.request.delete_params.append("new-param")
            said.request.set_headers["X-Hmac"] = str(said.session.hmac_enabled)
        elif said.hook_type == HookType.Response:
            body = json.loads(said.response.body)
            said.response.raw_body = json.dumps({**body, "by": said.hook_name}).encode()
            said.response.headers["Content-Length"] = str(len(said.response.raw_body))
        return said

    async def DispatchEvent(self, event: Any, context: Any) -> Any:
        self.note(event=json.loads(event.payload))
        return messages.EventReply()


async def serve(address: str, record: str) -> None:
    server = grpc.aio.server()
    stubs.add_DispatcherServicer_to_server(Dispatcher(record), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(address)
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


asyncio.run(serve(sys.argv[1], sys.argv[2]))
