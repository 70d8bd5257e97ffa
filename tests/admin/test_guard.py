"""Who does not know the secret administers nothing, whatever the path, the port or the header looks like."""

from __future__ import annotations

import contextlib
import json

import pytest

from core.admin.routes import ROUTES
from tests.support.gateway import Gateway, api, free_port
from tests.support.keys import keyed, session
from tests.support.site import SECRET, Site, manage
from tests.support.tls import Authority
from tests.support.wire import Client, Response, WireError, fetch, get

FORBIDDEN = {"status": "error", "message": "Attempted administrative access with invalid or missing key!"}
OPERATIONS = [(route.method, "/tyk/" + route.path.replace("{", "").replace("}", "")) for route in ROUTES]
HEADER = f"X-Tyk-Authorization: {SECRET}"
UNKNOWN = ("/tyk/nothing", "/tyk/keys/a/b/c", "/tyk/")


@pytest.fixture(scope="module")
def gateway(shared_site: Site) -> Gateway:
    return shared_site.gateway(keyed("a", shared_site.upstream.url), api("root", "/", shared_site.upstream.url))


@pytest.fixture(scope="module")
def apart(shared_site: Site) -> tuple[Gateway, tuple[str, int]]:
    """A gateway that is administered on a port of its own, and that port."""
    port = free_port()
    return shared_site.gateway(api("root", "/", shared_site.upstream.url), control_api_port=port), ("127.0.0.1", port)


def refused(answer: Response) -> bool:
    return answer.status == 403 and json.loads(answer.body) == FORBIDDEN


def all_refused(address: tuple[str, int], *lines: str) -> list[str]:
    """The operations that are not refused with these header lines."""
    opened = []
    body = json.dumps(session("a")).encode()
    for method, target in [*OPERATIONS, *(("GET", path) for path in UNKNOWN), ("HEAD", "/tyk/keys")]:
        answer = fetch(address, target, *lines, method=method, body=body if method in ("POST", "PUT") else None)
        if not (answer.status == 403 if method == "HEAD" else refused(answer)):
            opened.append(f"{method} {target}: {answer.status}")
    return opened


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("X-Tyk-Authorization:",),
        ("X-Tyk-Authorization: wrong",),
        (f"X-Tyk-Authorization: {SECRET}x",),
        (f"X-Tyk-Authorization: {SECRET[:-1]}",),
        (f"X-Tyk-Authorization: {SECRET.upper()}",),
        (f"X-Tyk-Authorization: Bearer {SECRET}",),
        (f"X-Tyk-Authorization: {SECRET}, {SECRET}",),
        (f"Authorization: {SECRET}",),
        ("X-Tyk-Authorization: wrong", HEADER),
        (HEADER, "X-Tyk-Authorization: wrong"),
        (HEADER, HEADER),
        ("X-Tyk-Authorization:", HEADER),
        ("X-Tyk-Authorization: \xe9\xff",),
    ],
)
def test_no_operation_answers_without_the_one_right_secret(
    gateway: Gateway, apart: tuple[Gateway, tuple[str, int]], lines: tuple[str, ...]
) -> None:
    assert all_refused(gateway.address, *lines) == []
    assert all_refused(apart[1], *lines) == []


STRANGE = ["/tyk/keys", "/tyk/debug", "/tyk/nothing", "/tyk/openapi.json", "/hello", "/ready", "/metrics"]


@pytest.mark.parametrize("target", STRANGE)
@pytest.mark.parametrize("expects", [True, False])
def test_strangers_cannot_fill_the_memory_with_bodies(gateway: Gateway, target: str, expects: bool) -> None:
    """They are answered before a byte of their body has come."""
    lines = ["Content-Length: 9000000", *(["Expect: 100-continue"] if expects else [])]
    with gateway.connect() as client:
        answer = client.send(get(target, "gateway.test", *lines, method="POST")).read()
    assert answer.status == {"/hello": 405, "/ready": 405, "/metrics": 200}.get(target, 403)


