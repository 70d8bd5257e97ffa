"""A played request is answered as it would be, reaches nothing of the gateway itself, and leaves nothing behind."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway, Json, api, wait_for
from tests.support.keys import keyed, session
from tests.support.site import SECRET, Site, manage
from tests.support.upstream import head, reply, silent
from tests.support.wire import Response, get

MALFORMED = "Request malformed"


@pytest.fixture(scope="module")
def gateway(shared_site: Site) -> Gateway:
    """One worker, so that all that is played is played there."""
    url = shared_site.upstream.url
    return shared_site.gateway(keyed("a", url), api("open", "/open/", url), proxy_default_timeout=1)


def play(gateway: Gateway, spec: Any, **request: Any) -> Response:
    return manage(gateway, "POST", "/tyk/debug", {"spec": spec, "request": request})


def played(gateway: Gateway, spec: Any, **request: Any) -> Json:
    answer = play(gateway, spec, **request)
    assert answer.status == 200, (answer.status, answer.body)
    found: Json = json.loads(answer.body)
    assert found["message"] == "ok"
    return found


def status(found: Json) -> int:
    return int(found["response"].split(" ", 2)[1])


def body(found: Json) -> str:
    return str(found["response"].partition("\r\n\r\n")[2])


def refused(answer: Response) -> tuple[int, str]:
    text = json.loads(answer.body)
    assert text["status"] == "error"
    return answer.status, text["message"]


@pytest.fixture
def spec(shared_site: Site) -> Json:
    return api("played", "/played/", shared_site.upstream.url)


# -- what is answered --------------------------------------------------------------------------


def test_the_response_is_that_of_the_definition(gateway: Gateway, spec: Json) -> None:
    given = {"X-Two": ["a", "b"], "Host": ["api.example"], "Content-Length": ["999"], "Transfer-Encoding": ["chunked"]}
    found = played(gateway, spec, method="POST", path="/played/x?q=1", body="grüße", headers=given)
    assert status(found) == 200
    seen = json.loads(body(found))
    assert (seen["method"], seen["target"], seen["body"].encode("latin-1").decode()) == ("POST", "/x?q=1", "grüße")
    headers = [(name.lower(), value) for name, value in seen["headers"]]
    assert [value for name, value in headers if name == "x-two"] == ["a", "b"]
    assert ("content-length", "7") in headers
    assert "transfer-encoding" not in dict(headers)
    assert "x-tyk-authorization" not in dict(headers), "the secret of the administrator is not for upstreams"


def test_a_definition_that_is_played_is_not_served(gateway: Gateway, spec: Json) -> None:
    assert status(played(gateway, spec, path="/played/x")) == 200
    assert gateway.fetch("/played/x").status == 404
    assert list(gateway.apps.glob("played*")) == []


def test_keys_are_asked_for_as_the_definition_says(gateway: Gateway, shared_site: Site) -> None:
    spec = keyed("a", shared_site.upstream.url)
    assert status(played(gateway, spec, path="/a/x")) == 401
    assert status(played(gateway, spec, path="/a/x", headers={"Authorization": ["nope"]})) == 403
    key = json.loads(manage(gateway, "POST", "/tyk/keys/create", session("a")).body)["key"]
    assert status(played(gateway, spec, path="/a/x", headers={"Authorization": [key]})) == 200


def test_addresses_of_clients_that_are_not_there_open_no_list(gateway: Gateway, spec: Json) -> None:
    spec |= {"enable_ip_whitelisting": True, "allowed_ips": ["127.0.0.1"]}
    assert status(played(gateway, spec, path="/played/x")) in (403, 500)


# -- what cannot be reached --------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/tyk/keys", "/tyk/apis", "/hello", "/ready", "/metrics", "/open/x", "/a/x", "/tyk/debug"])
def test_nothing_of_the_gateway_itself_is_reached(gateway: Gateway, spec: Json, shared_site: Site, path: str) -> None:
    before = len(shared_site.upstream.requests)
    found = played(gateway, spec, path=path, headers={"X-Tyk-Authorization": [SECRET]})
    assert status(found) == 404
    assert len(shared_site.upstream.requests) == before


@pytest.mark.parametrize("target", ["tyk://a/x", "tyk://open/x", "tyk://self/x", "tyk://played/x"])
def test_no_definition_that_is_loaded_is_reached(gateway: Gateway, shared_site: Site, target: str) -> None:
    before = len(shared_site.upstream.requests)
    spec = api("played", "/played/", target)
    answer = play(gateway, spec, path="/played/x")
    assert answer.status == 400 or status(json.loads(answer.body)) >= 400
    assert len(shared_site.upstream.requests) == before


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        ({"method": "GET / HTTP/1.1\r\nX: y\r\n\r\nGET"}, "$.request.method"),
        ({"method": "G T"}, "$.request.method"),
        ({"path": "/x HTTP/1.1\r\nX-Evil: 1"}, "$.request.path"),
        ({"path": "relative"}, "$.request.path"),
        ({"path": "/é"}, "$.request.path"),
        ({"headers": {"X": ["a\r\nX-Evil: 1"]}}, "$.request.headers"),
        ({"headers": {"X": ["a\0b"]}}, "$.request.headers"),
        ({"headers": {"X-Evil: 1\r\nY": ["a"]}}, "$.request.headers"),
        ({"headers": {"": ["a"]}}, "$.request.headers"),
        ({"headers": {"Host": ["a\r\nX-Evil: 1"]}}, "$.request.headers"),
        ({"path": "http://a b/played/x"}, "$.request.path"),
        ({"path": "http://a\x00b/played/x"}, "$.request.path"),
        ({"headers": {"Host": ["a b"]}}, "$.request.path, $.request.headers.Host"),
        ({"path": "http://[::1/played/x"}, "$.request.path"),
        ({"path": 5}, "$.path"),
        ({"headers": {"X": "a"}}, "$.headers.X"),
    ],
    ids=str,
)
def test_no_part_of_a_request_becomes_another_one(
    gateway: Gateway, spec: Json, shared_site: Site, request_: Json, place: str
) -> None:
    before = len(shared_site.upstream.requests)
    answer = play(gateway, spec, **{"path": "/played/x", **request_})
    assert refused(answer) == (400, MALFORMED)
    assert json.loads(answer.body)["details"][0].startswith(place), answer.body
    assert len(shared_site.upstream.requests) == before


def test_the_domain_of_a_definition_cannot_add_header_fields(gateway: Gateway, spec: Json, shared_site: Site) -> None:
    before = len(shared_site.upstream.requests)
    for domain in ("a\r\nX-Evil: 1", "a b", "a\0"):
        answer = play(gateway, {**spec, "domain": domain}, path="/played/x")
        assert refused(answer)[0] == 400
    assert len(shared_site.upstream.requests) == before


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({}, "Spec field is missing"),
        ({"spec": None}, "Spec field is missing"),
        ({"spec": {}, "request": None}, "Request field is missing"),
        ({"request": {"path": "/"}}, "Spec field is missing"),
        ({"spec": "x", "request": {}}, "Spec field is missing"),
        ({"spec": {"api_id": 5}, "request": {}}, MALFORMED),
        (b"{", MALFORMED),
        (b"[]", MALFORMED),
    ],
    ids=str,
)
def test_what_cannot_be_played_is_refused_with_the_reason(gateway: Gateway, sent: Any, message: str) -> None:
    assert refused(manage(gateway, "POST", "/tyk/debug", sent)) == (400, message)


def test_a_definition_that_would_not_load_is_refused(gateway: Gateway) -> None:
    status_, message = refused(play(gateway, {"proxy": {"listen_path": ""}}, path="/"))
    assert status_ == 400
    assert message.startswith("Validation of API Definition failed. Reason: ")


# -- bounds ------------------------------------------------------------------------------------


def test_a_response_without_end_is_cut(gateway: Gateway, spec: Json, shared_site: Site) -> None:
    size = 12 << 20
    shared_site.upstream.on("/huge", reply(head("200 OK", f"Content-Length: {size}") + b"x" * size, keep=False))
    found = played(gateway, spec, path="/played/huge")
    assert status(found) == 200
    assert len(found["response"]) == 8 << 20
    wait_for(lambda: open_files(gateway) <= baseline(gateway, spec), "the end of the cut connection")


def test_upstreams_that_never_answer_are_waited_for_in_turns_and_the_worker_goes_on(
    gateway: Gateway, spec: Json, shared_site: Site
) -> None:
    upstream = shared_site.upstream
    upstream.on("/silent", silent)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(status(played(gateway, spec, path="/played/silent")))) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(upstream.seen("/silent")) == 8, "eight requests at a time")
    assert gateway.fetch("/open/x").status == 200
    assert gateway.fetch("/hello").status == 200
    assert len(upstream.seen("/silent")) == 8
    for thread in threads:
        thread.join()
    assert found == [504] * 12
    assert len(upstream.seen("/silent")) == 12


def worker(gateway: Gateway) -> int:
    """The process that serves; the other children end by themselves."""
    return next(pid for pid in gateway.workers() if b"python" in Path(f"/proc/{pid}/cmdline").read_bytes())


def open_files(gateway: Gateway) -> int:
    return len(list(Path(f"/proc/{worker(gateway)}/fd").iterdir()))


def baseline(gateway: Gateway, spec: Json) -> int:
    """Open files after one request was played."""
    played(gateway, spec, path="/played/x")
    return open_files(gateway)


def test_nothing_stays_open_and_nothing_is_counted(gateway: Gateway, spec: Json) -> None:
    def counted() -> dict[str, float]:
        watched = ("preforge_apis", "preforge_active_requests", "preforge_connections", "preforge_upstream_connections")
        return {name: value for name, value in gateway.metrics().items() if name in watched}

    before, files = counted(), baseline(gateway, spec)
    assert before["preforge_apis"] == 2
    for turn in range(30):
        played(gateway, spec if turn % 2 else {**spec, "use_keyless": False}, path="/played/x")
        play(gateway, spec, path="bad")
    assert counted() == before
    wait_for(lambda: open_files(gateway) <= files, "the end of all connections")


def test_a_client_that_goes_away_leaves_nothing_behind(gateway: Gateway, spec: Json, shared_site: Site) -> None:
    shared_site.upstream.on("/forgotten", silent)
    files = baseline(gateway, spec)
    sent = json.dumps({"spec": spec, "request": {"path": "/played/forgotten"}})
    client = gateway.connect()
    client.send(get("/tyk/debug", "g", f"X-Tyk-Authorization: {SECRET}", method="POST", body=sent.encode()))
    wait_for(lambda: shared_site.upstream.seen("/forgotten"), "the request")
    client.reset()
    wait_for(lambda: open_files(gateway) <= files, "the end of all connections")
    assert status(played(gateway, spec, path="/played/x")) == 200


def test_what_is_played_goes_through_global_hooks_too(shared_site: Site, tmp_path: Path, spec: Json) -> None:
    script = tmp_path / "mw.js"
    script.write_text(
        "var mw = new TykJS.TykMiddleware.NewMiddleware({});\n"
        "mw.NewProcessRequest(function(request, session, config) {\n"
        "  request.ReturnOverrides.ResponseCode = 403;\n"
        "  request.ReturnOverrides.ResponseError = 'not ' + config.APIID;\n"
        "  return mw.ReturnData(request, {});\n});\n"
    )
    hooks = [{"hook": "pre", "driver": "otto", "name": "mw", "path": str(script)}]
    gateway = shared_site.gateway(enable_jsvm=True, preforge={"plugins": {"global_hooks": hooks}})
    found = played(gateway, spec, method="GET", path="/played/x")
    assert (status(found), "not played" in body(found)) == (403, True)
