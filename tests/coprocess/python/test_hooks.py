"""Decorators, parameter counts, and what is kept of what a hook does (tyk-plugins 5.3, 5.4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coprocess.proto.coprocess_object_pb2 import Object
from tests.coprocess.python.hosting import hosted, on_loop, write_bundle

HOOKS = """
    @Hook
    def Three(request, session, spec):
        request.add_header("X-Three", spec["APIID"])
        session.alias = "changed"
        return request, session

    @Hook
    def Four(request, session, metadata, spec):
        metadata["seen"] = "yes"
        return request, session, metadata

    @Hook
    def FourUntouched(request, session, metadata, spec):
        return request, session, metadata

    @Hook
    def FourDict(request, session, metadata, spec):
        return request, session, {"token": "abc"}

    @Hook
    def FourOther(request, session, metadata, spec):
        from tyk.session import TykSession
        return request, session, TykSession(metadata={"token": "other"}).metadata

    @Hook
    def Five(request, response, session, metadata, spec):
        response.raw_body = b"newbody"
        response.headers["X-Five"] = "5"
        request.object.url = "/five"
        return "whatever"

    @Hook
    def Replaced(request, session, spec):
        from tyk.session import TykSession
        session.alias = "in place"
        return request, TykSession(alias="replaced")

    @Hook
    def Nothing(request, session, spec):
        request.add_header("X", "y")

    @Hook
    def TooMuch(request, session, spec):
        return request, session, spec

    @Hook
    def WithDefault(request, session, spec, more="default"):
        return request, session, more

    @Hook
    def Edits(request, session, spec):
        request.add_header("A", "1")
        request.delete_header("B")
        request.add_param("c", "2")
        request.delete_param("d")
        request.add_header("Got", str(request.get_header("Content-Type")) + str(request.get_header("content-type")))
        return request, session

    @Pre
    def PreHook(request, session, spec):
        request.add_header("By", "pre")
        return request, session

    @Post
    def PostHook(request, session, metadata, spec):
        request.add_header("By", "post")
        return request, session, metadata

    @PostKeyAuth
    def PostKeyAuthHook(request, session, metadata, spec):
        request.add_header("By", "post_key_auth")
        return request, session, metadata

    @CustomKeyCheck
    def KeyCheck(request, session, metadata, spec):
        session.rate = 100
        session.per = 1
        metadata["token"] = "t"
        return request, session, metadata

    @Response
    def ResponseHook(request, response, session, metadata, spec):
        response.status_code = 201
        return response

    counter = 0

    @Hook
    def Count(request, session, spec):
        global counter
        counter += 1
        request.add_header("Count", str(counter))
        return request, session

    @Hook
    def CallsOther(request, session, spec):
        return Three(request, session, spec)

    @Hook
    def Twice(request, session, spec):
        request.add_header("Twice", "first")
        return request, session

    def Twice_(request, session, spec):
        request.add_header("Twice", "second")
        return request, session
    Twice_.__name__ = "Twice"
    Last = Hook(Twice_)
"""


def an_object(**more: Any) -> Any:
    made = Object(hook_type=1, **more)
    made.request.headers["Content-Type"] = "text/x"
    made.request.headers["Host"] = "h"
    made.request.url = "/a?b=c"
    made.request.method = "PUT"
    made.request.raw_body = b"\x00body"
    made.request.body = "text"
    made.request.return_overrides.response_code = -1
    made.spec["APIID"] = "api"
    return made


@on_loop
async def test_what_hooks_keep(tmp_path: Path) -> None:
    """Each form of hook, each decorator, and what comes back."""
    async with hosted(write_bundle(tmp_path / "b", HOOKS)) as host:
        got = await host.call("Three", an_object())
        assert dict(got.request.set_headers) == {"X-Three": "api"}
        assert got.session.alias == "changed"
        assert (got.request.url, got.request.method, got.request.raw_body) == ("/a?b=c", "PUT", b"\x00body")
        assert got.request.return_overrides.response_code == -1
        assert (got.hook_type, got.hook_name) == (1, "Three")

        got = await host.call("Four", an_object())
        assert dict(got.session.metadata) == {"seen": "yes"}
        got = await host.call("FourUntouched", an_object())
        assert got.HasField("session"), "a hook with metadata always has a session in its reply"
        got = await host.call("FourDict", an_object())
        assert dict(got.session.metadata) == {"token": "abc"}
        got = await host.call("FourOther", an_object())
        assert dict(got.session.metadata) == {"token": "other"}

        given = an_object()
        given.response.status_code = 200
        given.response.raw_body = b"old"
        got = await host.call("Five", given)
        assert (got.response.raw_body, got.response.status_code, got.request.url) == (b"newbody", 200, "/five")
        assert dict(got.response.headers) == {"X-Five": "5"}

        got = await host.call("Replaced", an_object())
        assert got.session.alias == "in place"
        got = await host.call("Edits", an_object())
        assert dict(got.request.set_headers) == {"A": "1", "Got": "text/xNone"}
        assert list(got.request.delete_headers) == ["B"]
        assert dict(got.request.add_params) == {"c": "2"}
        assert list(got.request.delete_params) == ["d"]


@on_loop
async def test_metadata_are_kept_when_the_session_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In protobuf's pure Python, CopyFrom() puts another map in the place of the one that the hook was given."""
    code = """
        from tyk.session import TykSession

        @Hook
        def H(request, session, metadata, spec):
            session.CopyFrom(TykSession(rate=5))
            metadata["token"] = "t"
            return request, session, metadata
    """
    bundle = write_bundle(tmp_path / "b", code)
    for implementation in ("python", "upb"):
        monkeypatch.setenv("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", implementation)
        async with hosted(bundle) as host:
            session = (await host.call("H")).session
            assert (session.rate, dict(session.metadata)) == (5.0, {"token": "t"})