def test_who_knows_the_secret_is_asked_for_the_body(gateway: Gateway) -> None:
    body = json.dumps(session("a")).encode()
    lines = (HEADER, f"Content-Length: {len(body)}", "Expect: 100-continue")
    with gateway.connect() as client:
        client.send(get("/tyk/keys/preview", "gateway.test", *lines, method="POST"))
        assert client.read_head().status == 100
        assert client.send(body).read().status == 200
        assert client.send(get("/tyk/keys", "gateway.test", HEADER)).read().status == 200


def test_nothing_was_changed_by_what_was_refused(gateway: Gateway) -> None:
    assert sorted(path.name for path in gateway.apps.iterdir()) == ["a.json", "root.json"]
    assert json.loads(manage(gateway, "GET", "/tyk/keys").body)["keys"] == []


def test_an_empty_secret_in_the_configuration_opens_nothing(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), secret="")
    for lines in ((), ("X-Tyk-Authorization:",), (HEADER,), ("X-Tyk-Authorization: 352d20ee67be67f6340b4c0605b044b7",)):
        assert all_refused(gateway.address, *lines) == [], lines


SPELLINGS = {
    "//tyk/keys": "/tyk/keys",
    "/tyk//keys": "/tyk/keys",
    "/tyk/./keys": "/tyk/keys",
    "/tyk/../tyk/keys": "/tyk/keys",
    "/x/../tyk/keys": "/tyk/keys",
    "/tyk/keys//": "/tyk/keys/",
    "/tyk/x/%2e%2e/keys": "/tyk/keys",
    "/hello/../tyk/keys": "/tyk/keys",
    "/ready/..%2ftyk/keys": "/tyk/keys",
    "/a/../tyk/keys": "/tyk/keys",
    "/tyk/openapi.json/../keys": "/tyk/keys",
    "http://gateway.test//tyk/keys": "/tyk/keys",
}


@pytest.mark.parametrize("target", SPELLINGS)
def test_unclean_paths_lead_nowhere_but_to_the_clean_one(shared_site: Site, gateway: Gateway, target: str) -> None:
    before = len(shared_site.upstream.requests)
    for lines in ((), (HEADER,)):
        answer = gateway.fetch(target, *lines)
        assert (answer.status, answer.get("Location"), answer.body) == (301, SPELLINGS[target], b"")
    assert len(shared_site.upstream.requests) == before, "the path went to an API"


@pytest.mark.parametrize(
    "target",
    [
        "/tyk/keys/",
        "/tyk/%6beys",
        "/%74yk/keys",
        "/tyk%2fkeys",
        "/tyk%2Fkeys",
        "/tyk/openapi.json/",
        "/tyk/openapi.json/x",
        "/tyk/keys?x=/tyk/openapi.json",
        "/tyk/keys;a=b",
        "http://gateway.test/tyk/keys",
    ],
)
def test_no_spelling_of_a_path_gets_around_the_secret(shared_site: Site, gateway: Gateway, target: str) -> None:
    before = len(shared_site.upstream.requests)
    answer = gateway.fetch(target)
    assert refused(answer), (answer.status, answer.body[:200])
    assert len(shared_site.upstream.requests) == before, "the path went to an API"


def test_paths_that_are_not_cleaned_open_nothing_either(site: Site) -> None:
    gateway = site.gateway(api("root", "/", site.upstream.url), http_server_options={"skip_url_cleaning": True})
    for target in [*SPELLINGS, "/tyk/keys", "/tyk/keys/"]:
        answer = gateway.fetch(target)
        assert refused(answer) or json.loads(answer.body)["target"], (target, answer)


@pytest.mark.parametrize("target", ["/TYK/keys", "/Tyk/keys", "/tykx/keys", "/tyk", "/tyk%00/keys", "/tyk%252fkeys"])
def test_paths_of_apis_beside_the_prefix_show_nothing_of_the_gateway(gateway: Gateway, target: str) -> None:
    answer = gateway.fetch(target, HEADER)
    assert answer.status in (200, 400), answer
    assert b'"keys"' not in answer.body
    if answer.status == 200:
        assert json.loads(answer.body)["target"].startswith("/")


@pytest.mark.parametrize("target", ["/tyk/keys/", "/tyk/%6beys", "/tyk%2fkeys"])
def test_with_the_secret_the_same_spellings_mean_the_same(gateway: Gateway, target: str) -> None:
    assert json.loads(manage(gateway, "GET", target).body) == {"keys": []}


