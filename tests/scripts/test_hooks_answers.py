"""Virtual endpoints, response hooks, and answers that go through the response chain."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from accel.http1 import HeaderEdit, KeyEntry
from core.apidef.endpoints import EndpointSpec
from core.sessions.model import from_value
from tests.scripts.hook_support import CONFIG, HookSite, Json, Result, Script, overriding, spec, unchanged
from tests.support.datapath import DataPath, does
from tests.support.keys import session
from tests.support.upstream import Upstream, head, reply
from tests.support.wire import Response

FAILED = {"error": "Error during virtual endpoint execution. Contact Administrator for more details."}
BROKEN = {"error": "Middleware error"}
INJECT = HeaderEdit((), ((b"X-Resp", b"1"),), True)


@pytest.fixture(scope="module")
def path(upstream: Upstream) -> Iterator[DataPath]:
    with DataPath(upstream) as found:
        yield found


@pytest.fixture
def site(path: DataPath, caplog: pytest.LogCaptureFixture) -> HookSite:
    caplog.set_level(logging.ERROR)
    return HookSite(path)


def limits(answer: Response) -> list[str | None]:
    return [answer.get(f"X-Ratelimit-{name}") for name in ("Limit", "Remaining", "Reset")]


def responding(meta: Any = None, **response: Any) -> Script:
    """The script of a virtual endpoint that returns this."""
    return lambda payload: {"Response": response, "SessionMeta": meta}


# -- post hooks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["post", "post_key_auth"])
def test_an_answer_behind_authentication_goes_through_the_response_chain(site: HookSite, upstream: Upstream, kind: str) -> None:
    said = {"X-Own": "1", "Set-Cookie": ["a=1", "b=2"]}
    site.serve(overriding(ResponseCode=200, ResponseBody="post says", ResponseHeaders=said), kind, response=[INJECT])
    answer = site.path.fetch("/api/post")
    assert (answer.status, answer.body, answer.get("X-Own"), answer.get("X-Resp")) == (200, b"post says", "1", "1")
    assert (answer.all("Set-Cookie"), answer.get("Content-Type")) == (["a=1", "b=2"], "text/plain; charset=utf-8")
    assert limits(answer) == ["0", "0", "0"]
    assert not upstream.seen("/post")


def test_an_answer_before_authentication_does_not(site: HookSite) -> None:
    site.serve(overriding(ResponseCode=200, ResponseBody="pre says"), "pre", response=[INJECT])
    assert site.path.fetch("/api/x").get("X-Resp") is None


@pytest.mark.parametrize(("wants", "said"), [(True, ["-1", "5", "7"]), (False, ["0", "0", "0"])])
def test_rate_limit_headers_speak_of_the_session_that_the_hook_asked_for(site: HookSite, wants: bool, said: list[str]) -> None:
    entry = KeyEntry(b"", b"", from_value(session("api")), 0)

    def keyed(x: Any) -> None:
        x.key = entry
        x.limit_max, x.limit_left, x.limit_reset = -1, 5, 7

    site.pool.script = overriding(ResponseCode=200, ResponseBody="x")
    site.path.plan(does(keyed), site.hook("post", session=wants))
    assert limits(site.path.fetch("/api/x")) == said


# -- virtual endpoints ------------------------------------------------------------------------------------------


def test_a_virtual_endpoint_is_given_its_fields(site: HookSite) -> None:
    site.virtual(responding(Code=200))
    form = "Content-Type: application/x-www-form-urlencoded; charset=utf-8"
    site.path.fetch("/api/v/7?a=query&b=2", form, "X-Multi: 1", "X-Multi: 2", method="POST", body=b"a=form&c=%C3%A9&d")
    given = site.pool.calls[0]
    request = given["request"]
    assert list(request) == ["Headers", "Body", "URL", "Params", "Scheme"]
    assert "Host" not in request["Headers"]
    assert request["Headers"]["X-Multi"] == ["1", "2"]
    assert (request["Body"], request["URL"], request["Scheme"]) == ("a=form&c=%C3%A9&d", "/api/v/7?a=query&b=2", "http")
    assert request["Params"] == {"a": ["form", "query"], "b": ["2"], "c": ["\u00e9"], "d": [""]}
    assert (given["session"]["rate"], given["session"]["meta_data"], given["config"]) == (0, None, CONFIG)
    assert (given["extra"]["Hook"], given["extra"]["Path"], given["extra"]["PathParams"]) == ("virtual", "/v/{id}", {"id": "7"})


@pytest.mark.parametrize(("method", "kind"), [("GET", "application/x-www-form-urlencoded"), ("POST", "multipart/form-data")])
def test_only_forms_are_parameters(site: HookSite, method: str, kind: str) -> None:
    site.virtual(responding(Code=200))
    site.path.fetch("/api/v/7?a=1", f"Content-Type: {kind}", method=method, body=b"a=form")
    assert site.pool.calls[0]["request"]["Params"] == {"a": ["1"]}


def test_a_body_that_is_not_utf8_is_given_with_escapes(site: HookSite) -> None:
    site.virtual(lambda payload: {"Response": {"Body": payload["request"]["Body"] + "!"}})
    assert site.path.fetch("/api/v/7", method="POST", body=b"\x00\xff\xc3\xa9").body == b"\x00\xff\xc3\xa9!"


def test_a_virtual_response_goes_through_the_response_chain(site: HookSite, upstream: Upstream) -> None:
    said = {"X-A": "1", "Set-Cookie": ["a=1", "b=2"], "Date": "yesterday", "Server": "mine", "Content-Length": "1"}
    site.virtual(responding(Code=202, Body="virtual \u20ac", Headers=said), response=[INJECT])
    answer = site.path.fetch("/api/v/7")
    assert (answer.status, answer.body.decode(), answer.get("X-Resp"), answer.get("X-A")) == (202, "virtual \u20ac", "1", "1")
    assert (answer.all("Set-Cookie"), answer.get("Server")) == (["a=1", "b=2"], "tyk")
    assert answer.get("Date") != "yesterday"
    assert limits(answer) == ["0", "0", "0"]
    assert not upstream.seen("/v/7")


def test_a_virtual_response_without_a_code_is_200(site: HookSite) -> None:
    site.virtual(responding(Body="x"))
    answer = site.path.fetch("/api/v/7")
    assert (answer.status, answer.body, answer.get("Content-Type")) == (200, b"x", "text/plain; charset=utf-8")


def test_a_virtual_response_to_head_has_no_body(site: HookSite) -> None:
    site.virtual(responding(Body="body"))
    with site.path.connect() as client:
        client.send(b"HEAD /api/v/7 HTTP/1.1\r\nHost: g\r\n\r\nGET /api/v/7 HTTP/1.1\r\nHost: g\r\n\r\n")
        first, second = client.read("HEAD"), client.read()
    assert (first.body, first.get("Content-Type"), second.body) == (b"", "text/plain; charset=utf-8", b"body")


def test_other_paths_go_upstream(site: HookSite) -> None:
    site.virtual(responding(Body="x"))
    assert json.loads(site.path.fetch("/api/other").body)["target"] == "/other"
    assert not site.pool.calls


FAILURES = [
    Result(kind="error", error="v.js:3: boom"),
    Result(kind="timeout", error="timed out after 1 s"),
    Result(kind="long", error="returned too much"),
    b"undefined",
    b'{"Response": {"Body": {"a": 1}}}',
    b'{"Response": {"Headers": {"X-N": 5}}}',
    b'{"Response": {"Code": "200"}}',
    b'{"Response": {"Code": 7}}',
    b'{"Response": {"Headers": {"X-N": "\\u0000"}}}',
]


@pytest.mark.parametrize("result", FAILURES)
def test_a_virtual_endpoint_that_fails(
    site: HookSite, upstream: Upstream, result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site.virtual(lambda payload: result)
    answer = site.path.fetch("/api/v/failed")
    assert (answer.status, json.loads(answer.body)) == (500, FAILED)
    assert not upstream.seen("/v/failed")
    assert "API api: virtual endpoint v of /v/{id}: " in caplog.text


@pytest.mark.parametrize("result", [*FAILURES, Result(kind="busy", error="500 calls wait")])
def test_with_proxy_on_error_the_upstream_answers_instead(
    site: HookSite, result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site.virtual(lambda payload: result, proxy_on_error=True)
    answer = site.path.fetch("/api/v/7?a=1", method="POST", body=b"kept")
    assert answer.status == 200
    assert (json.loads(answer.body)["target"], json.loads(answer.body)["body"]) == ("/v/7?a=1", "kept")
    assert "API api: virtual endpoint v of /v/{id}: " in caplog.text


def test_a_virtual_endpoint_of_a_full_pool_is_busy(site: HookSite) -> None:
    site.virtual(lambda payload: Result(kind="busy", error="500 calls wait"))
    answer = site.path.fetch("/api/v/7")
    assert (answer.status, json.loads(answer.body)) == (503, {"error": "Service temporarily unavailable."})


@pytest.mark.parametrize(("proxy", "status"), [(True, 200), (False, 500)])
def test_a_virtual_endpoint_that_cannot_run_fails_without_being_called(site: HookSite, proxy: bool, status: int) -> None:
    site.virtual(responding(Body="x"), problem="blobs are not allowed", proxy_on_error=proxy)
    assert site.path.fetch("/api/v/7").status == status
    assert not site.pool.calls


def test_a_virtual_redirect_to_tyk_leads_on(site: HookSite) -> None:
    site.virtual(responding(Code=302, Headers={"Location": "tyk://self/api/landed?b=2&method=PUT"}))
    answer = json.loads(site.path.fetch("/api/v/7?a=1").body)
    assert (answer["method"], answer["target"]) == ("PUT", "/landed?b=2")


def test_a_virtual_redirect_elsewhere_is_a_redirect(site: HookSite) -> None:
    site.virtual(responding(Code=302, Headers={"Location": "http://elsewhere.example/"}))
    answer = site.path.fetch("/api/v/7")
    assert (answer.status, answer.get("Location"), answer.get("Content-Type")) == (302, "http://elsewhere.example/", None)


def test_a_virtual_endpoint_sees_the_session_it_asked_for(site: HookSite) -> None:
    entry = KeyEntry(b"", b"", from_value(session("api", alias="Al", meta_data={"n": 1})), 0)
    keyed = does(lambda x: setattr(x, "key", entry))
    site.virtual(responding({"n": 1}), keyed, use_session=True)
    site.path.fetch("/api/v/7")
    assert (site.pool.calls[0]["session"]["alias"], entry.session["meta_data"]) == ("Al", {"n": 1})
    site.virtual(responding({"n": 2, "deep": {"x": [1]}}), keyed, use_session=True)
    site.path.fetch("/api/v/7")
    assert entry.session["meta_data"] == {"n": 2, "deep": {"x": [1]}}
    site.virtual(responding({"other": 1}), keyed)
    site.path.fetch("/api/v/7")
    assert site.pool.calls[0]["session"]["alias"] == ""
    assert entry.session["meta_data"] == {"n": 2, "deep": {"x": [1]}}


def test_a_virtual_endpoint_without_a_key_sees_null(site: HookSite) -> None:
    site.virtual(responding({"a": 1}), use_session=True)
    assert site.path.fetch("/api/v/7").status == 200
    assert site.pool.calls[0]["session"] is None


# -- response hooks ---------------------------------------------------------------------------------------------


def changing(**fields: Any) -> Script:
    """A response hook that sets fields of its response."""

    def script(payload: Json) -> Json:
        payload["response"].update(fields)
        return {"Response": payload["response"], "SessionMeta": (payload["session"] or {}).get("meta_data")}

    return script


def serve_response(site: HookSite, *scripts: Script) -> None:
    """Run these as response hooks, one after the other."""
    waiting = iter(scripts)

    def script(payload: Json) -> Any:
        return next(waiting)(payload)

    site.pool.script = script
    site.path.plan(response=[INJECT, *(site.response() for _ in scripts)])


def test_a_response_hook_is_given_request_and_response(site: HookSite, upstream: Upstream) -> None:
    upstream.on("/given", reply(head("201 Made", "Content-Length: 5", "X-Up: 1", "X-Up: 2"), b"h\xc3\xa9\xff!"))
    serve_response(site, changing())
    answer = site.path.fetch("/api/given?q=1", method="POST", body=b"sent")
    given = site.pool.calls[0]
    assert set(given) == {"response", "request", "session", "config", "extra"}
    response, request = given["response"], given["request"]
    assert list(response) == ["StatusCode", "Body", "Headers", "SetHeaders", "DeleteHeaders"]
    assert (response["StatusCode"], response["Body"], response["SetHeaders"], response["DeleteHeaders"]) == (
        201, "h\u00e9\udcff!", {}, [],
    )  # fmt: skip
    assert (response["Headers"]["X-Up"], response["Headers"]["X-Resp"]) == (["1", "2"], ["1"])
    assert (request["Body"], request["URL"], request["Method"]) == (None, "/api/given?q=1", "POST")
    assert (given["session"]["meta_data"], given["config"], given["extra"]["Hook"]) == (None, CONFIG, "response")
    assert (answer.status, answer.body) == (201, b"h\xc3\xa9\xff!")


def test_a_response_hook_sees_the_session(site: HookSite) -> None:
    entry = KeyEntry(b"", b"", from_value(session("api", alias="Al")), 0)
    site.pool.script = changing()
    site.path.plan(does(lambda x: setattr(x, "key", entry)), response=[site.response()])
    assert site.path.fetch("/api/x").status == 200
    assert site.pool.calls[0]["session"]["alias"] == "Al"


def test_headers_body_and_status_of_a_response_are_changed(site: HookSite, upstream: Upstream) -> None:
    lines = ("Content-Length: 4", "X-Gone: 1", "X-Over: 1", "X-Over: 2", "X-Stay: 1")
    upstream.on("/changed", reply(head("200 OK", *lines), b"body"))
    put = {"X-Over": "new", "Set-Cookie": ["a=1", "b=2"], "x-new": "n\r\nX-Evil: 1", "Content-Length": "1"}
    serve_response(site, changing(StatusCode=203, Body="longer \u20ac", DeleteHeaders=["x-gone"], SetHeaders=put))
    answer = site.path.fetch("/api/changed")
    assert (answer.status, answer.body.decode(), answer.get("Content-Length")) == (203, "longer \u20ac", "10")
    assert (answer.get("X-Gone"), answer.all("X-Over"), answer.get("X-Stay")) == (None, ["new"], "1")
    assert (answer.all("Set-Cookie"), answer.get("X-New"), answer.get("X-Evil")) == (["a=1", "b=2"], "n  X-Evil: 1", None)


def test_response_hooks_see_each_others_work(site: HookSite) -> None:
    first = changing(Body="one", SetHeaders={"X-Step": "first"})

    def second(payload: Json) -> Json:
        seen = payload["response"]
        seen["Body"] = f"{seen['Body']} two {seen['Headers']['X-Step'][0]}"
        return {"Response": seen}

    serve_response(site, first, second)
    assert site.path.fetch("/api/x").body == b"one two first"


def test_repeated_headers_of_a_response_stay(site: HookSite, upstream: Upstream) -> None:
    upstream.on("/cookies", reply(head("200 OK", "Content-Length: 1", "Set-Cookie: a=1", "Set-Cookie: b=2"), b"x"))
    serve_response(site, changing(Body="changed"))
    assert site.path.fetch("/api/cookies").all("Set-Cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("returned", [b'{"$same":true,"Response":{}}', None])
def test_a_body_that_is_left_alone_keeps_every_byte(site: HookSite, upstream: Upstream, returned: bytes | None) -> None:
    body = bytes(range(256)) * 20
    upstream.on("/binary", reply(head("200 OK", f"Content-Length: {len(body)}", "Content-Type: a/b"), body))
    serve_response(site, changing() if returned is None else lambda payload: returned)
    answer = site.path.fetch("/api/binary")
    assert (answer.body, answer.get("Content-Type")) == (body, "a/b")


def test_a_body_that_is_left_out_is_emptied(site: HookSite) -> None:
    serve_response(site, lambda payload: {"Response": {}})
    answer = site.path.fetch("/api/x")
    assert (answer.status, answer.body, answer.get("Content-Length")) == (200, b"", "0")


@pytest.mark.parametrize(
    "result",
    [
        Result(kind="error", error="mw.js:3: boom"),
        Result(kind="timeout", error="timed out"),
        b"undefined",
        b'{"Response": {"Body": 5}}',
        b'{"Response": {"StatusCode": 99}}',
        b'{"Response": {"Body": "", "SetHeaders": {"A": "\\u0000"}}}',
        b'{"Response": {"Body": ""}, "SessionMeta": 5}',
    ],
)
def test_a_response_hook_that_fails_discards_the_response(
    site: HookSite, result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    serve_response(site, lambda payload: result)
    answer = site.path.fetch("/api/x")
    assert (answer.status, json.loads(answer.body)) == (500, BROKEN)
    assert "API api: response hook mw: " in caplog.text


def test_a_response_hook_of_a_full_pool_is_busy(site: HookSite) -> None:
    serve_response(site, lambda payload: Result(kind="busy", error="500 calls wait"))
    assert site.path.fetch("/api/x").status == 503


def test_a_response_hook_that_cannot_run_refuses(site: HookSite) -> None:
    site.path.plan(response=[site.response("its name is empty")])
    answer = site.path.fetch("/api/x")
    assert (answer.status, json.loads(answer.body)) == (500, BROKEN)
    assert not site.pool.calls


def test_an_answer_of_a_post_hook_meets_the_response_hooks(site: HookSite) -> None:
    def script(payload: Json) -> Any:
        if "response" in payload:
            return changing(Body=payload["response"]["Body"] + " and more")(payload)
        return overriding(ResponseCode=200, ResponseBody="post")(payload)

    site.pool.script = script
    site.path.plan(site.hook("post"), response=[site.response()])
    answer = site.path.fetch("/api/x")
    assert (answer.status, answer.body) == (200, b"post and more")


@pytest.mark.parametrize(("was", "status"), [("204 No Content", 0), ("304 Not Modified", 0), ("200 OK", 204), ("200 OK", 304)])
def test_a_response_without_a_body_gets_none(site: HookSite, upstream: Upstream, was: str, status: int) -> None:
    lines = ("Content-Length: 3",) if was == "200 OK" else ()
    upstream.on("/none", reply(head(was, *lines), b"abc" if lines else b""))
    serve_response(site, changing(Body="more", StatusCode=status or int(was[:3])))
    with site.path.connect() as client:
        client.send(b"GET /api/none HTTP/1.1\r\nHost: g\r\n\r\n")
        answer = client.read()
        assert (answer.status, answer.body) == (status or int(was[:3]), b"")
        site.path.plan()
        assert client.send(b"GET /api/after HTTP/1.1\r\nHost: g\r\n\r\n").read().status == 200


def test_a_changed_response_to_head_has_no_body(site: HookSite) -> None:
    serve_response(site, changing(Body="more"))
    with site.path.connect() as client:
        client.send(b"HEAD /api/x HTTP/1.1\r\nHost: g\r\n\r\n")
        assert client.read("HEAD").body == b""
        site.path.plan()
        assert client.send(b"GET /api/after HTTP/1.1\r\nHost: g\r\n\r\n").read().status == 200


def test_many_paths_are_looked_at_without_growth(site: HookSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.scripts.places.MOST", 3)
    site.api = site.made(spec(EndpointSpec("ignored", "/{id}", "^/([^/]+)", "")))
    site.serve(unchanged)
    for number in [*range(10), "x" * 600]:
        assert site.path.fetch(f"/api/{number}").status == 200
        assert site.pool.calls[-1]["extra"]["PathParams"] == {"id": str(number)}
    assert 0 < len(site.api.places._known) <= 3
