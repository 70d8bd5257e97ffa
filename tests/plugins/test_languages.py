"""Every kind of hook, in plugin servers on grpcio, @grpc/grpc-js and grpc-go: the same hooks, the same cases."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.plugins.foreign import BUILD_LIMIT, LANGUAGES, Language, in_language, serving
from tests.plugins.plugin_site import ServerProcess, grpc_conf, plugged
from tests.support.gateway import Gateway, Json, wait_for
from tests.support.keys import ORG, call, limits_of
from tests.support.site import Site, manage, open_site
from tests.support.upstream import Seen, head, reply

pytestmark = pytest.mark.timeout(BUILD_LIMIT)

PRE = "nothing headers params url method reverse refuse answer fails no_such_hook"
HANDLER = {"handler_name": "cp_dynamic_handler", "handler_meta": {"name": "told"}}
KEYED: Json = {
    "use_keyless": False, "org_id": ORG, "enable_coprocess_auth": True, "config_data": {"colour": "red"},
    "event_handlers": {"events": {"AuthFailure": [HANDLER]}},
}  # fmt: skip
BYTES = bytes(range(256)) * 5


@dataclass(slots=True)
class Stand:
    site: Site
    server: ServerProcess
    gateway: Gateway

    def passed(self, target: str, *lines: str, **more: Any) -> Seen:
        """What the upstream got of a request that passed."""
        before = len(self.site.upstream.requests)
        answer = self.gateway.fetch(target, *lines, **more)
        assert answer.status == 200, (answer.status, answer.body)
        assert len(self.site.upstream.requests) == before + 1
        return self.site.upstream.requests[-1]


@pytest.fixture(scope="module", params=LANGUAGES)
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    language: Language = request.param
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(in_language(language, tmp_path_factory.mktemp("plugin") / "run")))
        site = stack.enter_context(open_site(tmp_path_factory.mktemp("site")))
        fields = ("Content-Length: 1280", "X-First: original", "X-Gone: 1", "X-Twice: 1", "X-Twice: 2")
        site.upstream.on("/bytes", reply(head("200 OK", *fields) + BYTES))
        url = site.upstream.url
        apis = [
            *(plugged(name, url, pre=name) for name in PRE.split()),
            plugged("auth", url, definition=KEYED, auth_check="auth", post_key_auth="session", post="post"),
            plugged("response", url, response="response"),
            plugged("no_response", url, response="fails"),
        ]
        yield Stand(site, server, site.gateway(*apis, **grpc_conf(server)))


def test_headers_are_set_and_deleted(stand: Stand) -> None:
    seen = stand.passed("/headers/x", "X-Both: client", "X-Both: again", "X-Gone: 1", "X-Stay: 1")
    found = {name: value.encode("latin-1").decode() for name, value in seen.headers if name.startswith("X-")}
    assert found == {"X-Both": "set", "X-Set": "by the plugin", "X-Text": "Grüße", "X-Stay": "1"} | {
        name: value for name, value in found.items() if name in ("X-Forwarded-For", "X-Real-Ip")
    }


def test_parameters_are_added_and_deleted(stand: Stand) -> None:
    assert stand.passed("/params/x?both=client&gone=1&stay=1").target == "/x?added=a+b%26c&both=set&stay=1"


def test_path_method_and_body_are_those_of_the_plugin(stand: Stand) -> None:
    assert stand.passed("/url/x?q=1").target == "/rewritten?q=1"
    assert stand.passed("/method/x", method="POST", body=b"b").method == "PUT"
    seen = stand.passed("/reverse/x", method="POST", body=BYTES)
    assert (seen.body, seen.get("Content-Length")) == (BYTES[::-1], "1280")


def test_what_the_server_decodes_is_the_request(stand: Stand) -> None:
    stand.passed("/nothing/x?q=%7e&q=2", "X-Client: ä", "Cookie: a=b", method="POST", body=b"text")
    said = stand.server.seen("nothing")[-1]
    assert (said.hook_type, said.hook_name, said.spec["APIID"]) == (1, "nothing", "nothing")
    request = said.request
    assert (request.method, request.scheme, request.url) == ("POST", "http", "/nothing/x?q=%7e&q=2")
    assert (request.body, request.raw_body, dict(request.params)) == ("text", b"text", {"q": "~"})
    assert (request.headers["X-Client"], request.headers["Cookie"]) == ("ä", "a=b")
    stand.passed("/nothing/x", method="POST", body=BYTES)
    assert stand.server.seen("nothing")[-1].request.raw_body == BYTES


def test_an_untouched_request_goes_on_byte_by_byte(stand: Stand) -> None:
    seen = stand.passed("/nothing/x?z=1&a=%7e&flag", "X-Bytes: 1", method="POST", body=BYTES)
    assert (seen.target, seen.body) == ("/x?z=1&a=%7e&flag", BYTES)


def test_a_plugin_answers_in_the_place_of_the_upstream(stand: Stand) -> None:
    before = len(stand.site.upstream.requests)
    refused = stand.gateway.fetch("/refuse/x")
    assert (refused.status, json.loads(refused.body), refused.get("X-Why")) == (403, {"error": "not today"}, "a whim")
    made = stand.gateway.fetch("/answer/x")
    assert (made.status, made.body, made.get("X-Why"), made.get("Content-Type")) == (
        418, b"short and stout\n", "a teapot", "text/x-pot",
    )  # fmt: skip
    assert len(stand.site.upstream.requests) == before


@pytest.mark.parametrize("name", ["fails", "no_such_hook", "no_response"])
def test_a_failing_hook_refuses_and_its_reason_is_logged(stand: Stand, name: str) -> None:
    before = len(stand.site.upstream.requests)
    answer = stand.gateway.fetch(f"/{name}/x")
    assert (answer.status, json.loads(answer.body)) == (500, {"error": "Middleware error"})
    assert len(stand.site.upstream.requests) == before + (name == "no_response")
    assert f"API {name}: " in stand.gateway.log()
    if name == "fails" and "python" not in stand.server.command()[0]:
        assert "FAILED_PRECONDITION" in stand.gateway.log()
        assert "böse" in stand.gateway.log()


def test_a_session_of_the_plugin_opens_the_api_and_later_hooks_see_it(stand: Stand) -> None:
    answer = call(stand.gateway, "/auth/x", "good-one")
    assert (answer.status, limits_of(answer)) == (200, (50, 49))
    seen = dict(json.loads(answer.body)["headers"])
    assert seen["X-Session"] == "of a plugin 100/1 one,two blue"
    assert seen["X-Metadata"] == "colour,token"
    assert seen["X-Post"] == "Post /auth/x"
    check, key_auth, post = (stand.server.seen(name)[-1] for name in ("auth", "session", "post"))
    assert [one.hook_type for one in (check, key_auth, post)] == [4, 3, 2]
    assert check.spec["OrgID"] == ORG
    assert json.loads(check.spec["config_data"]) == {"colour": "red"}
    kept = json.loads(manage(stand.gateway, "GET", "/tyk/keys/good-one").body)
    assert (kept["alias"], kept["tags"], kept["rate"]) == ("of a plugin", ["one", "two"], 100)
    assert kept["access_rights"]["auth"]["versions"] == ["Default"]
    assert limits_of(call(stand.gateway, "/auth/x", "good-one")) == (50, 48)


def test_who_is_refused_by_the_plugin_does_not_pass_and_the_event_is_sent(stand: Stand) -> None:
    before, told = len(stand.site.upstream.requests), len(stand.server.events("told"))
    answer = call(stand.gateway, "/auth/x?q=1", "bad-one")
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "who are you"})
    assert len(stand.site.upstream.requests) == before
    wait_for(lambda: len(stand.server.events("told")) == told + 1, "the event")
    said = stand.server.events("told")[-1]
    assert (said["message"]["Type"], said["spec"]) == ("AuthFailure", {"APIID": "auth", "OrgID": ORG})
    assert said["message"]["Meta"]["Path"] == "/auth/x"


def test_a_response_is_changed_in_status_headers_and_bytes(stand: Stand) -> None:
    answer = stand.gateway.fetch("/response/bytes")
    assert (answer.status, answer.body, answer.get("Content-Length")) == (202, BYTES[::-1], "1280")
    assert (answer.all("X-Many"), answer.all("X-First")) == (["1", "2"], ["changed"])
    assert (answer.all("X-Twice"), answer.all("X-Gone")) == (["1", "2"], [])
    said = stand.server.seen("response")[-1]
    assert (said.hook_type, said.response.status_code, said.response.raw_body) == (5, 200, BYTES)
    assert {one.key: list(one.values) for one in said.response.multivalue_headers}["X-Twice"] == ["1", "2"]
