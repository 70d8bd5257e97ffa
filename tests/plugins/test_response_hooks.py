"""Hooks that see a response (tyk-plugins 3.6)."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass

import pytest

from coprocess.codec import ResponseReply
from core.plugins.responses import synced
from tests.conftest import Start
from tests.plugins.conftest import StartServer
from tests.plugins.plugin_site import PluginServer, grpc_conf, plugged
from tests.support.gateway import Gateway
from tests.support.upstream import Upstream, head, reply

HOOKS = """
def nothing(o): pass
def longer(o): o.response.raw_body = b"changed by the plugin"
def text_body(o): o.response.body = "ignored"
def status(o):
    o.response.status_code = 418
    o.response.raw_body = b""
def set_header(o):
    o.response.headers["X-New"] = "new"
    o.response.headers["X-Kept"] = "changed"
def drop_header(o): del o.response.headers["X-Kept"]
def many(o):
    o.response.multivalue_headers.add(key="X-Many", values=["1", "2"])
def stripped(o): del o.response.multivalue_headers[:]
def stripped_and_set(o):
    del o.response.multivalue_headers[:]
    o.response.headers["X-New"] = "new"
def no_response(o): o.ClearField("response")
def zero(o): o.response.status_code = 0
def bad_value(o): o.response.multivalue_headers.add(key="X-Bad", values=["a\\0b"])
def own_length(o): o.response.headers["Content-Length"] = "3"
def overrides(o): o.request.return_overrides.response_code = 403
def first(o): o.response.raw_body += b" one"
def second(o): o.response.raw_body += b" two"
"""
NAMES = "nothing longer text_body status set_header drop_header many stripped stripped_and_set no_response zero bad_value "
NAMES += "own_length overrides"
UPSTREAM = ("Content-Type: text/plain", "X-Kept: first", "X-Kept: second", "Set-Cookie: a=1", "Set-Cookie: b=2")


@dataclass(slots=True)
class Stand:
    server: PluginServer
    gateway: Gateway
    upstream: Upstream


@pytest.fixture(scope="module")
def stand(start_server: StartServer, start: Start, upstream: Upstream) -> Stand:
    server = start_server(HOOKS)
    upstream.on("/text", reply(head("200 OK", *UPSTREAM, "Content-Length: 8") + b"original"))
    apis = [
        *(plugged(name, upstream.url, response=name) for name in NAMES.split()),
        plugged("twice", upstream.url, response=["first", "second"]),
        plugged("down", "http://127.0.0.1:9/", response="nothing"),
    ]
    return Stand(server, start(apis, grpc_conf(server)), upstream)


def test_an_untouched_response_goes_on_as_it_came(stand: Stand) -> None:
    answer = stand.gateway.fetch("/nothing/text")
    assert (answer.status, answer.body) == (200, b"original")
    assert (answer.all("X-Kept"), answer.all("Set-Cookie")) == (["first", "second"], ["a=1", "b=2"])


def test_what_a_response_hook_is_told(stand: Stand) -> None:
    stand.gateway.fetch("/nothing/text?q=1", "X-From-Client: 1")
    said = stand.server.last("nothing")
    assert said.hook_type == 5
    assert said.request.url == f"{stand.upstream.url.rstrip('/')}/text?q=1"
    assert said.request.headers["X-From-Client"] == "1"
    assert (said.response.status_code, said.response.body, said.response.raw_body) == (200, "original", b"original")
    assert said.response.headers["X-Kept"] == "first"
    assert {one.key: list(one.values) for one in said.response.multivalue_headers}["X-Kept"] == ["first", "second"]
    assert said.HasField("session")
    assert said.session.alias == ""


def test_body_and_length_are_those_of_the_raw_body(stand: Stand) -> None:
    answer = stand.gateway.fetch("/longer/text")
    assert (answer.body, answer.get("Content-Length")) == (b"changed by the plugin", "21")
    assert stand.gateway.fetch("/text_body/text").body == b"original"
    assert stand.gateway.fetch("/own_length/text").body == b"original"


def test_another_status(stand: Stand) -> None:
    answer = stand.gateway.fetch("/status/text")
    assert (answer.status, answer.body, answer.get("Content-Length")) == (418, b"", "0")


def test_a_header_that_is_set_replaces_the_first_value(stand: Stand) -> None:
    answer = stand.gateway.fetch("/set_header/text")
    assert (answer.all("X-New"), answer.all("X-Kept")) == (["new"], ["changed", "second"])
    assert answer.all("Set-Cookie") == ["a=1", "b=2"]


def test_a_header_that_is_removed_goes_with_all_its_values(stand: Stand) -> None:
    assert stand.gateway.fetch("/drop_header/text").all("X-Kept") == []


def test_all_values_of_a_multivalue_header_are_sent(stand: Stand) -> None:
    assert stand.gateway.fetch("/many/text").all("X-Many") == ["1", "2"]


def test_without_multivalue_headers_only_changed_ones_are_left(stand: Stand) -> None:
    assert stand.gateway.fetch("/stripped/text").get("X-Kept") is None
    answer = stand.gateway.fetch("/stripped_and_set/text")
    assert (answer.all("X-New"), answer.all("X-Kept"), answer.all("Set-Cookie")) == (["new"], ["first"], ["a=1"])


@pytest.mark.parametrize("name", ["no_response", "zero", "bad_value"])
def test_a_reply_that_is_no_response_refuses_it(stand: Stand, name: str) -> None:
    answer = stand.gateway.fetch(f"/{name}/text")
    assert (answer.status, json.loads(answer.body)) == (500, {"error": "Middleware error"})
    assert answer.get("X-Kept") is None


def test_overrides_count_for_nothing(stand: Stand) -> None:
    assert stand.gateway.fetch("/overrides/text").status == 200


def test_hooks_run_one_after_the_other(stand: Stand) -> None:
    assert stand.gateway.fetch("/twice/text").body == b"original one two"


def test_errors_of_the_upstream_are_seen_but_not_those_of_the_gateway(stand: Stand) -> None:
    stand.upstream.on("/gone", reply(head("404 Not Found", "Content-Length: 4") + b"gone"))
    assert stand.gateway.fetch("/nothing/gone").status == 404
    assert stand.server.last("nothing").response.status_code == 404
    before = len(stand.server.seen("nothing"))
    assert stand.gateway.fetch("/down/x").status == 500
    assert len(stand.server.seen("nothing")) == before


def test_a_compressed_body_is_told_as_it_is(stand: Stand) -> None:
    packed = gzip.compress(b"text")
    fields = head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(packed)}")
    stand.upstream.on("/packed", reply(fields + packed))
    assert stand.gateway.fetch("/nothing/packed", "Accept-Encoding: gzip").body == packed
    said = stand.server.last("nothing").response
    assert (said.raw_body, said.body) == (packed, "")


@pytest.mark.parametrize(
    ("headers", "several", "expected"),
    [
        ([("A", "1"), ("B", "2")], [("A", ["1", "x"]), ("B", ["2"])], [("A", ["1", "x"]), ("B", ["2"])]),
        ([("A", "9"), ("B", "2")], [("A", ["1", "x"]), ("B", ["2"])], [("A", ["9", "x"]), ("B", ["2"])]),
        ([("B", "2")], [("A", ["1", "x"]), ("B", ["2"])], [("B", ["2"])]),
        ([("A", "1"), ("B", "2"), ("C", "3")], [("A", ["1"]), ("B", ["2"])], [("A", ["1"]), ("B", ["2"]), ("C", ["3"])]),
        ([("A", "1"), ("B", "3")], [("A", []), ("B", ["2"])], [("A", ["1"]), ("B", ["3"])]),
        ([("A", "1"), ("B", "2")], [], []),
        ([("a", "1"), ("B", "2")], [("A", ["1"]), ("B", ["2"])], [("B", ["2"]), ("a", ["1"])]),
        ([("A", "1"), ("B", "4")], [("A", ["1"]), ("B", ["2"]), ("B", ["3"])], [("A", ["1"]), ("B", ["4"]), ("B", ["3"])]),
    ],
)
def test_both_forms_of_the_headers_become_one(
    headers: list[tuple[str, str]], several: list[tuple[str, list[str]]], expected: list[tuple[str, list[str]]]
) -> None:
    sent = [(b"A", b"1"), (b"A", b"x"), (b"B", b"2")]
    assert synced(ResponseReply(200, b"", headers, several), sent) == expected
