"""Scripts and the cache: virtual endpoints are cached, response hooks come before it, post hooks behind it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.cache.cache_support import caching, hit, stored, wire_of
from tests.support.gateway import Gateway, Json, merge
from tests.support.site import Site
from tests.support.upstream import Connection, Seen, head, reply

MIDDLEWARE = "var mw = new TykJS.TykMiddleware.NewMiddleware({});\n"
POST = "mw.NewProcessRequest(function(request, session) { %s return mw.ReturnData(request, session.meta_data); });"
RESPONSE = (
    "mw.NewProcessResponse(function(response, request, session) { %s return mw.ReturnResponseData(response, {}); });"
)


def virtual(path: str, code: str, **more: object) -> Json:
    """One entry; its script tells the upstream of every call."""
    name = path.strip("/")
    told = (
        f'TykMakeHttpRequest(JSON.stringify({{Method: "GET", Domain: config.config_data.up, Resource: "/called/{name}"}}));'
    )
    text = f"function {name}(request, session, config) {{ {told} {code} }}"
    source = base64.b64encode(text.encode()).decode()
    entry = {"response_function_name": name, "function_source_type": "blob", "function_source_uri": source}
    return {**entry, "path": path, "method": "GET", **more}


@pytest.fixture(scope="module")
def gateway(shared_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    target = shared_site.upstream.url
    folder: Path = tmp_path_factory.mktemp("hooks")
    virtuals = [
        virtual("/good", 'return TykJsResponse({Body: "said", Headers: {"X-A": "b"}, Code: 202}, {});'),
        virtual("/control", 'return TykJsResponse({Body: "x", Headers: {"X-Tyk-Cache-Action-Set": "1"}, Code: 200}, {});'),
        virtual("/fails", 'throw new Error("no");'),
        virtual("/odd", "return 5;"),
        virtual("/passes", 'throw new Error("no");', proxy_on_error=True),
    ]
    extended: Json = {"version": {"use_extended_paths": True, "extended_paths": {"virtual": virtuals}}}
    data: Json = {"config_data": {"up": target}}

    def hook(name: str, text: str) -> Json:
        path = folder / f"{name}.js"
        path.write_text(MIDDLEWARE + text)
        return {"name": "mw", "path": str(path)}

    post = hook("post", POST % 'request.SetHeaders["X-Post"] = "1";')
    said = 'request.ReturnOverrides.ResponseCode = 200; request.ReturnOverrides.ResponseError = "mine";'
    speaks = hook("speaks", POST % 'request.SetHeaders["Accept-Language"] = request.Headers["X-Person"][0];')
    answers = hook("answers", POST % said)
    refuses = hook("refuses", POST % "request.ReturnOverrides.ResponseCode = 403;")
    response = hook("response", RESPONSE % 'response.Body = response.Body + "+hook"; response.SetHeaders["X-Hook"] = "1";')
    broken = hook("broken", RESPONSE % 'throw new Error("no");')
    return shared_site.gateway(
        merge(caching("virtual", target, **extended), data),
        merge(caching("control", target, options={"enable_upstream_cache_control": True}, **extended), data),
        caching("post", target, custom_middleware={"post": [post]}),
        caching("speaks", target, custom_middleware={"post": [speaks]}),
        caching("answers", target, custom_middleware={"post": [answers]}),
        caching("refuses", target, custom_middleware={"post": [refuses]}),
        caching("response", target, custom_middleware={"response": [response]}),
        caching("broken", target, custom_middleware={"response": [broken]}),
        enable_jsvm=True,
    )


def calls(site: Site, name: str) -> int:
    """How often a virtual endpoint has run, twice in a row."""
    found = site.upstream.seen(f"/called/{name}")
    count = len(found)
    for seen in found:
        site.upstream.requests.remove(seen)
    return count


def test_a_virtual_endpoint_does_not_run_for_an_answer_that_is_kept(gateway: Gateway, shared_site: Site) -> None:
    first, second = gateway.fetch("/virtual/good"), gateway.fetch("/virtual/good")
    assert (hit(first), hit(second)) == (False, True)
    assert (second.status, second.body, second.get("X-A"), second.get("Server")) == (202, b"said", "b", first.get("Server"))
    assert calls(shared_site, "good") == 1


def test_a_virtual_endpoint_controls_what_is_kept(gateway: Gateway, shared_site: Site) -> None:
    assert [hit(gateway.fetch("/control/control")) for _ in range(2)] == [False, True]
    assert [hit(gateway.fetch("/control/good")) for _ in range(2)] == [False, False]
    assert (calls(shared_site, "control"), calls(shared_site, "good")) == (1, 2)


@pytest.mark.parametrize("name", ["fails", "odd"])
def test_a_virtual_endpoint_that_fails_is_run_again(gateway: Gateway, shared_site: Site, name: str) -> None:
    for _ in range(2):
        answer = gateway.fetch(f"/virtual/{name}")
        assert (hit(answer), answer.status) == (False, 500)
    assert calls(shared_site, name) == 2


def test_what_the_upstream_answers_in_its_place_is_kept(gateway: Gateway, shared_site: Site) -> None:
    first, second = gateway.fetch("/virtual/passes"), gateway.fetch("/virtual/passes")
    assert (hit(first), hit(second)) == (False, True)
    assert json.loads(second.body)["target"] == "/passes"
    assert calls(shared_site, "passes") == 1


def test_post_hooks_do_not_run_for_a_hit_and_see_every_miss(gateway: Gateway, shared_site: Site) -> None:
    assert [hit(gateway.fetch("/post/a")) for _ in range(2)] == [False, True]
    (seen,) = shared_site.upstream.seen("/a")
    assert seen.get("X-Post") == "1"


def test_an_answer_that_varies_by_what_a_hook_has_made_of_the_request_is_not_kept(gateway: Gateway, shared_site: Site) -> None:
    def languages(connection: Connection, seen: Seen) -> bool:
        body = (seen.get("Accept-Language") or "none").encode()
        connection.send(head("200 OK", f"Content-Length: {len(body)}", "Vary: Accept-Language") + body)
        return True

    shared_site.upstream.on("/person", languages)
    for lines in (("X-Person: de",), ("X-Person: fr", "Accept-Language: de"), ("X-Person: it",)):
        assert gateway.fetch("/speaks/person", *lines).body == lines[0][-2:].encode()
    same = [gateway.fetch("/speaks/person", "X-Person: de", "Accept-Language: de") for _ in range(2)]
    assert [(hit(one), one.body) for one in same] == [(False, b"de"), (True, b"de")]


def test_what_a_post_hook_answers_is_kept_and_what_it_refuses_is_not(gateway: Gateway) -> None:
    found = [gateway.fetch("/answers/a") for _ in range(2)]
    assert [(hit(one), one.status, one.body) for one in found] == [(False, 200, b"mine"), (True, 200, b"mine")]
    refused = [gateway.fetch("/refuses/a") for _ in range(2)]
    assert [(hit(one), one.status) for one in refused] == [(False, 403), (False, 403)]


def test_what_a_response_hook_has_made_is_kept_and_it_runs_once(gateway: Gateway, shared_site: Site) -> None:
    shared_site.upstream.on("/hooked", reply(head("200 OK", "Content-Length: 4") + b"text"))
    found = [gateway.fetch("/response/hooked") for _ in range(2)]
    assert [(hit(one), one.body, one.get("X-Hook")) for one in found] == [
        (False, b"text+hook", "1"),
        (True, b"text+hook", "1"),
    ]
    (name,) = stored(shared_site.store, "response")
    assert wire_of(shared_site.store.ask("GET", name)).endswith(b"\r\n\r\ntext+hook")


def test_an_answer_whose_response_hook_fails_is_not_kept(gateway: Gateway, shared_site: Site) -> None:
    assert [gateway.fetch("/broken/a").status for _ in range(2)] == [500, 500]
    assert stored(shared_site.store, "broken") == []
