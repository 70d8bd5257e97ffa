"""No trick with a request opens what its key does not open."""

from __future__ import annotations

import base64
import json

import pytest

from core.sessions.murmur import digest
from core.sessions.tokens import generate, hash_key
from tests.support.gateway import wait_for
from tests.support.keys import ORG, call, keyed, session
from tests.support.site import Site
from tests.support.wire import get

OTHER = "deadbeefdeadbeefdeadbe01"
HOST = "gateway.test"


def test_key_of_one_api_does_not_stand_for_that_of_another_behind_a_loop(site: Site) -> None:
    inner = keyed("inner", site.upstream.url, org_id=OTHER, auth={"auth_header_name": "X-Inner"})
    gateway = site.gateway(keyed("outer", "tyk://inner/"), inner)
    site.put(f"{ORG}master", session())
    site.put(f"{OTHER}inside", session("inner", org_id=OTHER))
    assert call(gateway, "/outer/x", "master").status == 401, "the inner API asks for its own key"
    assert call(gateway, "/outer/x", "master", "X-Inner: master").status == 403
    assert call(gateway, "/outer/x", "master", "X-Inner: inside").status == 200
    assert len(site.upstream.seen("/x")) == 1


def test_open_api_that_loops_to_a_keyed_one_opens_nothing(site: Site) -> None:
    ignored = {"use_extended_paths": True, "extended_paths": {"ignored": [{"path": "/x", "method_actions": {}}]}}
    gateway = site.gateway(
        keyed("open", "tyk://inner/", use_keyless=True),
        keyed("half", "tyk://inner/", version=ignored),
        keyed("inner", site.upstream.url),
    )
    site.put(f"{ORG}good", session("inner"))
    site.put(f"{ORG}half", session("half"))
    for target in ("/open/x", "/half/x"):
        assert call(gateway, target).status == 401
        assert call(gateway, target, "half").status == 403
        assert call(gateway, target, "good").status == 200


@pytest.mark.parametrize("function", ["", "sha256"])
def test_token_with_odd_bytes_is_an_unknown_key(site: Site, function: str) -> None:
    auth = {"use_param": True, "param_name": "k", "use_cookie": True, "cookie_name": "c"}
    gateway = site.gateway(
        keyed("a", site.upstream.url, auth=auth), hash_keys=bool(function), hash_key_function=function
    )
    token = generate(ORG, "good", function)
    site.put(hash_key(token, bool(function)), session("a"))
    with gateway.connect() as client:
        for raw in (b"\xff\xfe\xfd\xfcgood", b"good\xff", b"x" * 4000, b"* MATCH *", b"{}[]\\\"'", b"good\tgood"):
            client.send(get("/a/x", HOST)[:-2] + b"Authorization: " + raw + b"\r\n\r\n")
            assert client.read().status == 403, raw
        for query in ("good%00", "%00%00%00%00", "good%0a", "%ff%fe%fd%fc", "good%20", "%67ood%2e", "%ed%a0%80abcd"):
            assert client.send(get(f"/a/x?k={query}", HOST)).read().status == 403, query
        for cookie in ("c=go%6fd", 'c="go"od', "c=bad; c=good", "C=good; c=badd"):
            assert client.send(get("/a/x", HOST, f"Cookie: {cookie}")).read().status in {401, 403}, cookie
        assert client.send(get("/a/x?k=good", HOST)).read().status == 200
    assert len(site.upstream.seen("/x")) + len(site.upstream.seen("/x?k=good")) <= 1


def test_hash_of_a_key_is_no_key(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), hash_keys=True, hash_key_function="sha256")
    token = base64.b64encode(json.dumps({"org": ORG, "id": "key1", "h": "sha256"}, separators=(",", ":")).encode()).decode()
    name = digest("sha256", token.encode())
    site.put(name, session("a"))
    assert call(gateway, "/a/x", token).status == 200
    odds: list[object] = [
        {"org": ORG, "id": "key1", "h": "murmur32"}, {"org": ORG, "id": "key1", "h": None}, {"org": ORG, "id": ["key1"]},
        {"org": {"a": 1}, "id": "key1", "h": "sha256"}, [], {"org": ORG, "id": name, "h": "sha256"}, {"h": "sha256" * 500},
    ]  # fmt: skip
    for odd in odds:
        assert call(gateway, "/a/x", base64.b64encode(json.dumps(odd).encode()).decode()).status == 403, odd
    assert call(gateway, "/a/x", name).status == 403
    assert call(gateway, "/a/x", f"apikey-{name}").status == 403


def test_requests_on_one_connection_do_not_see_each_others_keys(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), keyed("b", site.upstream.url))
    site.put(f"{ORG}alice", session("a"))
    site.put(f"{ORG}bobby", session("b"))
    requests = [
        get("/a/x", HOST, "Authorization: alice"), get("/a/x", HOST), get("/b/x", HOST, "Authorization: alice"),
        get("/b/x", HOST, "Authorization: bobby"), get("/b/x", HOST), get("/a/x", HOST, "Authorization: bobby"),
    ]  # fmt: skip
    expected = [200, 401, 403, 200, 401, 403]
    with gateway.connect() as client:
        for _ in range(3):      # first each key is looked up, then it is known
            client.send(b"".join(requests))
            assert [client.read().status for _ in requests] == expected