@on_loop
async def test_typed_decorators_work(tmp_path: Path) -> None:
    """Those that Tyk registers but cannot call, and Response."""
    async with hosted(write_bundle(tmp_path / "b", HOOKS)) as host:
        for name, by in (("PreHook", "pre"), ("PostHook", "post"), ("PostKeyAuthHook", "post_key_auth")):
            assert dict((await host.call(name, an_object())).request.set_headers) == {"By": by}
        got = await host.call("KeyCheck", an_object())
        assert (got.session.rate, got.session.per, dict(got.session.metadata)) == (100, 1, {"token": "t"})
        assert (await host.call("ResponseHook", an_object())).response.status_code == 201
        assert dict((await host.call("CallsOther", an_object())).request.set_headers) == {"X-Three": "api"}
        assert dict((await host.call("Twice", an_object())).request.set_headers) == {"Twice": "second"}


@on_loop
async def test_wrong_returns_fail_the_call_and_say_why(tmp_path: Path) -> None:
    """A hook that forgets its return does not pass for one that has agreed."""
    async with hosted(write_bundle(tmp_path / "b", HOOKS)) as host:
        for name, returned in (("Nothing", "NoneType"), ("TooMuch", "3 values")):
            reply = await host.failed(name, an_object())
            assert reply.outcome == "error"
            assert reply.detail.endswith(f"WrongReturn: {name} returned {returned}; expected (request, session)")
        reply = await host.failed("Missing", an_object())
        assert "Hook 'Missing' is not defined in" in reply.detail
        assert "CallsOther, Count, Edits" in reply.detail


@on_loop
async def test_a_parameter_with_a_default_counts(tmp_path: Path) -> None:
    """As in Tyk: a function with four parameters gets metadata and spec, whatever it calls them."""
    async with hosted(write_bundle(tmp_path / "b", HOOKS)) as host:
        given = an_object()
        given.session.metadata["k"] = "v"
        assert dict((await host.call("WithDefault", given)).session.metadata) == {"k": "v", "APIID": "api"}


@on_loop
async def test_module_globals_persist(tmp_path: Path) -> None:
    """Plugins count and cache in them."""
    async with hosted(write_bundle(tmp_path / "b", HOOKS)) as host:
        counts = [(await host.call("Count", an_object())).request.set_headers["Count"] for _ in range(5)]
        assert counts == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("@Hook\ndef Two(request, session):\n    pass", "@Hook Two: has 2 positional parameters; expected (request"),
        ("@Pre\ndef Six(a, b, c, d, e, f):\n    pass", "@Pre Six: has 6 positional parameters; expected (request"),
        ("@Hook\ndef Any(*args):\n    pass", "@Hook Any: has 0 positional parameters"),
        ("@Event\ndef Told(event):\n    pass", "@Event Told: has 1 positional parameters; expected (event, spec)"),
        ("@Hook\nasync def Later(request, session):\n    pass", "@Hook Later: is an async function; expected a plain one"),
    ],
)
def test_a_function_that_could_not_be_called_fails_at_load(tmp_path: Path, code: str, expected: str) -> None:
    """Tyk would let the request pass without calling it."""

    @on_loop
    async def check() -> None:
        bundle = write_bundle(tmp_path / "b", files={"middleware.py": f"from tyk.decorators import *\n{code}\n"})
        async with hosted(bundle) as host:
            detail = await host.down()
            assert f"{bundle}/middleware.py: {expected}" in detail
            assert (await host.failed("Two")).outcome == "away"

    check()


