"""What a plugin replies with is what the gateway reads."""

from __future__ import annotations

from pathlib import Path

from coprocess.codec import decode, session_from_wire
from coprocess.proto.coprocess_object_pb2 import Object
from tests.coprocess.python.hosting import hosted, on_loop, write_bundle

CODE = """
    @CustomKeyCheck
    def Check(request, session, metadata, spec):
        request.add_header("X", "y")
        request.delete_param("p")
        request.object.raw_body = request.object.raw_body + b"\\xff"
        request.object.return_overrides.response_code = 401
        request.object.return_overrides.response_error = "no"
        session.rate = 100
        session.per = 1
        session.access_rights["api"].api_id = "api"
        session.apply_policies.append("policy")
        metadata["token"] = "t"
        return request, session, metadata

    @Hook
    def Nothing(request, session, spec):
        return request, session

    @Response
    def Respond(request, response, session, metadata, spec):
        response.raw_body = b"newbody"
        response.headers["A"] = "1"
        header = response.multivalue_headers.add()
        header.key = "Set-Cookie"
        header.values.extend(["a", "b"])
"""


def given() -> Object:
    made = Object(hook_type=4)
    made.request.url = "/path?p=q"
    made.request.method = "PUT"
    made.request.raw_body = b"body"
    made.request.body = "body"
    made.request.headers["H"] = "v"
    made.request.return_overrides.response_code = -1
    made.spec["APIID"] = "api"
    return made


@on_loop
async def test_replies_are_read(tmp_path: Path) -> None:
    """Edits, overrides, session and metadata of a request hook; the response of a response hook."""
    async with hosted(write_bundle(tmp_path / "b", CODE)) as host:
        reply = decode("protobuf", (await host.send("Check", given())).message)
        request = reply.request
        assert request is not None
        assert (request.url, request.method, request.raw_body) == ("/path?p=q", "PUT", b"body\xff")
        assert (request.set_headers, request.delete_params) == ([("X", "y")], ["p"])
        assert request.overrides is not None
        assert (request.overrides.response_code, request.overrides.response_error) == (401, "no")
        assert reply.session is not None
        session = session_from_wire("protobuf", reply.session)
        assert (session["rate"], session["per"], session["apply_policies"]) == (100, 1, ["policy"])
        assert session["access_rights"]["api"]["api_id"] == "api"

        reply = decode("protobuf", (await host.send("Nothing", given())).message)
        assert reply.session is None, "a hook without metadata that leaves the session alone has none in its reply"
        assert reply.request is not None
        assert reply.request.overrides is not None
        assert (reply.request.overrides.response_code, reply.request.raw_body) == (-1, b"body")

        message = given()
        message.response.status_code = 200
        reply = decode("protobuf", (await host.send("Respond", message)).message)
        response = reply.response
        assert response is not None
        assert (response.status_code, response.raw_body, response.headers) == (200, b"newbody", [("A", "1")])
        assert response.multivalue_headers == [("Set-Cookie", ["a", "b"])]