def test_client_that_goes_away_while_its_key_is_looked_up_leaves_nothing_behind(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), preforge={"workers": 1})
    site.put(f"{ORG}alice", session("a"))
    site.store.pause()
    try:
        for number in range(200):
            with gateway.connect() as client:
                client.send(get("/a/x", HOST, f"Authorization: {'alice' if number % 2 else f'nobody{number}'}"))
    finally:
        site.store.resume()
    wait_for(lambda: gateway.metrics()["preforge_store_waiting"] == 0, "all commands are answered")
    assert call(gateway, "/a/x", "alice").status == 200
    assert call(gateway, "/a/x", "nobody").status == 403
    wait_for(lambda: gateway.metrics()["preforge_active_requests"] <= 1, "no request is left")
    assert "Traceback" not in gateway.log()
    assert "never awaited" not in gateway.log()


def test_url_right_is_not_stretched_by_dots_in_the_path(site: Site) -> None:
    rights = {"a": {"api_id": "a", "versions": ["Default"], "allowed_urls": [{"url": "/open/", "methods": ["GET"]}]}}
    site.put(f"{ORG}mykey", session(access_rights=rights))
    gateway = site.gateway(keyed("a", site.upstream.url), http_server_options={"skip_url_cleaning": True})
    assert call(gateway, "/a/open/x", "mykey").status == 200
    for path in ("/a/open/../secret", "/a/open/%2e%2e/secret", "/a/open//../../secret", "/a/open/..%2fsecret"):
        assert call(gateway, path, "mykey").status == 403, path


def test_session_that_has_not_changed_keeps_its_rights_and_one_that_has_gets_others(site: Site) -> None:
    gateway = site.gateway(
        keyed("a", site.upstream.url), preforge={"workers": 1}, local_session_cache={"disable_cached_session_state": True}
    )
    name = f"{ORG}mykey"
    site.put(name, session("a", meta_data={"v": 1}))
    assert {call(gateway, "/a/x", "mykey").status for _ in range(3)} == {200}
    site.put(name, session("b"))
    assert {call(gateway, "/a/x", "mykey").status for _ in range(3)} == {403}
    site.put(name, session("a"))
    assert {call(gateway, "/a/x", "mykey").status for _ in range(3)} == {200}
    site.put(name, session("a", expires=1))
    assert {call(gateway, "/a/x", "mykey").status for _ in range(3)} == {401}
    site.store.ask("DEL", f"apikey-{name}")
    assert {call(gateway, "/a/x", "mykey").status for _ in range(3)} == {403}


def test_policy_that_changes_changes_the_rights_of_a_session_that_has_not(site: Site) -> None:
    policies = site.directory / "policies.json"
    policy = {"org_id": ORG, "active": True, "rate": 0, "per": 0, "quota_max": -1}

    def write(api_id: str) -> None:
        rights = {api_id: {"api_id": api_id, "api_name": api_id, "versions": ["Default"]}}
        policies.write_text(json.dumps({"p1": {**policy, "id": "p1", "access_rights": rights}}))

    write("a")
    gateway = site.gateway(
        keyed("a", site.upstream.url), preforge={"workers": 1},
        policies={"policy_source": "file", "policy_record_name": str(policies)},
    )  # fmt: skip
    site.put(f"{ORG}mykey", session("a", apply_policies=["p1"]))
    assert call(gateway, "/a/x", "mykey").status == 200
    write("b")
    gateway.reload()
    wait_for(lambda: call(gateway, "/a/x", "mykey").status == 403, "the policy closes the API")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "PURGE", "get", "POST"])
def test_no_method_goes_around_the_key(site: Site, method: str) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    with gateway.connect() as client:
        answer = client.send(get("/a/x", HOST, method=method, body=b"" if method == "POST" else None)).read(method)
    assert answer.status in {400, 401, 405, 501}
    assert not site.upstream.requests


def test_upgrade_asks_for_a_key(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), http_server_options={"enable_websockets": True})
    site.put(f"{ORG}other", session("b"))
    lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13")  # noqa: E501
    assert gateway.fetch("/a/x", *lines).status == 401
    assert gateway.fetch("/a/x", *lines, "Authorization: nobody").status == 403
    assert gateway.fetch("/a/x", *lines, "Authorization: other").status == 403
    assert not site.upstream.requests


def test_body_that_arrives_while_the_key_is_looked_up_belongs_to_its_request(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), preforge={"workers": 1})
    site.put(f"{ORG}alice", session("a"))
    wait_for(lambda: call(gateway, "/a/x", "nobody").status == 403, "the store is connected")
    head = get("/a/{}", HOST, "Transfer-Encoding: chunked", "Authorization: {}", method="POST").decode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (b"GET /a/stolen HTTP/1.1\r\n\r\n", b"z" * 5000)) + b"0\r\n\r\n"  # noqa: E501
    with gateway.connect() as client:
        site.store.pause()
        try:
            client.send(head.format("one", "alice").encode() + chunks[:700])
            client.send(chunks[700:] + head.format("two", "nobody").encode() + chunks + get("/a/three", HOST, "Authorization: alice"))  # noqa: E501
        finally:
            site.store.resume()
        assert client.read("POST").status == 200
        assert client.read("POST").status == 403
        assert client.read().status == 200
    assert [seen.target for seen in site.upstream.requests] == ["/one", "/three"]
    assert len(site.upstream.seen("/one")[0].body) == 5026