SEMANTICS = """
    def raises(kind, function):
        try:
            function()
        except kind:
            return
        raise AssertionError("nothing raised")

    @Hook
    def Check(request, session, spec):
        message = request.object
        assert list(vars(request)) == ["object"]
        assert message.headers["Missing"] == "" and "Missing" in message.headers
        assert message.params.get("x", None) is None
        assert sorted(dict(message.params)) == ["p"] and list(message.params.keys()) == ["p"]
        session.rate = 5
        assert session.rate == 5.0
        raises(TypeError, lambda: setattr(session, "expires", 1.5))
        raises(TypeError, lambda: setattr(message, "raw_body", "text"))
        raises(TypeError, lambda: setattr(message, "url", 1))
        raises((AttributeError, TypeError), lambda: setattr(message, "headers", {}))
        raises((AttributeError, TypeError), lambda: setattr(session, "tags", []))
        raises(AttributeError, lambda: setattr(session, "unknown", 1))
        raises((ValueError, TypeError), lambda: session.access_rights.__setitem__("a", None))
        session.access_rights["id"].api_id = "id"
        session.access_rights["id"].versions.append("Default")
        session.tags.extend(["a", "b"])
        assert not message.HasField("return_overrides")
        message.return_overrides.response_code = 401
        message.return_overrides.response_error = "no"
        message.return_overrides.headers["X"] = "y"
        assert message.HasField("return_overrides")
        return request, session

    @Hook
    def Copied(request, session, metadata, spec):
        from coprocess_session_state_pb2 import SessionState
        import coprocess_object_pb2, coprocess_common_pb2, coprocess_mini_request_object_pb2
        import coprocess_return_overrides_pb2, coprocess_response_object_pb2
        from tyk.session import TykSession, AccessSpec, AccessDefinition, BasicAuthData, JWTData, Monitor
        import session as bare, tyk.session, decorators, tyk.decorators, request as bare_request, object, event
        from tyk.gateway import TykGateway
        from tyk.request import TykCoProcessRequest
        from tyk.object import TykCoProcessObject
        from tyk.event import TykEvent
        assert bare is tyk.session and decorators is tyk.decorators and TykGateway is globals()["tyk"]
        assert TykSession is SessionState and type(session) is SessionState
        assert type(request) is TykCoProcessRequest is bare_request.TykCoProcessRequest
        assert coprocess_common_pb2.Response == 5 and coprocess_common_pb2.HookType.Name(1) == "Pre"
        assert coprocess_object_pb2.Object.__module__ == "coprocess_object_pb2"
        other = SessionState()
        other.access_rights["api"].CopyFrom(AccessDefinition(api_id="api", allowed_urls=[AccessSpec(url="/", methods=["GET"])]))
        other.basic_auth_data.MergeFrom(BasicAuthData(password="p"))
        other.monitor.trigger_limits.extend([80, 90.5])
        session.CopyFrom(other)
        session.metadata["token"] = "t"
        call = TykCoProcessObject(coprocess_object_pb2.Object(hook_type=3, hook_name="n").SerializeToString())
        assert (call.hook_type, call.hook_name, call.dump()) == ("postkeyauth", "n", call.object.SerializeToString())
        return request, session, metadata
"""


@on_loop
async def test_messages_behave_as_protobuf_messages(tmp_path: Path) -> None:
    """What plugins rely on (tyk-plugins 5.4): inserts by access, types, CopyFrom, module names."""
    async with hosted(write_bundle(tmp_path / "b", SEMANTICS)) as host:
        given = Object(hook_type=1)
        given.request.params["p"] = "v"
        got = await host.call("Check", given)
        assert got.session.access_rights["id"].versions == ["Default"]
        assert list(got.session.tags) == ["a", "b"]
        overrides = got.request.return_overrides
        assert (overrides.response_code, overrides.response_error, dict(overrides.headers)) == (401, "no", {"X": "y"})
        got = await host.call("Copied")
        assert got.session.access_rights["api"].allowed_urls[0].methods == ["GET"]
        assert list(got.session.monitor.trigger_limits) == [80.0, 90.5]
        assert got.session.metadata["token"] == "t"