def test_invalid_paths_are_refused_and_the_connection_goes_on(gateway: Gateway) -> None:
    with gateway.connect() as client:
        for target in ("/tyk/keys/%ff%fe", "/tyk/keys/%C0%AF", "/tyk/apis/%ed%a0%80"):
            answer = client.send(get(target, "gateway.test", HEADER)).read()
            assert (answer.status, json.loads(answer.body)["status"]) == (400, "error"), target
        assert client.send(get("/tyk/keys", "gateway.test", HEADER)).read().status == 200


def test_wrong_methods_are_told_which_are_right(gateway: Gateway) -> None:
    for method, target, allowed in (
        ("PUT", "/tyk/apis", "GET, POST"),
        ("POST", "/tyk/reload", "GET"),
        ("GET", "/tyk/keys/policy/x", "POST"),
        ("TRACE", "/tyk/keys/x", "GET, POST, PUT, DELETE"),
        ("get", "/tyk/keys", "GET, POST"),
        ("POST", "/tyk/openapi.json", "GET"),
    ):
        answer = manage(gateway, method, target)
        assert (answer.status, answer.get("Allow")) == (405, allowed), (method, target)
        assert json.loads(answer.body) == {"status": "error", "message": "Method not supported"}
    answer = manage(gateway, "GET", "/tyk/nothing")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


def test_a_port_for_control_serves_no_api_and_the_other_port_no_control(
    shared_site: Site, apart: tuple[Gateway, tuple[str, int]]
) -> None:
    gateway, control = apart
    before = len(shared_site.upstream.requests)
    for target in ("/", "/x", "/tyk", "/root/"):
        assert fetch(control, target, HEADER).status == 404, target
    assert len(shared_site.upstream.requests) == before
    for target in ("/hello", "/ready", "/metrics", "/tyk/openapi.json"):
        assert fetch(control, target).status == 200, target
    assert fetch(control, "/tyk/apis", HEADER).status == 200
    for target in ("/hello", "/ready", "/metrics", "/tyk/openapi.json", "/tyk/apis"):
        answer = gateway.fetch(target, HEADER)
        assert json.loads(answer.body)["target"] == target, "the main port must give this path to the API"


def test_the_secret_does_not_travel_in_clear_text_where_tls_is_on(site: Site) -> None:
    authority = Authority(site.directory / "ca")
    certificate, key = authority.files("gw.test")
    port = free_port()
    control = ("127.0.0.1", port)
    gateway = Gateway(
        site.directory / "tls",
        [api("root", "/", site.upstream.url)],
        {
            "storage": {"type": "redis", "host": "127.0.0.1", "port": site.store.port},
            "control_api_port": port,
            "http_server_options": {
                "use_ssl": True,
                "certificates": [{"domain_name": "gw.test", "cert_file": str(certificate), "key_file": str(key)}],
            },
        },
    )
    site.gateways.append(gateway)

    def over_tls() -> bool:
        with contextlib.suppress(OSError, WireError):
            return fetch(control, "/hello", tls=authority.client(), name="gw.test").status == 200
        return False

    gateway.start(over_tls)
    assert fetch(control, "/tyk/apis", HEADER, tls=authority.client(), name="gw.test").status == 200
    for address in (control, gateway.address):
        with Client(address) as client:
            client.send(get("/tyk/apis", "gateway.test", HEADER))
            assert not client.rest().startswith(b"HTTP/1.1 200")


def test_a_port_for_control_does_not_hide_the_number_of_apis(apart: tuple[Gateway, tuple[str, int]]) -> None:
    text = fetch(apart[1], "/metrics").body.decode()
    assert "preforge_apis 1\n" in text, [line for line in text.splitlines() if "apis" in line]


def test_a_new_secret_replaces_the_old_one_at_a_reload(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    conf = {**gateway.conf, "secret": "another-secret"}
    gateway.conf_path.write_text(json.dumps(conf))
    assert manage(gateway, "GET", "/tyk/reload?block=true").status == 200
    assert refused(manage(gateway, "GET", "/tyk/apis"))
    assert gateway.fetch("/tyk/apis", "X-Tyk-Authorization: another-secret").status == 200
