"""Which API answers, and under which path the upstream sees the request (tyk-core 3.2 and 3.9)."""

from __future__ import annotations

import pytest

from tests.conftest import Start
from tests.support.gateway import Gateway, api
from tests.support.upstream import Upstream
from tests.support.wire import Response, get

STATIC = {"strip_listen_path": False}


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """One API per form of listen path; each adds its name to the request."""
    paths = {
        "root": ("/", "", {}),
        "sample": ("/sample", "", {}),
        "slash": ("/slash/", "", {}),
        "longer": ("/slash/longer/", "", {}),
        "kept": ("/kept/", "", STATIC),
        "joined": ("/joined/", "/up", {}),
        "joined-slash": ("/joined-slash/", "/up/", {}),
        "exact": ("/exact/", "/up/", {"disable_strip_slash": True}),
        "query": ("/query/", "/up?fixed=1", {}),
        "variable": ("/v/{name}/", "", STATIC),
        "pattern": ("/p/{id:[0-9]+}/", "", STATIC),
        "bare": ("bare", "", {}),
    }
    apis = [
        api(name, path, upstream.url + target, proxy=proxy, version={"global_headers": {"X-Api": name}})
        for name, (path, target, proxy) in paths.items()
    ]
    domain = api("domain", "/sample", upstream.url, domain="one.test", version={"global_headers": {"X-Api": "domain"}})
    internal = api("internal", "/internal/", upstream.url, internal=True)
    inactive = api("inactive", "/inactive/", upstream.url, active=False)
    return start([*apis, domain, internal, inactive], {"enable_custom_domains": True})


@pytest.mark.parametrize(
    ("target", "name", "arrives"),
    [
        ("/", "root", "/"),
        ("/x?y=1", "root", "/x?y=1"),
        ("/sample", "sample", "/"),
        ("/sample/x", "sample", "/x"),
        ("/samplefoo", "sample", "/foo"),
        ("/slash/x", "slash", "/x"),
        ("/slash", "root", "/slash"),
        ("/slash/longer/x", "longer", "/x"),
        ("/slash/longe", "slash", "/longe"),
        ("/Slash/x", "root", "/Slash/x"),
        ("/kept/x", "kept", "/kept/x"),
        ("/joined/x", "joined", "/up/x"),
        ("/joined/", "joined", "/up"),
        ("/joined/x/", "joined", "/up/x/"),
        ("/joined-slash/x", "joined-slash", "/up/x"),
        ("/joined-slash/", "joined-slash", "/up"),
        ("/exact/", "exact", "/up/"),
        ("/exact/x", "exact", "/up/x"),
        ("/query/x", "query", "/up/x?fixed=1"),
        ("/query/x?b=2", "query", "/up/x?fixed=1&b=2"),
        ("/v/anything/x", "variable", "/v/anything/x"),
        ("/p/123/x", "pattern", "/p/123/x"),
        ("/p/abc/x", "root", "/p/abc/x"),
        ("/bare/x", "bare", "/x"),
        ("/x%2Fy", "root", "/x%2Fy"),
        ("/x%20y", "root", "/x%20y"),
        ("/%73lash/x", "slash", "/x"),
        ("/internal/x", "root", "/internal/x"),
        ("/inactive/x", "root", "/inactive/x"),
    ],
)
def test_listen_path_chooses_the_api(gateway: Gateway, upstream: Upstream, target: str, name: str, arrives: str) -> None:
    """Longest listen path first; the prefix is a text prefix, not a segment."""
    first = len(upstream.requests)
    assert gateway.fetch(target).status == 200
    [seen] = upstream.requests[first:]
    assert (seen.get("X-Api"), seen.target) == (name, arrives)


@pytest.mark.parametrize(
    ("host", "name"),
    [("one.test", "domain"), ("ONE.test:8080", "domain"), ("two.test", "sample"), ("sub.one.test", "sample")],
)
def test_domain_comes_before_no_domain(gateway: Gateway, upstream: Upstream, host: str, name: str) -> None:
    """The port and the case do not count; an unknown host falls to APIs without a domain."""
    with gateway.connect() as client:
        answer: Response = client.send(get("/sample/host", host)).read()
    assert answer.status == 200
    assert upstream.seen("/host")[-1].get("X-Api") == name


def test_api_id_is_a_path_too(gateway: Gateway, upstream: Upstream) -> None:
    """The listen path is not stripped then (tyk-core 3.2)."""
    assert gateway.fetch("/kept/by-id").status == 200
    assert upstream.seen("/kept/by-id")[-1].get("X-Api") == "kept"


def test_strict_routes_end_at_a_segment(start: Start, upstream: Upstream) -> None:
    """http_server_options.enable_strict_routes."""
    strict = {"http_server_options": {"enable_strict_routes": True}}
    gateway = start([api("strict", "/strict", upstream.url)], strict)
    assert gateway.fetch("/strict").status == 200
    assert gateway.fetch("/strict/x").status == 200
    assert gateway.fetch("/strictx").status == 404
