"""A rewrite leads where its author wants, and never where only a client wants (tyk-core 2.6, 3.8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.access.rewrite import split_controls, stripper, without_dots
from core.apidef.listen_path import route
from tests.conftest import Start
from tests.paths.support import arrived, error, listed, sent
from tests.support.gateway import Gateway, Json, api, wait_for
from tests.support.keys import ORG, keyed, session
from tests.support.site import Site
from tests.support.upstream import Upstream
from tests.support.wire import get


def entry(path: str, pattern: str, to: str, *triggers: Json, method: str = "GET") -> Json:
    return {"path": path, "method": method, "match_pattern": pattern, "rewrite_to": to, "triggers": list(triggers)}


def trigger(on: str, to: str, **options: Any) -> Json:
    return {"on": on, "rewrite_to": to, "options": {f"{name}_matches": value for name, value in options.items()}}


def rx(pattern: str, reverse: bool = False) -> Json:
    return {"match_rx": pattern, "reverse": reverse}


def rewriting(api_id: str, upstream: Upstream, *entries: Json, **more: Any) -> Json:
    return listed(api_id, upstream, {"url_rewrites": list(entries), **more.pop("paths", {})}, **more)


@pytest.fixture(scope="module")
def other(module_stack: Any) -> Upstream:
    """The upstream that absolute addresses lead to."""
    found: Upstream = module_stack.enter_context(Upstream())
    return found


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream, other: Upstream) -> Gateway:
    below = {"target_url": upstream.url + "/up"}
    body = trigger("any", "/body/$tyk_context.trigger-0-payload-0-0", payload=rx("id=(\\w+)"))
    both = trigger("all", "/all", header={"A": rx("1"), "B": rx("2")}, query_val={"q": rx("^3$")})
    either = trigger("any", "/any-$tyk_context.trigger-1-Many-1", header={"many": rx("^two"), "x": rx("never")})
    parts = trigger("any", "/parts?n=$tyk_context.trigger-2-n-0-0", path_part={"n": rx("^n(\\d+)$")})
    absent = trigger("any", "/absent", header={"C": rx("go", reverse=True)})
    return start(
        [
            rewriting("plain", upstream, entry("/a/", "a/([^/?]+)/?(.*)", "/b/$2/$1"), proxy=below),
            rewriting("escape", upstream, entry("/e/", "/e/(.*)", "/f/$1"), entry("/d/", "(?s)d/x y(.*)", "/decoded/$1")),
            rewriting("open", upstream, entry("/", "open/(.*)", "$1"), proxy=below),
            rewriting("abs", upstream, entry("/h/", "h/(.*)", f"{other.url}/other/$1?k=v#cut"), proxy=below),
            rewriting("keep", upstream, entry("/h/", "h/(.*)", f"{other.url}/keep/x/$1"), proxy={"strip_listen_path": False}),
            rewriting("trig", upstream, entry("/t", "t", "/default", both, either, parts, absent)),
            rewriting("pay", upstream, entry("/t", "t", "/default", body, method="POST")),
            rewriting("nested", upstream, entry("/n/", "((x+x+)+y)", "/$1")),
            rewriting("round", upstream, entry("/r", "r", "tyk://self/r?loop_limit=$1")),
            rewriting("few", upstream, entry("/r", "r", "tyk://self/r?loop_limit=2")),
            rewriting("nowhere", upstream, entry("/r", "r", "tyk://nobody/")),
            rewriting("head", upstream, entry("/r", "r", "tyk://self/x?method=HEAD"),
                      entry("/r", "r", "tyk://self/x?method=GET", method="HEAD")),
            rewriting("to", upstream, entry("/in/", "in/([^?]*)", "tyk://the inner/$1?method=PUT&keep=1")),
            rewriting("inner", upstream, name="The Inner #API", internal=True,
                      paths={"internal": [{"path": "/deep", "method": "PUT"}]}),
            rewriting("limited", upstream, entry("/r", "r", "tyk://self/again"),
                      entry("/c", "c", "tyk://self/again?check_limits=true"), global_rate_limit={"rate": 3, "per": 600}),
            api("target", "/target/", "tyk://abs/h/"),
            rewriting("strict", upstream, entry("/", "s=(\\w+)", "/strict$1/x")),
        ],
        {"http_server_options": {"skip_url_cleaning": True}, "preforge": {"limits": {"max_buffered_body_bytes": 65536}}},
    )  # fmt: skip


def post(gateway: Gateway, target: str, body: bytes) -> Any:
    return gateway.fetch(target, method="POST", body=body)


def test_relative_path_goes_below_the_target(gateway: Gateway) -> None:
    assert arrived(gateway.fetch("/plain/a/1/2")) == "/up/b/2/1"
    assert arrived(gateway.fetch("/plain/a/1")) == "/up/b//1"
    assert arrived(gateway.fetch("/plain/other?q=1")) == "/up/other?q=1"
    assert arrived(post(gateway, "/plain/a/1/2", b"x")) == "/up/a/1/2"


def test_captured_text_cannot_break_the_request_line(gateway: Gateway) -> None:
    assert arrived(gateway.fetch("/escape/e/a%20b%0d%0aX")) == "/f/a%20b%0d%0aX"
    assert arrived(gateway.fetch("/escape/d/x%20y%0d%0aHost:%20evil%01%ff")) == "/decoded/%0D%0AHost:%20evil%01%FF"
    assert arrived(gateway.fetch("/escape/d/x%20y100%25")) == "/decoded/100%25"


@pytest.mark.parametrize("path", ["%252e%252e/%252e%252e/secret", "x/%252e%252e%252f..%252fsecret"])
def test_captured_dots_do_not_climb(gateway: Gateway, path: str) -> None:
    target = arrived(gateway.fetch(f"/escape/d/x%20y/{path}"))
    assert ".." not in target.lower().replace("%2e", ".")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/x", "//127.0.0.1:1/x", "tyk://inner/deep", "HTTP://h/x"])
def test_client_cannot_choose_another_upstream_or_api(gateway: Gateway, address: str) -> None:
    answer = gateway.fetch(f"/open/x?{address}")
    assert arrived(answer).startswith("/up/")
    assert arrived(gateway.fetch(f"/open/open/{address}")).startswith("/up/")


def test_absolute_address_leads_to_another_upstream(gateway: Gateway, upstream: Upstream, other: Upstream) -> None:
    answer = gateway.fetch("/abs/h/x/y?q=1")
    assert arrived(answer) == "/other/x/y?q=1?k=v"
    assert sent(answer, "Host") == [other.url.removeprefix("http://")]
    assert other.seen("/other/x/y")
    assert not upstream.seen("/other/x/y")
    assert arrived(gateway.fetch("/keep/h/1")) == "/keep/x/1"
    assert arrived(gateway.fetch("/abs/plain")) == "/up/plain"
    assert arrived(gateway.fetch("/target/z")) == "/other/z?k=v"


@pytest.mark.parametrize(
    ("target", "lines", "expected"),
    [
        ("/trig/t?q=3", ("A: 1", "B: 2"), "/all"),
        ("/trig/t?q=4", ("A: 1", "B: 2"), "/default"),
        ("/trig/t?q=3", ("A: 1",), "/default"),
        ("/trig/t?q=3", ("A: 1", "A: 1"), "/default"),
        ("/trig/t", ("Many: one", "Many: two%2f x"), "/any-two"),
        ("/trig/t/n7/n8", (), "/parts?n=7"),
        ("/trig/t/n7", ("C: stay",), "/parts?n=7"),
        ("/trig/t", ("C: stay",), "/absent"),
        ("/trig/t", ("C: go",), "/default"),
    ],
)
def test_first_trigger_that_fits_says_where_to(gateway: Gateway, target: str, lines: tuple[str, ...], expected: str) -> None:
    assert arrived(gateway.fetch(target, *lines)) == expected


def test_body_is_looked_at_and_sent_whole(gateway: Gateway) -> None:
    text = b"x" * 50_000 + b" id=abc "
    answer = post(gateway, "/pay/t", text)
    assert arrived(answer) == "/body/abc"
    assert json.loads(answer.body)["body"] == text.decode()
    with gateway.connect() as client:
        client.send(b"POST /pay/t HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nid=ch\r\n")
        answer = client.send(b"4\r\nunks\r\n0\r\n\r\n").read()
    assert arrived(answer) == "/body/chunks"
    assert json.loads(answer.body)["body"] == "id=chunks"
    assert arrived(post(gateway, "/pay/t", b"nothing")) == "/default"


def test_body_that_is_too_large_to_look_at_is_refused(gateway: Gateway) -> None:
    assert post(gateway, "/pay/t", b"x" * 65_537).status == 413
    assert arrived(post(gateway, "/pay/other", b"x" * 65_537)) == "/other"


def test_expression_of_exponential_cost_holds_nobody_up(gateway: Gateway) -> None:
    assert arrived(gateway.fetch("/nested/n/" + "x" * 8_000 + "z")).startswith("/n/xxx")
    assert arrived(gateway.fetch("/nested/n/" + "x" * 300 + "z" + "xxy")) == "/xxy"


def test_loops_end(gateway: Gateway) -> None:
    answer = gateway.fetch("/round/r")
    assert (answer.status, error(answer)) == (500, "Loop level too deep. Found more than 5 loops in single request")
    answer = gateway.fetch("/few/r")
    assert (answer.status, error(answer)) == (500, "Loop level too deep. Found more than 2 loops in single request")


def test_loop_to_an_api_that_is_not_there_is_an_error(gateway: Gateway) -> None:
    answer = gateway.fetch("/nowhere/r")
    assert (answer.status, error(answer)) == (500, "Couldn't detect target")


def test_loop_reaches_internal_apis_and_endpoints_with_another_method(gateway: Gateway) -> None:
    answer = gateway.fetch("/to/in/deep/x?q=1")
    assert arrived(answer) == "/deep/x?keep=1"
    assert json.loads(answer.body)["method"] == "PUT"
    assert sent(answer, "Content-Length") == ["0"]
    assert gateway.fetch("/inner/deep").status == 404


def test_method_is_not_changed_into_one_whose_answer_the_client_misreads(gateway: Gateway) -> None:
    assert gateway.fetch("/head/r").status == 500
    with gateway.connect() as client:
        for target in ("/head/r", "/head/other", "/head/r"):
            answer = client.send(get(target, method="HEAD")).read("HEAD")
            assert (answer.status, answer.get("Content-Type")) == (200, "application/json")


def test_limits_count_a_request_once_unless_the_loop_says_otherwise(gateway: Gateway) -> None:
    assert arrived(gateway.fetch("/limited/r")) == "/again"
    assert arrived(gateway.fetch("/limited/c")) == "/again"
    assert gateway.fetch("/limited/r").status == 429


def test_meta_data_of_the_key_are_conditions_and_parts_of_the_path(site: Site) -> None:
    to = "/$tyk_meta.where/$tyk_context.trigger-0-kind-0?m=$tyk_meta.n&x=$tyk_meta.none"
    own = trigger("all", to, session_meta={"kind": rx("^g(.*)")})
    paths = {"url_rewrites": [entry("/", "x", "/plain/$tyk_meta.where", own)]}
    version = {"use_extended_paths": True, "extended_paths": paths}
    gateway = site.gateway(keyed("a", site.upstream.url, version=version))
    site.put(f"{ORG}gold", session("a", meta_data={"kind": "gold", "where": "a b/../c", "n": 5}))
    site.put(f"{ORG}tin", session("a", meta_data={"kind": "tin", "where": "http://h/"}))
    assert arrived(gateway.fetch("/a/x", f"Authorization: {ORG}gold")) == "/c/old?m=5&x="
    assert arrived(gateway.fetch("/a/x", f"Authorization: {ORG}tin")) == "/plain/http://h/"


def test_key_names_the_upstream(site: Site, other: Upstream) -> None:
    host = other.url.removeprefix("http://")
    entries = [
        entry("/whole", "whole(.*)", "$tyk_meta.url/w$1"),
        entry("/host", "host", "http://$tyk_meta.host/h"),
        entry("/port", "port(\\d+)", "http://127.0.0.1:$1/p"),
        entry("/any", "any=(.*)", "http://$1/p"),
    ]
    version = {"use_extended_paths": True, "extended_paths": {"url_rewrites": entries}}
    gateway = site.gateway(keyed("a", site.upstream.url, version=version), preforge={"upstream": {"max_named_hosts": 1}})
    site.put(f"{ORG}one", session("a", meta_data={"url": other.url + "/base", "host": host}))
    site.put(f"{ORG}bad", session("a", meta_data={"url": "/plain", "host": f"{host}/evil?"}))
    one, bad = f"Authorization: {ORG}one", f"Authorization: {ORG}bad"
    for _ in range(2):
        assert arrived(gateway.fetch("/a/whole/x", one)) == "/base/w/x"
        assert arrived(gateway.fetch("/a/host", one)) == "/h"
        assert arrived(gateway.fetch(f"/a/port{host.rpartition(':')[2]}", one)) == "/p"
        assert arrived(gateway.fetch(f"/a/port{site.upstream.port}", one)) == "/p"
    assert len(other.seen("/p")) == 2
    assert len(site.upstream.seen("/p")) == 2
    assert arrived(gateway.fetch("/a/whole/x", bad)) == "/%2Fplain/w/x"
    assert gateway.fetch("/a/host", bad).status == 500
    for text in ("x@" + host, host + "%2f..", "[::1", "h:99999", "", "a%20b", "tyk:%2f%2fb"):
        assert gateway.fetch(f"/a/any?any={text}", one).status == 500, text
    wait_for(lambda: gateway.counters("named_hosts_dropped_total") >= 3, "hosts are dropped")


@pytest.mark.parametrize(
    ("listen", "strict", "path", "left"),
    [
        ("/a/", False, b"/a/b", b"/b"),
        ("/a/", False, b"/ab", b"/ab"),
        ("/a", False, b"/ab", b"/b"),
        ("/a", True, b"/ab", b"/ab"),
        ("/a", True, b"/a", b"/"),
        ("/a.b/", False, b"/axb/c", b"/axb/c"),
        ("/v{n:[0-9]+}/", False, b"/v12/x", b"/x"),
        ("/", False, b"/x", b"/x"),
    ],
)
def test_listen_path_is_taken_off_where_it_stands(listen: str, strict: bool, path: bytes, left: bytes) -> None:
    assert stripper(route(listen, strict), True)(path) == left
    assert stripper(route(listen, strict), False)(path) == path


@pytest.mark.parametrize(
    ("path", "clean"),
    [(b"/a/./b", b"/a/b"), (b"/a/%2E%2e/b", b"/b"), (b"/a%2f..%2f..%2fb", b"/b"), (b"/a//b/.x", b"/a//b/.x"), (b"/..", b"/")],
)
def test_dot_segments_are_resolved(path: bytes, clean: bytes) -> None:
    assert without_dots(path) == clean


def test_controls_of_a_loop_do_not_reach_the_upstream() -> None:
    controls, rest = split_controls(b"a=1&method=PO%53T&method=GET&loop_limit=3&check_limits=true&b")
    assert controls == {"method": "POST", "loop_limit": "3", "check_limits": "true"}
    assert rest == b"a=1&b"