def test_listen_paths_that_overlap_keep_their_keys_apart(site: Site) -> None:
    def listens(api_id: str, path: str, **more: object) -> dict[str, object]:
        return keyed(api_id, site.upstream.url, proxy={"listen_path": path}, **more)

    gateway = site.gateway(listens("outer", "/p/", use_keyless=True), listens("inner", "/p/q/"))
    assert gateway.fetch("/p/x").status == 200
    for path in ("/p/q/x", "/p/%71/x", "/p//q/x", "/p/./q/x", "/p/x/../q/x", "/p/%2e/q/x", "/p/x/%2e%2e/q/x", "/p/q%2fx", "/p%2fq/x"):  # noqa: E501
        assert gateway.fetch(path).status in {301, 400, 401, 404}, path
    assert len(site.upstream.requests) == 1


def test_versions_ask_for_a_key_whichever_is_named(site: Site) -> None:
    versions = {
        "not_versioned": False, "default_version": "v1",
        "versions": {name: {"name": name, "use_extended_paths": True, "extended_paths": paths} for name, paths in (
            ("v1", {}), ("v2", {"ignored": [{"path": "/open", "method_actions": {}}]}))},
    }  # fmt: skip
    gateway = site.gateway(
        keyed("a", site.upstream.url, version_data=versions, definition={"location": "header", "key": "x-v"})
    )
    rights = {"a": {"api_id": "a", "api_name": "a", "versions": ["v1"]}}
    site.put(f"{ORG}first", session(access_rights=rights))
    assert gateway.fetch("/a/open", "x-v: v1").status == 401
    assert gateway.fetch("/a/open", "x-v: v2").status == 200
    assert gateway.fetch("/a/x", "x-v: v2").status == 401
    assert call(gateway, "/a/x", "first", "x-v: v1").status == 200
    assert call(gateway, "/a/x", "first").status == 200
    assert call(gateway, "/a/x", "first", "x-v: v2").status == 403
    assert call(gateway, "/a/x", "first", "x-v: v1", "x-v: v2").status in {200, 403}
    with gateway.connect() as client:       # what one request was allowed says nothing about the next
        client.send(get("/a/open", HOST, "x-v: v2") + get("/a/open", HOST, "x-v: v1") + get("/a/x", HOST, "x-v: v2"))
        assert [client.read().status for _ in range(3)] == [200, 401, 401]


def test_control_paths_and_error_pages_need_no_key_and_open_no_api(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url, proxy={"listen_path": "/"}))
    for path in ("/hello/x", "/hello%2f..%2fx", "/tyk/x", "/tyk/../x", "/ready/../x", "/metrics/x", "//hello", "/x/tyk/rate-limits/"):  # noqa: E501
        assert gateway.fetch(path).status in {301, 400, 401, 403, 404}, path
    assert not site.upstream.requests


def test_waiting_requests_over_the_bound_of_the_store_are_refused_and_counted(site: Site) -> None:
    gateway = site.gateway(
        keyed("a", site.upstream.url), preforge={"workers": 1, "storage": {"max_waiting": 5}}
    )
    site.put(f"{ORG}alice", session("a"))
    wait_for(lambda: call(gateway, "/a/x", "nobody").status == 403, "the store is connected")
    clients = [gateway.connect() for _ in range(20)]
    site.store.pause()
    try:
        for number, client in enumerate(clients):
            client.send(get("/a/x", HOST, f"Authorization: nobody{number}"))
        wait_for(lambda: gateway.metrics()["preforge_store_refused_total"] >= 14, "what is over the bound is refused")
    finally:
        site.store.resume()
    found = [client.read().status for client in clients]
    for client in clients:
        client.sock.close()
    assert set(found) == {403, 503}
    assert 14 <= found.count(503) <= 16
    assert call(gateway, "/a/x", "alice").status == 200


@pytest.mark.parametrize("kind", ["list", "text", "huge", "nested", "array"])
def test_value_in_the_store_that_is_no_session_opens_nothing(site: Site, kind: str) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), preforge={"workers": 1})
    name = f"apikey-{ORG}mykey"
    if kind == "list":
        site.store.ask("RPUSH", name, "x")
    else:
        values = {"text": b"true", "huge": b'{"tags":["' + b"x" * 20_000_000 + b'"]}', "nested": b"[" * 100_000, "array": b"[{}]"}  # noqa: E501
        site.store.ask("SET", name, values[kind])
    site.put(f"{ORG}alice", session("a"))
    assert call(gateway, "/a/x", "mykey").status == 403
    assert call(gateway, "/a/x", "alice").status == 200
