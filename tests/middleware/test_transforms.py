"""Headers and methods are changed for the requests that an entry names, at the place in the chain where Tyk does it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from accel.endpoints import Endpoint, EndpointMatcher
from accel.http1 import Exchange, HeaderEdit, PathEdits, PathMethod, PathRewrite, Step
from tests.conftest import Start
from tests.paths.support import arrived, error, listed, sent, versioned
from tests.support.datapath import DataPath, does
from tests.support.gateway import Gateway, Json, api
from tests.support.keys import ORG, keyed, session
from tests.support.site import Site
from tests.support.upstream import Upstream, head, reply
from tests.support.wire import get

OWN = reply(head("200 OK", "Content-Length: 2", "X-Gone: 1", "X-Gone: 2", "X-Over: up", "X-Many: a", "X-Many: b") + b"ok")


def change(path: str, add: Json | None = None, remove: list[str] | None = None, method: str = "GET", **more: Any) -> Json:
    return {"path": path, "method": method, "add_headers": add or {}, "delete_headers": remove or [], **more}


def injector(add: Json | None = None, remove: list[str] | None = None) -> Json:
    return {"name": "header_injector", "options": {"add_headers": add or {}, "remove_headers": remove or []}}


def become(path: str, method: str, to: str) -> Json:
    return {"path": path, "method": method, "to_method": to}


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    for path in ("/own", "/own/deep", "/v/own"):
        upstream.on(path, OWN)
    put = change("/put", {"X-Forwarded-For": "9.9.9.9"}, ["X-Forwarded-For"])
    request = {"X-A": "path", "X-New": "new"}
    chain = change("/own", {"X-Over": "path", "X-Path": "path"}, ["X-Gone"])
    rewrite = {"path": "/from", "method": "GET", "match_pattern": "from", "rewrite_to": "/own"}
    return start(
        [
            listed("req", upstream, {"transform_headers": [change("/h", request, ["X-B", "X-Gone"])]},
                   version={"global_headers": {"X-A": "global", "X-B": "global"}}),
            listed("xff", upstream, {"transform_headers": [change("/del", remove=["x-forwarded-for"]), put]}),
            listed("off", upstream, {"transform_headers": [change("/h", request, disabled=True)]}),
            listed("res", upstream, {"transform_response_headers": [chain, change("/from", {"X-From": "1"})],
                                     "url_rewrites": [rewrite]},
                   version={"global_response_headers": {"X-Over": "global"}, "global_response_headers_remove": ["X-Path"]},
                   response_processors=[injector({"X-Over": "injected"}, ["X-Many"])]),
            listed("glob", upstream, {}, version={"global_response_headers": {"X-New": "new"}}),
            listed("mocked", upstream, {"mock_response": [{"path": "/m", "method": "GET", "code": 200, "body": "m"}]},
                   version={"global_response_headers": {"X-New": "new"}}, response_processors=[injector({"X-In": "1"})]),
            listed("method", upstream, {"method_transforms": [become("/get", "POST", "get"), become("/post", "GET", "POST"),
                                                              become("/fetch", "HEAD", "GET"), become("/no", "GET", "TRACE"),
                                                              become("/head", "GET", "HEAD")]}),
            listed("both", upstream, {"method_transforms": [become("/from", "GET", "PUT")], "url_rewrites": [rewrite],
                                      "transform_response_headers": [change("/from", {"X-Met": "1"})]}),
            versioned("ver", upstream, {"1": {"extended_paths": {"transform_headers": [change("/h", {"X-V": "1"})]}}},
                      {"location": "url"}),
            api("cond", "/cond/", upstream.url, response_processors=[{"name": "header_transform", "options": {}}]),
        ],
    )  # fmt: skip


def test_path_headers_come_after_those_of_the_version(gateway: Gateway) -> None:
    answer = gateway.fetch("/req/h", "X-A: client", "X-Gone: 1", "X-Stay: 1")
    assert [sent(answer, name) for name in ("X-A", "X-B", "X-Gone", "X-New", "X-Stay")] == [
        ["path"], [], [], ["new"], ["1"],
    ]  # fmt: skip
    for answer in (gateway.fetch("/req/x", "X-Gone: 1"), gateway.fetch("/req/h", "X-Gone: 1", method="POST", body=b"")):
        assert [sent(answer, name) for name in ("X-A", "X-B", "X-Gone", "X-New")] == [["global"], ["global"], ["1"], []]
    assert sent(gateway.fetch("/off/h"), "X-New") == []


def test_removed_forwarded_for_is_not_added_again(gateway: Gateway) -> None:
    with gateway.connect() as client:
        assert sent(client.send(get("/xff/del", "g", "X-Forwarded-For: 1.2.3.4")).read(), "X-Forwarded-For") == []
        assert sent(client.send(get("/xff/put", "g", "X-Forwarded-For: 1.2.3.4")).read(), "X-Forwarded-For") == ["9.9.9.9"]
        answer = client.send(get("/xff/other", "g", "X-Forwarded-For: 1.2.3.4")).read()
        assert sent(answer, "X-Forwarded-For") == ["1.2.3.4, 127.0.0.1"]


def test_path_headers_apply_inside_a_version(gateway: Gateway) -> None:
    assert sent(gateway.fetch("/ver/1/h"), "X-V") == ["1"]
    assert sent(gateway.fetch("/ver/1/x"), "X-V") == []


def test_response_headers_are_edited_path_first_processor_last(gateway: Gateway) -> None:
    answer = gateway.fetch("/res/own")
    found = {name: answer.all(name) for name in ("X-Gone", "X-Path", "X-Over", "X-Many")}
    assert found == {"X-Gone": [], "X-Path": [], "X-Over": ["injected"], "X-Many": []}
    answer = gateway.fetch("/res/own/deep", method="POST", body=b"")
    assert (answer.all("X-Gone"), answer.get("X-Over"), answer.body) == (["1", "2"], "injected", b"ok")


def test_version_headers_of_responses_need_no_processor(gateway: Gateway) -> None:
    assert gateway.fetch("/glob/own").get("X-New") == "new"


def test_response_headers_follow_the_path_that_the_client_asked_for(gateway: Gateway) -> None:
    answer = gateway.fetch("/res/from")
    assert (answer.get("X-From"), answer.get("X-Path"), answer.all("X-Gone")) == ("1", None, ["1", "2"])


def test_answers_of_the_gateway_itself_get_no_response_headers(gateway: Gateway) -> None:
    answer = gateway.fetch("/mocked/m")
    assert (answer.body, answer.get("X-New"), answer.get("X-In")) == (b"m", None, None)


def test_other_processor_is_refused_by_name(gateway: Gateway) -> None:
    assert gateway.fetch("/cond/x").status == 500
    assert "header_transform" in gateway.log()


def test_method_is_changed_for_the_upstream_only(gateway: Gateway) -> None:
    answer = gateway.fetch("/method/get", method="POST", body=b"kept")
    assert (json.loads(answer.body)["method"], json.loads(answer.body)["body"]) == ("GET", "kept")
    answer = gateway.fetch("/method/post")
    assert (json.loads(answer.body)["method"], sent(answer, "Content-Length")) == ("POST", ["0"])
    assert json.loads(gateway.fetch("/method/other").body)["method"] == "GET"


def test_method_that_is_not_allowed_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    for target in ("/method/no", "/method/head"):
        answer = gateway.fetch(target)
        assert (answer.status, error(answer)) == (405, "Method not allowed")
    assert not upstream.seen("/no")


def test_head_that_goes_upstream_as_get_has_no_body_for_the_client(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("/fetch", reply(head("200 OK", "Content-Length: 200000") + b"x" * 200000))
    with gateway.connect() as client:
        for _ in range(2):
            answer = client.send(get("/method/fetch", method="HEAD")).read("HEAD")
            assert (answer.status, answer.get("Content-Length")) == (200, "200000")
        assert client.send(get("/method/other")).read().status == 200
    assert [seen.method for seen in upstream.seen("/fetch")] == ["GET", "GET"]
    chunked = b"3\r\nabc\r\n0\r\n\r\n"
    upstream.on("/fetch", reply(head("200 OK", "Transfer-Encoding: chunked") + chunked))
    with gateway.connect() as client:
        answer = client.send(get("/method/fetch", method="HEAD")).read("HEAD")
        assert (answer.status, answer.get("Content-Type")) == (200, "text/plain; charset=utf-8")
        assert client.send(get("/method/other")).read().status == 200


def test_rewrite_and_method_work_together_and_match_what_the_client_sent(gateway: Gateway, upstream: Upstream) -> None:
    answer = gateway.fetch("/both/from")
    assert (answer.get("X-Met"), answer.body) == ("1", b"ok")
    assert upstream.seen("/own")[-1].method == "PUT"


def test_values_come_from_the_meta_data_of_the_key(site: Site) -> None:
    values = {"X-User": "$tyk_meta.user", "X-None": "a$tyk_meta.none"}
    site.upstream.on("/r", OWN)
    paths = {"transform_headers": [change("/h", values)], "transform_response_headers": [change("/r", values)]}
    definition = keyed("meta", site.upstream.url, version={"use_extended_paths": True, "extended_paths": paths},
                       response_processors=[injector({"X-In": "$tyk_meta.user"})])  # fmt: skip
    site.put(f"{ORG}k1", session("meta", meta_data={"user": "Ann\r\nX: 1"}))
    gateway = site.gateway(definition)
    answer = gateway.fetch("/meta/h", f"Authorization: {ORG}k1")
    assert (sent(answer, "X-User"), sent(answer, "X-None"), answer.get("X-In")) == (["AnnX: 1"], ["a"], "AnnX: 1")
    answer = gateway.fetch("/meta/r", f"Authorization: {ORG}k1")
    assert (answer.get("X-User"), answer.get("X-In")) == ("AnnX: 1", "AnnX: 1")


# -- places in the chain ---------------------------------------------------------


class Rewrites:
    """An entry of url_rewrites that always leads to one place."""

    reads_body = False

    def __init__(self, path: bytes) -> None:
        self.path = path

    def __call__(self, x: Exchange) -> None:
        x.rewrite(self.path, b"r=1")


@pytest.fixture(scope="module")
def path(upstream: Upstream) -> Iterator[DataPath]:
    with DataPath(upstream) as found:
        yield found


def entries(*more: Endpoint) -> EndpointMatcher:
    return EndpointMatcher(
        [Endpoint("url_rewrites", b"^/a", None, Rewrites(b"/b")), Endpoint("method_transforms", b"^/a", None, b"PUT"), *more]
    )


def test_later_steps_see_the_request_as_the_client_sent_it(path: DataPath) -> None:
    views: list[tuple[bytes, bytes, bytes]] = []
    look = does(lambda x: views.append((x.method, x.full_path, x.query)))
    path.plan(PathRewrite(), PathMethod(), look, matcher=entries())
    answer = path.fetch("/api/a?q=1")
    assert (arrived(answer), json.loads(answer.body)["method"]) == ("/b?r=1", "PUT")
    assert views == [(b"GET", b"/api/a", b"q=1")]


def test_rewrite_overrides_a_url_that_a_later_step_sets(path: DataPath) -> None:
    change_url = does(lambda x: x.set_url(b"/api/c", b"", 5))
    path.plan(PathRewrite(), change_url, matcher=entries())
    assert arrived(path.fetch("/api/a")) == "/b?r=1"
    assert arrived(path.fetch("/api/x")) == "/c"


def test_url_that_an_earlier_step_sets_is_rewritten(path: DataPath) -> None:
    path.plan(does(lambda x: x.set_url(b"/api/a/1", b"", 5)), PathRewrite(), matcher=entries())
    assert arrived(path.fetch("/api/x")) == "/b?r=1"


@pytest.mark.parametrize(("first", "expected"), [(True, "/b?r=1"), (False, "/looped")])
def test_loop_for_later_gives_way_to_a_rewrite(path: DataPath, first: bool, expected: str) -> None:
    def loops(x: Exchange) -> None:
        if x.full_path != b"/api/looped":
            x.loop(x.plan, b"/api/looped", b"", 5, later=True, same=True)

    steps: list[Step] = [PathRewrite(), does(loops)] if first else [does(loops)]
    path.plan(*steps, matcher=entries())
    assert arrived(path.fetch("/api/a")) == expected


def test_loop_at_once_ends_the_chain_although_there_is_a_rewrite(path: DataPath) -> None:
    ran: list[bytes] = []

    def loops(x: Exchange) -> None:
        if x.full_path == b"/api/a":
            x.loop(x.plan, b"/api/looped", b"", 5, same=True)

    path.plan(PathRewrite(), does(loops), does(lambda x: ran.append(x.full_path)), matcher=entries())
    assert arrived(path.fetch("/api/a")) == "/looped"
    assert ran == [b"/api/looped"]


def test_answer_ends_a_request_that_was_to_be_rewritten(path: DataPath, upstream: Upstream) -> None:
    path.plan(PathRewrite(), does(lambda x: x.answer(204)), matcher=entries())
    with path.connect() as client:
        assert [client.send(get("/api/a")).read().status for _ in range(2)] == [204, 204]
    path.plan()
    assert arrived(path.fetch("/api/a")) == "/a"


def test_response_entries_meet_the_url_of_the_last_step(path: DataPath) -> None:
    edits = (HeaderEdit([], [(b"X-Met", b"1")], response=True),)
    matcher = entries(Endpoint("transform_response_headers", b"^/a", [b"GET"], edits))
    path.plan(PathRewrite(), PathMethod(), response=[PathEdits("transform_response_headers", response=True)], matcher=matcher)
    assert path.fetch("/api/a").get("X-Met") == "1"
    assert path.fetch("/api/b").get("X-Met") is None
