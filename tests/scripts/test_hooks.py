"""Hooks that see requests: what they are given, and what becomes of what they return."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from core.apidef.endpoints import EndpointSpec
from tests.scripts.hook_support import CONFIG, HookSite, Result, edited, overriding, spec, unchanged
from tests.support.datapath import DataPath
from tests.support.upstream import Upstream
from tests.support.wire import Response, get

FAILED = {"error": "Internal Server Error"}


@pytest.fixture(scope="module")
def path(upstream: Upstream) -> Iterator[DataPath]:
    with DataPath(upstream, clean_urls=False) as found:
        yield found


@pytest.fixture
def site(path: DataPath) -> HookSite:
    return HookSite(path)


def seen(answer: Response) -> dict[str, Any]:
    assert answer.status == 200, (answer.status, answer.body)
    found: dict[str, Any] = json.loads(answer.body)
    return found


def header(answer: Response, name: str) -> list[str]:
    return [value for key, value in seen(answer)["headers"] if key.lower() == name.lower()]


def limits(answer: Response) -> list[str | None]:
    return [answer.get(f"X-Ratelimit-{name}") for name in ("Limit", "Remaining", "Reset")]


def test_a_hook_is_given_all_fields(site: HookSite) -> None:
    site.serve(unchanged)
    lines = ("X-Multi: a", "x-multi: b", "Content-Type: text/plain")
    site.path.fetch("/api/a%20b?z=1&a=%7e&z=2&bad=%zz&flag", *lines, method="POST", body=b"caf\xc3\xa9 \xff")
    given = site.pool.calls[0]
    request = given["request"]
    assert list(given) == ["request", "session", "config", "extra"]
    assert sorted(request) == sorted([
        "Headers", "SetHeaders", "DeleteHeaders", "Body", "URL", "Params", "AddParams", "ExtendedParams", "DeleteParams",
        "ReturnOverrides", "IgnoreBody", "Method", "RequestURI", "Scheme",
    ])  # fmt: skip
    headers = request["Headers"]
    assert (headers["X-Multi"], headers["Content-Type"]) == (["a", "b"], ["text/plain"])
    assert headers["Host"] == ["gateway.test"]
    assert list(headers) == sorted(headers)
    assert request["Body"] == "caf\u00e9 \udcff"
    assert request["URL"] == request["RequestURI"] == "/api/a%20b?z=1&a=%7e&z=2&bad=%zz&flag"
    assert request["Params"] == {"a": ["~"], "flag": [""], "z": ["1", "2"]}
    assert request["ReturnOverrides"] == {
        "ResponseCode": 0, "ResponseError": "", "ResponseBody": "", "ResponseHeaders": None, "OverrideError": False,
    }  # fmt: skip
    untouched = [request[name] for name in ("SetHeaders", "DeleteHeaders", "AddParams", "ExtendedParams", "DeleteParams")]
    assert untouched == [{}, [], {}, {}, []]
    assert (request["IgnoreBody"], request["Method"], request["Scheme"]) == (False, "POST", "http")
    assert given["config"] == CONFIG


def test_a_pre_hook_is_given_an_empty_session_with_every_field(site: HookSite) -> None:
    site.serve(unchanged)
    site.path.fetch("/api/x")
    session = site.pool.calls[0]["session"]
    assert [session[name] for name in ("rate", "org_id", "is_inactive")] == [0, "", False]
    assert [session[name] for name in ("meta_data", "access_rights", "apply_policies", "tags")] == [None] * 4
    assert len(session) == 37


def test_a_hook_is_told_more_than_in_tyk(site: HookSite) -> None:
    entries = [
        EndpointSpec("black_list", "/none", "^/none", ""),
        EndpointSpec("track_endpoints", "/user/{id}/{what}", r"^/user/([^/]+)/([^/]+)", "GET"),
    ]
    site.api = site.made(spec(*entries))
    site.serve(unchanged)
    site.path.fetch("/api/user/7%20a/b?c")
    site.path.fetch("/api/user/7/b", method="DELETE")
    told = site.pool.calls[0]["extra"]
    assert told.pop("RequestID")
    assert told == {
        "RemoteAddr": "127.0.0.1", "ClientAddr": "127.0.0.1", "APIID": "api", "APIName": "An API", "Version": "",
        "Path": "/user/{id}/{what}", "PathParams": {"id": "7 a", "what": "b"}, "Hook": "pre",
    }  # fmt: skip
    assert (site.pool.calls[1]["extra"]["Path"], site.pool.calls[1]["extra"]["PathParams"]) == ("", {})


def test_a_path_that_is_not_ascii_never_reaches_a_script(site: HookSite) -> None:
    site.serve(unchanged)
    for raw in (b"/api/\xff\xc3", b"/api/x?a=\xe2\x82"):
        with site.path.connect() as client:
            client.send(b"GET " + raw + b" HTTP/1.1\r\nHost: g\r\n\r\n")
            assert client.read().status == 400
    assert not site.pool.calls


def test_an_untouched_request_goes_upstream_byte_for_byte(site: HookSite) -> None:
    site.serve(unchanged)
    answer = site.path.fetch("/api/a%2Fb//c?z=1&a=%7e&b=x+y&flag&bad=%zz", method="POST", body=b"\x00\xff\xc3\xa9")
    assert seen(answer)["target"] == "/a%2Fb//c?z=1&a=%7e&b=x+y&flag&bad=%zz"
    assert seen(answer)["body"].encode("latin-1") == b"\x00\xff\xc3\xa9"


def test_headers_are_deleted_then_set(site: HookSite) -> None:
    put = {"x-both": " set ", "X-Multi": "one", "X-Uni": "caf\u00e9 \u20ac"}
    site.serve(edited(DeleteHeaders=["x-gone", "X-Both"], SetHeaders=put))
    answer = site.path.fetch("/api/x", "X-Gone: 1", "X-Both: client", "X-Multi: a", "X-Multi: b", "X-Stay: 1")
    assert (header(answer, "X-Gone"), header(answer, "X-Both"), header(answer, "X-Multi")) == ([], ["set"], ["one"])
    assert header(answer, "X-Stay") == ["1"]
    assert header(answer, "X-Uni")[0].encode("latin-1") == "caf\u00e9 \u20ac".encode()
    assert [name for name, _ in seen(answer)["headers"] if name.lower() == "x-both"] == ["X-Both"]


def test_fields_that_frame_the_message_are_the_gateways(site: HookSite) -> None:
    own = {"Content-Length": "1", "Transfer-Encoding": "chunked", "Connection": "X-Keep", "Host": "evil", "Upgrade": "h2c"}
    for fields in ({"SetHeaders": own}, {"DeleteHeaders": list(own)}):
        site.serve(edited(**fields))
        answer = site.path.fetch("/api/x", "X-Keep: 1", method="POST", body=b"whole")
        assert (seen(answer)["body"], header(answer, "X-Keep")) == ("whole", ["1"])
        assert header(answer, "Host") != ["evil"]


@pytest.mark.parametrize("fields", [{"X-A": "1\r\nX-Evil: 1"}, {"X-A\r\nX-Evil": "1"}, {"X-A": "\x00"}, {"": "1"}])
def test_a_header_that_could_end_its_line_refuses_the_request(
    site: HookSite, upstream: Upstream, fields: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    site.serve(edited(SetHeaders=fields))
    answer = site.path.fetch("/api/split")
    assert (answer.status, json.loads(answer.body)) == (500, FAILED)
    assert not upstream.seen("/split")
    assert "API api: pre hook mw: it returned what cannot be used: Request.SetHeaders[" in caplog.text


def test_the_body_is_replaced_with_its_length(site: HookSite) -> None:
    site.serve(edited(Body="changed \u20ac\udcff"))
    for method, body in (("POST", b"original"), ("GET", None)):
        answer = site.path.fetch("/api/x", method=method, body=body)
        assert seen(answer)["body"].encode("latin-1") == "changed \u20ac".encode() + b"\xff"
        assert header(answer, "Content-Length") == ["12"]


def test_a_chunked_body_gets_a_length(site: HookSite) -> None:
    site.serve(unchanged)
    with site.path.connect() as client:
        client.send(b"POST /api/x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        answer = client.read()
    assert (seen(answer)["body"], header(answer, "Content-Length"), header(answer, "Transfer-Encoding")) == ("abc", ["3"], [])


def test_an_ignored_body_stays(site: HookSite) -> None:
    site.serve(edited(Body="changed", IgnoreBody=True))
    assert seen(site.path.fetch("/api/x", method="POST", body=b"\xff"))["body"] == "\xff"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("/api/other?z=1", "/other?z=1"),
        ("/elsewhere/a b", "/elsewhere/a%20b"),
        ("http://another.example/api/y?q", "/y?q"),
        ("//another.example/api/y", "/y"),
        ("relative", "/relative"),
        ("/api/caf\u00e9?q=\u20ac", "/caf%C3%A9?q=%E2%82%AC"),
        ("/api/a/../../b#f", "/b"),
        ("", "/"),
        (None, "/"),
    ],
)
def test_the_url_is_replaced(site: HookSite, url: Any, target: str) -> None:
    site.serve(edited(URL=url))
    assert seen(site.path.fetch("/api/x?client=1"))["target"] == target


@pytest.mark.parametrize("url", ["%%%", "/a%zz", "/a\nb", "a:b", "http://h h/", "http://h:port/", "/x#%"])
def test_a_url_that_is_none_refuses_the_request(
    site: HookSite, upstream: Upstream, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    if url == "a:b":
        url = "1:b"
    site.serve(edited(URL=url))
    answer = site.path.fetch("/api/badurl")
    assert (answer.status, json.loads(answer.body)) == (500, FAILED)
    assert not upstream.seen("/badurl")
    assert "Request.URL" in caplog.text


@pytest.mark.parametrize(
    ("fields", "query", "result"),
    [
        ({"AddParams": {"new": "1", "old": "js"}}, "old=client&keep=1", "keep=1&new=1&old=js"),
        ({"AddParams": {"a b": "c&d=e \u20ac"}}, "", "a+b=c%26d%3De+%E2%82%AC"),
        ({"AddParams": {"both": "added"}, "DeleteParams": ["both"]}, "both=client", "both=added"),
        ({"ExtendedParams": {"many": ["a", "b"]}}, "many=client", "many=client&many=a&many=b"),
        ({"ExtendedParams": {"many": []}}, "z=1&a=1", "z=1&a=1"),
        ({"AddParams": {"m": "1"}}, "z=1&a=%7e&b=x+y&z=0", "a=~&b=x+y&m=1&z=1&z=0"),
        ({"AddParams": {"a": "1"}}, "z=2&a=1", "z=2&a=1"),
        ({"DeleteParams": ["none"]}, "z=2&a=%7e", "z=2&a=%7e"),
        ({"DeleteParams": ["a"]}, "a=1&a=2", ""),
        ({"AddParams": {"c": "1"}}, "a=1;b=2&bad=%zz&d=1", "c=1&d=1"),
    ],
)
def test_parameters_are_deleted_added_extended(site: HookSite, fields: Any, query: str, result: str) -> None:
    site.serve(edited(**fields))
    target = seen(site.path.fetch(f"/api/x?{query}" if query else "/api/x"))["target"]
    assert target == (f"/x?{result}" if result else "/x")


def test_parameters_are_applied_to_the_new_url(site: HookSite) -> None:
    site.serve(edited(URL="/api/other?z=1", AddParams={"a": "2"}))
    assert seen(site.path.fetch("/api/x?client=1"))["target"] == "/other?a=2&z=1"


def test_the_next_hook_sees_what_the_first_has_done(site: HookSite) -> None:
    site.serve(edited(SetHeaders={"X-Step": "1"}, AddParams={"q": "1"}, Body="one"), "pre", "post")
    site.path.fetch("/api/x?q=0")
    second = site.pool.calls[1]["request"]
    assert (second["Headers"]["X-Step"], second["Params"], second["Body"]) == (["1"], {"q": ["1"]}, "one")
    assert (second["URL"], second["RequestURI"], second["SetHeaders"]) == ("/api/x?q=1", "/api/x?q=0", {})


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (Result(kind="error", error="mw.js:3: boom"), "mw.js:3: boom"),
        (Result(kind="timeout", error="timed out after 5 s"), "timed out after 5 s"),
        (Result(kind="memory", error="out of memory"), "out of memory"),
        (b"undefined", "expected JSON, got 'undefined'"),
        (b'"text"', "expected an object, got a text"),
        (b'{"Request": {"SetHeaders": {"X-A": 5}}}', 'Request.SetHeaders["X-A"]: expected a text, got a number'),
    ],
)
@pytest.mark.parametrize("kind", ["pre", "auth_check", "post_key_auth", "post"])
def test_a_script_that_fails_refuses_the_request(
    site: HookSite, upstream: Upstream, kind: str, result: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    site.serve(lambda payload: result, kind)
    answer = site.path.fetch("/api/failed")
    assert (answer.status, json.loads(answer.body)) == (500, FAILED)
    assert not upstream.seen("/failed")
    assert f"API api: {kind} hook mw: " in caplog.text
    assert reason in caplog.text


@pytest.mark.parametrize("kind", ["busy", "closed"])
def test_a_full_pool_is_said_to_be_busy(site: HookSite, upstream: Upstream, kind: str) -> None:
    site.serve(lambda payload: Result(kind=kind, error="500 calls wait"))
    answer = site.path.fetch("/api/busy")
    assert (answer.status, json.loads(answer.body)) == (503, {"error": "Service temporarily unavailable."})
    assert not upstream.seen("/busy")


def test_without_a_runtime_requests_are_refused(
    site: HookSite, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    site.api = site.made(spec(), "enable_jsvm is off")
    site.pool = None
    site.path.plan(site.hook("pre"))
    answer = site.path.fetch("/api/disabled")
    assert (answer.status, json.loads(answer.body)) == (500, {"error": "middleware error"})
    assert not upstream.seen("/disabled")
    assert "enable_jsvm is off" in caplog.text


def test_an_engine_that_does_not_start_refuses(site: HookSite, upstream: Upstream) -> None:
    site.serve(lambda payload: Result(kind="disabled", error="V8 cannot be loaded"))
    answer = site.path.fetch("/api/engine")
    assert (answer.status, json.loads(answer.body)) == (500, {"error": "middleware error"})
    assert not upstream.seen("/engine")


def test_a_hook_that_cannot_run_refuses_without_being_called(site: HookSite, caplog: pytest.LogCaptureFixture) -> None:
    site.path.plan(site.hook("pre", problem="its name is empty"))
    answer = site.path.fetch("/api/x")
    assert (answer.status, json.loads(answer.body)) == (500, FAILED)
    assert not site.pool.calls
    assert "API api: pre hook mw: its name is empty" in caplog.text


def test_a_long_reason_is_cut_in_the_log(site: HookSite, caplog: pytest.LogCaptureFixture) -> None:
    site.serve(lambda payload: Result(kind="error", error="x" * 100_000))
    assert site.path.fetch("/api/x").status == 500
    assert all(len(record.getMessage()) < 3000 for record in caplog.records)
    assert any("xxx ..." in record.getMessage() for record in caplog.records)


def test_a_result_that_is_there_at_once_is_applied_once(site: HookSite, upstream: Upstream) -> None:
    site.pool.at_once = True
    site.serve(edited(SetHeaders={"X-A": "1"}), "pre", "post")
    with site.path.connect() as client:
        client.send(get("/api/once1") + get("/api/once2"))
        answers = [client.read(), client.read()]
    assert [header(answer, "X-A") for answer in answers] == [["1"], ["1"]]
    assert (len(upstream.seen("/once1")), len(site.pool.calls)) == (1, 4)
    site.serve(lambda payload: b"undefined", "pre", "post")
    assert site.path.fetch("/api/once3").status == 500
    assert len(site.pool.calls) == 1


def test_a_client_that_left_is_not_answered(site: HookSite, upstream: Upstream) -> None:
    waiting: list[Any] = []

    class Slow:
        def run(self, hook: str, payload: bytes, done: Any) -> None:
            waiting.append(done)

    site.pool = Slow()
    site.path.plan(site.hook("pre"))
    client = site.path.connect().send(get("/api/left"))
    while not waiting:
        pass
    client.reset()
    assert site.path.fetch("/none").status == 404
    site.path.call(lambda: waiting[0](Result(b'{"Request": {"URL": "/api/left"}}')))
    assert not upstream.seen("/left")


def test_an_error_status_is_an_error_page_with_the_headers(site: HookSite, upstream: Upstream) -> None:
    said = {"WWW-Authenticate": "Custom", "content-type": "text/html", "X-Two": ["1", "2"], "Content-Length": "1"}
    site.serve(overriding(ResponseCode=401, ResponseError='no "way"', ResponseBody="b", ResponseHeaders=said))
    answer = site.path.fetch("/api/denied")
    assert (answer.status, json.loads(answer.body)) == (401, {"error": 'no "way"'})
    assert (answer.all("Content-Type"), answer.all("X-Two"), answer.get("Www-Authenticate")) == (
        ["application/json"], ["1", "2"], "Custom",
    )  # fmt: skip
    assert not upstream.seen("/denied")


def test_an_error_status_may_have_no_text(site: HookSite) -> None:
    site.serve(overriding(ResponseCode=500))
    answer = site.path.fetch("/api/x")
    assert (answer.status, json.loads(answer.body)) == (500, {"error": ""})


@pytest.mark.parametrize("kind", ["pre", "auth_check"])
def test_an_answer_before_authentication(site: HookSite, upstream: Upstream, kind: str) -> None:
    said = {"X-Own": "1", "Date": "x", "Server": "x"}
    site.serve(overriding(ResponseCode=201, ResponseBody="made", ResponseHeaders=said), kind, kind)
    answer = site.path.fetch("/api/answered")
    assert (answer.status, answer.body, answer.get("X-Own")) == (201, b"made", "1")
    assert (answer.get("Content-Type"), answer.get("Server")) == ("text/plain; charset=utf-8", "tyk")
    assert answer.get("Date") != "x"
    assert limits(answer) == ["0", "0", "0"]
    assert not upstream.seen("/answered")
    assert len(site.pool.calls) == 1


@pytest.mark.parametrize(
    ("fields", "kind", "body"),
    [
        ({"ResponseCode": 200, "ResponseBody": "<html>"}, "text/html; charset=utf-8", b"<html>"),
        ({"ResponseCode": 200, "ResponseBody": '{"a":1}'}, "text/plain; charset=utf-8", b'{"a":1}'),
        ({"ResponseCode": 200, "ResponseBody": "\udc89PNG\r\n\x1a\n"}, "image/png", b"\x89PNG\r\n\x1a\n"),
        ({"ResponseCode": 200, "ResponseBody": "x", "ResponseHeaders": {"content-type": "a/b"}}, "a/b", b"x"),
        ({"ResponseCode": 200, "ResponseBody": "x", "ResponseHeaders": {"Content-Encoding": "br"}}, None, b"x"),
        ({"ResponseCode": 204}, None, b""),
        ({"ResponseCode": 302, "ResponseHeaders": {"Location": "http://elsewhere.example/"}}, None, b""),
        ({"ResponseCode": 200, "ResponseError": "as body"}, "text/plain; charset=utf-8", b"as body"),
        ({"ResponseCode": 418, "OverrideError": True, "ResponseBody": "<b>raw</b>"}, "text/html; charset=utf-8", b"<b>raw</b>"),
    ],
)
def test_a_forced_answer_gets_the_type_that_its_body_looks_like(
    site: HookSite, fields: Any, kind: str | None, body: bytes
) -> None:
    site.serve(overriding(**fields))
    answer = site.path.fetch("/api/x")
    assert (answer.status, answer.get("Content-Type"), answer.body) == (fields["ResponseCode"], kind, body)


def test_line_ends_in_headers_of_an_answer_become_spaces(site: HookSite) -> None:
    said = {"X-A": "1\r\nX-Evil: 1", "X\r\nEvil": "2"}
    site.serve(overriding(ResponseCode=200, ResponseBody="x", ResponseHeaders=said))
    answer = site.path.fetch("/api/x")
    assert (answer.get("X-A"), answer.get("X-Evil"), answer.get("Evil")) == ("1  X-Evil: 1", None, None)


@pytest.mark.parametrize("code", [-1, 7, 100, 101, 199, 600, 1000, 2**40])
@pytest.mark.parametrize("raw", [False, True])
def test_a_status_that_is_none_refuses_the_request(
    site: HookSite, code: int, raw: bool, caplog: pytest.LogCaptureFixture
) -> None:
    site.serve(overriding(ResponseCode=code, OverrideError=raw))
    answer = site.path.fetch("/api/x")
    assert (answer.status, json.loads(answer.body)) == (500, FAILED)
    assert f"Request.ReturnOverrides.ResponseCode: {code} is not the status" in caplog.text


def test_an_answer_goes_before_the_rest_of_the_result_is_lost(site: HookSite, upstream: Upstream) -> None:
    site.serve(overriding(ResponseCode=0, ResponseBody="x", ResponseHeaders={"X-A": "1"}))
    answer = site.path.fetch("/api/x")
    assert seen(answer)["target"] == "/x"
    assert answer.get("X-A") is None


def test_a_tyk_url_leads_on_when_all_steps_have_run(site: HookSite) -> None:
    def script(payload: dict[str, Any]) -> Any:
        if payload["request"]["URL"] == "/api/start?a=1":
            payload["request"]["URL"] = "tyk://self/api/landed?b=2&method=POST"
        return unchanged(payload)

    site.serve(script, "pre", "post")
    answer = site.path.fetch("/api/start?a=1")
    assert (seen(answer)["method"], seen(answer)["target"]) == ("POST", "/landed?b=2")
    assert [call["request"]["URL"] for call in site.pool.calls] == [
        "/api/start?a=1", "/api/start?a=1", "/api/landed?b=2", "/api/landed?b=2",
    ]  # fmt: skip


def test_a_redirect_to_tyk_leads_on_at_once(site: HookSite) -> None:
    def script(payload: dict[str, Any]) -> Any:
        if payload["request"]["URL"] != "/api/landed?b=2":
            said = {"ResponseCode": 302, "ResponseHeaders": {"location": "tyk://self/api/landed?b=2"}}
            payload["request"]["ReturnOverrides"].update(said)
        return unchanged(payload)

    site.serve(script, "pre", "post")
    assert seen(site.path.fetch("/api/start?a=1"))["target"] == "/landed?b=2"
    assert len(site.pool.calls) == 3


def test_a_loop_without_an_end_is_ended(site: HookSite, upstream: Upstream) -> None:
    site.serve(edited(URL="tyk://self/api/endless"))
    answer = site.path.fetch("/api/endless")
    assert (answer.status, json.loads(answer.body)["error"][:19]) == (500, "Loop level too deep")
    assert not upstream.seen("/endless")


@pytest.mark.parametrize("script", [
    edited(URL="tyk://nobody/x"), overriding(ResponseCode=301, ResponseHeaders={"Location": "tyk://nobody/x"}),
])  # fmt: skip
def test_a_loop_to_nowhere_is_refused(
    site: HookSite, upstream: Upstream, script: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site.serve(script)
    answer = site.path.fetch("/api/nowhere")
    assert (answer.status, json.loads(answer.body)) == (500, {"error": "Couldn't detect target"})
    assert not upstream.seen("/nowhere")
    assert "tyk://nobody" in caplog.text


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="preforge.scripts")
