"""What a plugin is told about a request, in both formats, from real exchanges."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from accel.http1 import Exchange
from coprocess.codec import CodecError, HookFrame, lasting_part, session_from_wire, session_to_wire
from coprocess.driver import Format
from coprocess.proto.coprocess_object_pb2 import Object
from core.sessions import model
from tests.coprocess.codec.exchanges import (
    CUSTOM_KEY_CHECK,
    OVERRIDES,
    POST,
    POST_KEY_AUTH,
    PRE,
    RESPONSE,
    SPEC,
    Json,
    as_dict,
    built,
    frame,
    request_of,
)
from tests.support.datapath import DataPath
from tests.support.upstream import Upstream

FORMATS: tuple[Format, ...] = ("protobuf", "json")


@pytest.fixture(scope="module")
def path(upstream: Upstream) -> Iterator[DataPath]:
    with DataPath(upstream, clean_urls=False) as found:
        yield found


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> Format:
    found: Format = request.param
    return found


def raw(format: Format, body: bytes) -> bytes | str:
    return body if format == "protobuf" else base64.b64encode(body).decode()


def told(
    path: DataPath, hook: HookFrame, target: str = "/api/x", *lines: str, method: str = "GET", body: bytes | None = None
) -> Json:
    message = built(path, lambda x: request_of(x, hook), target, *lines, method=method, body=body)
    found: Json = as_dict(hook.format, message)["request"]
    return found


def test_a_plugin_is_told_everything(path: DataPath, format: Format) -> None:
    hook = frame(format, POST)
    lines = ("x-multi: a", "X-Multi: b", 'Content-Type: text/"plain"\t\\', "X-Uni: caf\u00e9 \u20ac \U0001f600", "X-Empty:")
    target = "/api/a%20b?z=1&a=%7e&z=2&bad=%zz&flag&semi=1;x=2&sp=a+b%2B&=none"
    message = built(path, lambda x: request_of(x, hook), target, *lines, method="POST", body=b"caf\xc3\xa9")
    found = as_dict(format, message)
    request = found.pop("request")
    assert found == {"hook_type": "post", "hook_name": "hook", "metadata": {}, "spec": SPEC}
    assert request == {
        "headers": {
            "Host": "gateway.test", "X-Multi": "a", "Content-Type": 'text/"plain"\t\\',
            "X-Uni": "caf\u00e9 \u20ac \U0001f600", "X-Empty": "", "Content-Length": "5",
        },
        "set_headers": {}, "delete_headers": [], "add_params": {}, "extended_params": {}, "delete_params": [],
        "body": "caf\u00e9", "raw_body": raw(format, b"caf\xc3\xa9"),
        "url": target, "request_uri": target, "method": "POST", "scheme": "http", "return_overrides": OVERRIDES,
        "params": {"z": "1", "a": "~", "flag": "", "sp": "a b+", "": "none"},
    }  # fmt: skip


def test_fields_stand_in_ascending_order(path: DataPath) -> None:
    session = session_to_wire({"meta_data": {"a": "b"}}, "token", "protobuf")

    def make(x: Exchange) -> bytes:
        return frame("protobuf", RESPONSE).response(x, b"/u", b"GET", b"body", session, 200, [(b"A", b"1")], b"answer")

    message = built(path, make, "/api/x?a=1")
    assert message.startswith(b"\x08\x05\x12\x04hook\x1a")
    parts = [b"gateway.test", b"body", b"/u", b"GET", b"/api/x?a=1", b"http", b"token", b"APIID", b"answer", b"A\x12\x011"]
    assert [message.index(part) for part in parts] == sorted(message.index(part) for part in parts)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16383, 16384, 200_000, 2_097_152])
def test_lengths_around_the_sizes_of_a_varint(path: DataPath, format: Format, length: int) -> None:
    body = b"\xc3\xa9" * (length // 2) + b"x" * (length % 2)
    hook = frame(format)
    message = built(path, lambda x: hook.request(x, b"/u", b"PUT", body, None))
    request = as_dict(format, message)["request"]
    assert (request["body"], request["raw_body"]) == (body.decode(), raw(format, body))
    if format == "protobuf":
        again = Object.FromString(message)
        assert len(message) == again.ByteSize()


def test_no_code_is_ten_bytes_of_minus_one(path: DataPath) -> None:
    message = built(path, lambda x: request_of(x, frame("protobuf")))
    assert bytes.fromhex("520b08ffffffffffffffffff01") in message


@pytest.mark.parametrize(
    "body", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"1234567\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80"]
)
def test_a_body_that_is_not_text_is_only_raw(path: DataPath, format: Format, body: bytes) -> None:
    request = told(path, frame(format), method="POST", body=body)
    assert (request["body"], request["raw_body"]) == ("", raw(format, body))


def test_raw_body_only(path: DataPath, format: Format) -> None:
    request = told(path, frame(format, raw_body_only=True), method="POST", body=b"text")
    assert (request["body"], request["raw_body"]) == ("", raw(format, b"text"))


def test_a_body_with_every_control_byte(path: DataPath, format: Format) -> None:
    body = bytes(range(128))
    assert told(path, frame(format), method="POST", body=body)["body"] == body.decode()


@pytest.mark.parametrize("value", ["\u00e9".encode("latin-1"), b"a\xe2\x82", b"\xed\xb0\x80"])
def test_a_header_that_is_not_text_names_itself(path: DataPath, format: Format, value: bytes) -> None:
    def make(x: Exchange) -> bytes:
        x.req.set(b"X-Bad", value)
        return request_of(x, frame(format))

    with pytest.raises(CodecError) as caught:
        built(path, make, "/api/x", "X-Good: 1")
    assert (caught.value.field, str(caught.value)) == ("request.headers.X-Bad", "request.headers.X-Bad: expected UTF-8 text")
    assert told(path, frame(format), "/api/x", "X-Good: 1")["headers"]["X-Good"] == "1"


@pytest.mark.parametrize(("query", "field"), [("a=%ff", "request.params.a"), ("%ff=1", "request.params.\ufffd")])
def test_a_parameter_that_is_not_text_names_itself(path: DataPath, format: Format, query: str, field: str) -> None:
    with pytest.raises(CodecError, match="expected UTF-8 text") as caught:
        built(path, lambda x: request_of(x, frame(format)), f"/api/x?{query}")
    assert caught.value.field == field


def test_url_and_method_are_the_callers(path: DataPath, format: Format) -> None:
    message = built(path, lambda x: frame(format).request(x, b"/else?b=2", b"PATCH", b"", None), "/api/x?a=1")
    request = as_dict(format, message)["request"]
    assert (request["url"], request["method"], request["params"], request["request_uri"]) == (
        "/else?b=2", "PATCH", {"a": "1"}, "/api/x?a=1",
    )  # fmt: skip


@pytest.mark.parametrize("field", ["url", "method"])
def test_a_url_or_method_that_is_not_text_is_refused(path: DataPath, format: Format, field: str) -> None:
    url, method = (b"/\xff", b"GET") if field == "url" else (b"/", b"\xff")
    with pytest.raises(CodecError) as caught:
        built(path, lambda x: frame(format).request(x, url, method, b"", None))
    assert caught.value.field == f"request.{field}"


def test_the_host_is_the_clients_whatever_a_header_says(path: DataPath, format: Format) -> None:
    hook, found = frame(format), []

    def make(x: Exchange) -> bytes:
        found.append(request_of(x, hook))
        return found[-1]

    built(path, make)
    with path.connect() as client:
        client.send(b"GET http://absolute.test:81/api/x HTTP/1.1\r\nHost: other.test\r\n\r\n")
        assert client.read().status == 200
        client.send(b"GET /api/x HTTP/1.0\r\n\r\n")
        assert client.read().status == 200
    hosts = [as_dict(format, message)["request"]["headers"]["Host"] for message in found]
    assert hosts == ["gateway.test", "absolute.test:81", ""]


def test_what_steps_have_done_to_headers_is_seen(path: DataPath, format: Format) -> None:
    def make(x: Exchange) -> bytes:
        x.req.remove(b"X-Gone")
        x.req.add(b"X-New", b"1")
        x.req.add(b"x-NEW", b"2")
        x.req.set(b"X-Set", b"3")
        return request_of(x, frame(format))

    headers = as_dict(format, built(path, make, "/api/x", "X-Gone: 1", "X-Set: 1", "X-Set: 2"))["request"]["headers"]
    assert headers == {"Host": "gateway.test", "X-New": "1", "X-Set": "3"}


def test_many_headers_with_names_alike_are_kept_apart(path: DataPath, format: Format) -> None:
    names = [f"X-{at:03d}-A" for at in range(90)]
    lines = [f"{name}: {at}" for at, name in enumerate(names)] + [f"{name.lower()}: second" for name in names]
    headers = told(path, frame(format), "/api/x", *lines)["headers"]
    assert headers == {"Host": "gateway.test", **{name: str(at) for at, name in enumerate(names)}}


def test_a_session_stands_with_its_metadata(path: DataPath, format: Format) -> None:
    session = session_to_wire({"rate": 5.5, "alias": "me", "meta_data": {"a": "b", "n": 1}}, "tok\u00e9n", format)
    found = as_dict(format, built(path, lambda x: request_of(x, frame(format, POST_KEY_AUTH), session)))
    assert found["hook_type"] == "postkeyauth"
    assert found["metadata"] == found["session"]["metadata"] == {"a": "b", "n": "1"}
    assert (found["session"]["rate"], found["session"]["alias"], found["session"]["key_id"]) == (5.5, "me", "tok\u00e9n")


def test_an_empty_session_is_there_all_the_same(path: DataPath, format: Format) -> None:
    found = as_dict(format, built(path, lambda x: request_of(x, frame(format, POST), session_to_wire({}, "", format))))
    assert found["session"]["rate"] == 0
    assert (found["session"]["monitor"], found["metadata"]) == ({"trigger_limits": []}, {})


@pytest.mark.parametrize("left", [0, 1, -1, 300, 2**63 - 1, -(2**63)])
def test_what_is_left_of_a_quota_is_added_to_what_stays_the_same(path: DataPath, format: Format, left: int) -> None:
    stored = {**model.new(), "quota_max": 5, "alias": "ali", "meta_data": {"a": "b"}, "quota_remaining": 1}
    told = lasting_part(stored, "key", format).with_quota(left)
    assert session_from_wire(format, told.message)["quota_remaining"] == left
    whole = session_to_wire({**stored, "quota_remaining": left}, "key", format)
    assert (told.message, told.metadata) == (whole.message, whole.metadata)
    said = as_dict(format, built(path, lambda x: request_of(x, frame(format, POST), told)))
    assert (said["session"]["quota_remaining"], said["session"]["alias"], said["metadata"]) == (left, "ali", {"a": "b"})


def test_a_session_of_the_other_format_is_refused(path: DataPath) -> None:
    session = session_to_wire({}, "", "json")
    caught: list[str] = []

    def make(x: Exchange) -> bytes:
        with pytest.raises(ValueError, match="a session for json cannot stand in a message for protobuf") as error:
            request_of(x, frame("protobuf"), session)
        caught.append(str(error.value))
        return b""

    built(path, make)
    assert caught


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (PRE, "pre"), (POST, "post"), (POST_KEY_AUTH, "postkeyauth"), (CUSTOM_KEY_CHECK, "customkeycheck"),
        (RESPONSE, "response"),
    ],
)  # fmt: skip
def test_the_hook_is_named(path: DataPath, format: Format, number: int, name: str) -> None:
    found = as_dict(format, built(path, lambda x: request_of(x, frame(format, number))))
    assert found["hook_type"] == name


def test_a_hook_that_cannot_be_named_is_refused(format: Format) -> None:
    for number in (0, 6, -1):
        with pytest.raises(ValueError, match=f"hook type {number}: expected 1 to 5"):
            HookFrame(number, "hook", {}, False, format)
    with pytest.raises(ValueError, match="format 'xml'"):
        HookFrame(1, "hook", {}, False, "xml")  # type: ignore[arg-type]
    texts: list[tuple[str, dict[str, str], str]] = [
        ("\ud800", {}, "hook_name"), ("hook", {"a": "\ud800"}, "spec.a"), ("hook", {"\ud800": "a"}, "spec"),
    ]  # fmt: skip
    for name, spec, field in texts:
        with pytest.raises(CodecError) as caught:
            HookFrame(1, name, spec, False, format)
        assert caught.value.field == field


def test_an_error_leaves_nothing_behind(path: DataPath, format: Format) -> None:
    hook = frame(format)

    def make(x: Exchange) -> bytes:
        before = request_of(x, hook)
        with pytest.raises(CodecError):
            hook.response(x, b"/", b"GET", b"", None, 200, [(b"A", b"1"), (b"B", b"\xff")], b"")
        with pytest.raises(CodecError):
            hook.request(x, b"/\xff", b"GET", b"x" * 500_000, None)
        assert request_of(x, hook) == before
        return before

    assert built(path, make)
