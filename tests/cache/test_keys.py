"""Whose answer a request gets: names as Tyk makes them, and apart where one client could get what is another's."""

from __future__ import annotations

import hashlib
import json

import mmh3
import pytest

from tests.cache.cache_support import OPTIONS, caching, entries, entry, hit, kept, stored
from tests.support.gateway import Gateway, Json, merge
from tests.support.keys import ORG, keyed, session
from tests.support.site import Site
from tests.support.wire import get

REGEX = {"path": "/regex", "method": "POST", "pattern": "id=[0-9]+"}
HEADERS = ["X-Lang", "x-Other"]
ME = "127.0.0.1"


def versioned(target: str) -> Json:
    versions = {name: {"name": name, "use_extended_paths": True} for name in ("v1", "v2")}
    definition = {"location": "header", "key": "x-version"}
    data = {"not_versioned": False, "versions": versions}
    return merge(caching("ver", target), {"definition": definition, "version_data": data})


@pytest.fixture(scope="module")
def gateway(shared_site: Site) -> Gateway:
    target = shared_site.upstream.url
    bodies = entries(*(entry("/body", method) for method in ("POST", "PUT", "PATCH", "DELETE")), entry(**REGEX))
    closed = keyed("key", target, cache_options=OPTIONS)
    paths: Json = {"version": {"use_extended_paths": True, "extended_paths": {"ignored": [{"path": "/open"}]}}}
    for key in ("one", "two"):
        shared_site.put(f"{ORG}{key}", session("key", "part"))
    return shared_site.gateway(
        caching("open", target),
        caching("body", target, options={"cache_all_safe_requests": False}, **bodies),
        caching("by", target, options={"cache_by_headers": HEADERS}),
        caching("cred", target, options={"cache_by_headers": ["Cookie"]}),
        merge(caching("part", target, **paths), {"use_keyless": False, "org_id": ORG}),
        closed,
        versioned(target),
        enable_analytics=False,
    )


def name(api_id: str, who: str, text: str) -> bytes:
    """What tyk-core 2.7 says."""
    return f"cache-{api_id}{api_id}{who}{hashlib.md5(text.encode()).hexdigest()}".encode()


def body_hash(body: bytes) -> str:
    first, second = mmh3.hash64(body, x64arch=True, signed=False)
    return f"{first:016x}{second:016x}"


@pytest.mark.parametrize(
    ("api_id", "method", "path", "lines", "body", "text"),
    [
        ("open", "GET", "/open/a%20b/c?x=1&y=%2F", (), b"", "GET-/open/a%20b/c?x=1&y=%2F"),
        ("open", "GET", "/open/plain", ("X-Lang: de",), b"", "GET-/open/plain"),
        ("open", "HEAD", "/open/h", (), b"", "HEAD-/open/h"),
        ("open", "OPTIONS", "/open/o", (), b"", "OPTIONS-/open/o"),
        ("by", "GET", "/by/h", ("X-Lang: de",), b"", "GET-/by/h-X-Lang-dex-Other-"),
        ("by", "GET", "/by/h2", ("x-lang: de", "X-Other: 1"), b"", "GET-/by/h2-X-Lang-dex-Other-1"),
        ("body", "POST", "/body/body", (), b"text", "POST-/body/body-" + body_hash(b"text")),
        ("body", "PUT", "/body/body", (), b"", "PUT-/body/body-" + body_hash(b"")),
        ("body", "DELETE", "/body/body", (), b"text", "DELETE-/body/body"),
        ("body", "POST", "/body/regex", (), b"a&id=12&id=13", "POST-/body/regex-" + body_hash(b"id=12")),
        ("body", "POST", "/body/regex", (), b"nothing", "POST-/body/regex"),
    ],
)
def test_names_are_those_of_tyk(
    gateway: Gateway, shared_site: Site, api_id: str, method: str, path: str, lines: tuple[str, ...], body: bytes, text: str
) -> None:
    assert not hit(gateway.fetch(path, *lines, method=method, body=body or None))
    assert hit(gateway.fetch(path, *lines, method=method, body=body or None))
    assert name(api_id, ME, text) in stored(shared_site.store, api_id)


def test_the_name_has_the_key_of_the_client(gateway: Gateway, shared_site: Site) -> None:
    assert not hit(gateway.fetch("/key/a", f"Authorization: {ORG}one"))
    assert kept(shared_site.store, "key") == [name("key", f"{ORG}one", "GET-/key/a")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("/open/q?a=1",), ("/open/q?a=2",)),
        (("/open/q",), ("/open/q?",  "A: b", "Cookie: a=1")),
        (("/open/c", "Cookie: a=1"), ("/open/c", "Cookie: a=2")),
        (("/open/c", "Cookie: a=1", "Cookie: b=1"), ("/open/c", "Cookie: a=1", "Cookie: b=2")),
        (("/open/z", "Authorization: Basic YTph"), ("/open/z", "Authorization: Basic YjpiYg==")),
        (("/open/z", "Authorization: a"), ("/open/z", "Cookie: a")),
        (("/by/x", "X-Lang: de"), ("/by/x", "X-Lang: fr")),
        (("/cred/x", "Cookie: a=1"), ("/cred/x", "Cookie: a=2")),
        (("/key/k", f"Authorization: {ORG}one"), ("/key/k", f"Authorization: {ORG}two")),
        (("/part/open", "Authorization: first"), ("/part/open", "Authorization: second")),
        (("/ver/v", "x-version: v1"), ("/ver/v", "x-version: v2")),
    ],
)
def test_no_request_gets_the_answer_to_another(gateway: Gateway, first: tuple[str, ...], second: tuple[str, ...]) -> None:
    assert not hit(gateway.fetch(*first))
    assert not hit(gateway.fetch(*second))
    again = gateway.fetch(*first)
    assert hit(again)
    wanted = {line.partition(": ")[2].encode() for line in first[1:]}
    assert all(value in again.body for value in wanted)


def test_names_have_the_request_as_it_came_and_not_as_it_goes_on(shared_site: Site) -> None:
    extended = {
        "url_rewrites": [{"path": "/old", "method": "GET", "match_pattern": "/old", "rewrite_to": "/new"}],
        "method_transforms": [
            {"path": "/old", "method": "GET", "to_method": "POST"},
            {"path": "/head", "method": "HEAD", "to_method": "GET"},
        ],
    }
    version = {"use_extended_paths": True, "extended_paths": extended}
    gateway = shared_site.gateway(caching("moved", shared_site.upstream.url, version=version))
    assert [hit(gateway.fetch("/moved/old")) for _ in range(2)] == [False, True]
    assert json.loads(gateway.fetch("/moved/old").body)["target"] == "/new"
    assert kept(shared_site.store, "moved") == [name("moved", ME, "GET-/moved/old")]
    answers = [gateway.fetch("/moved/head", method="HEAD") for _ in range(2)]
    lengths = [answer.get("Content-Length") for answer in answers]
    assert [hit(answer) for answer in answers] == [False, True]
    assert lengths[0] == lengths[1] != "0"


def test_requests_that_a_trigger_leads_elsewhere_are_apart(shared_site: Site) -> None:
    gold = {"on": "any", "options": {"header_matches": {"X-Plan": {"match_rx": "gold"}}}, "rewrite_to": "/gold"}
    rewrites = [{"path": "/old", "method": "GET", "match_pattern": "/old", "rewrite_to": "/new", "triggers": [gold]}]
    version = {"use_extended_paths": True, "extended_paths": {"url_rewrites": rewrites}}
    gateway = shared_site.gateway(caching("led", shared_site.upstream.url, version=version))
    answers = [gateway.fetch("/led/old", *lines) for lines in ((), ("X-Plan: gold",), (), ("X-Plan: gold",))]
    found = [(hit(answer), json.loads(answer.body)["target"]) for answer in answers]
    assert found == [(False, "/new"), (False, "/gold"), (True, "/new"), (True, "/gold")]


def test_hosts_that_the_upstream_sees_are_apart(shared_site: Site) -> None:
    gateway = shared_site.gateway(caching("hosts", shared_site.upstream.url, proxy={"preserve_host_header": True}))
    with gateway.connect() as client:
        answers = [client.send(get("/hosts/a", host)).read() for host in ("a.test", "b.test", "a.test", "b.test")]
    assert [hit(answer) for answer in answers] == [False, False, True, True]
    assert b"a.test" in answers[2].body
    assert b"b.test" in answers[3].body


def test_a_client_that_no_address_is_known_of_is_not_cached(shared_site: Site) -> None:
    target = shared_site.upstream.url
    conf = {"trusted_proxies": ["127.0.0.0/8"]}
    gateway = shared_site.gateway(caching("proxied", target), preforge=conf)
    for address in ("10.0.0.1", "10.0.0.2"):
        assert not hit(gateway.fetch("/proxied/a", f"X-Forwarded-For: {address}"))
        assert hit(gateway.fetch("/proxied/a", f"X-Forwarded-For: {address}"))
    names = stored(shared_site.store, "proxied")
    assert [raw.removeprefix(b"cache-proxiedproxied")[:-32] for raw in names] == [b"10.0.0.1", b"10.0.0.2"]


def test_apis_do_not_share_answers(shared_site: Site) -> None:
    target = shared_site.upstream.url
    one, two = (
        merge(caching(host, target), {"domain": f"{host}.test", "proxy": {"listen_path": "/same/"}}) for host in ("one", "two")
    )
    other = shared_site.gateway(one, two, enable_custom_domains=True)
    with other.connect() as client:
        hits = [hit(client.send(get("/same/a", f"{host}.test")).read()) for host in ("one", "two", "one", "two")]
    assert hits == [False, False, True, True]
