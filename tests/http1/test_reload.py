"""Definitions that come, change, go or break while the gateway serves."""

from __future__ import annotations

import threading

import pytest

from tests.conftest import Start
from tests.support.gateway import Gateway, api, wait_for
from tests.support.upstream import Connection, Seen, Upstream, echo
from tests.support.wire import get


@pytest.fixture
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """Two workers, two APIs."""
    return start([api("kept", "/kept/", upstream.url), api("other", "/other/", upstream.url)], {"preforge": {"workers": 2}})


def everywhere(gateway: Gateway, target: str, status: int) -> bool:
    """Whether both workers answer with a status: twenty connections meet both, with near certainty."""
    return all(gateway.fetch(target).status == status for _ in range(20))


def test_reload_adds_changes_and_removes(gateway: Gateway, upstream: Upstream) -> None:
    """On every worker; what did not change goes on."""
    gateway.write_api(api("added", "/added/", upstream.url))
    gateway.write_api(api("other", "/moved/", upstream.url))
    assert gateway.fetch("/added/x").status == 404
    gateway.reload()
    wait_for(lambda: everywhere(gateway, "/added/x", 200), "the new API answers")
    wait_for(lambda: everywhere(gateway, "/moved/x", 200), "the changed API answers")
    assert everywhere(gateway, "/other/x", 404)
    assert everywhere(gateway, "/kept/x", 200)
    (gateway.apps / "added.json").unlink()
    gateway.reload()
    wait_for(lambda: everywhere(gateway, "/added/x", 404), "the removed API is gone")


def test_broken_definition_keeps_its_previous_version(gateway: Gateway, upstream: Upstream) -> None:
    """The others are loaded, the broken one goes on as it was, and the log names the file."""
    (gateway.apps / "kept.json").write_text('{"api_id": "kept", "proxy": {"listen_path": ')
    gateway.write_api(api("fresh", "/fresh/", upstream.url))
    gateway.reload()
    wait_for(lambda: everywhere(gateway, "/fresh/x", 200), "the good definition is loaded")
    assert everywhere(gateway, "/kept/x", 200)
    assert "kept.json" in gateway.log()


def test_wrong_type_keeps_the_previous_version(gateway: Gateway, upstream: Upstream) -> None:
    """And the log names the field."""
    definition = api("kept", "/kept/", upstream.url)
    definition["proxy"]["listen_path"] = 7
    gateway.write_api(definition)
    gateway.write_api(api("fresh", "/fresh/", upstream.url))
    gateway.reload()
    wait_for(lambda: everywhere(gateway, "/fresh/x", 200), "the good definition is loaded")
    assert everywhere(gateway, "/kept/x", 200)
    assert "proxy.listen_path" in gateway.log()


def test_request_in_flight_ends_on_the_old_plan(gateway: Gateway, upstream: Upstream) -> None:
    """A reload cuts nothing off, not even the connection of a removed API."""
    release = threading.Event()

    def held(connection: Connection, seen: Seen) -> bool:
        release.wait(20)
        return echo(connection, seen)

    upstream.on("/in-flight", held)
    with gateway.connect() as client:
        client.send(get("/other/in-flight"))
        wait_for(lambda: upstream.seen("/in-flight"), "the request is in flight")
        (gateway.apps / "other.json").unlink()
        gateway.reload()
        wait_for(lambda: everywhere(gateway, "/other/x", 404), "the API is gone")
        release.set()
        assert client.read().status == 200
        assert client.send(get("/kept/x")).read().status == 200


def test_reload_over_http_waits_for_the_workers(gateway: Gateway, upstream: Upstream) -> None:
    """GET /tyk/reload?block=true with the secret; without it the door is closed."""
    gateway.write_api(api("blocked", "/blocked/", upstream.url))
    assert gateway.fetch("/tyk/reload?block=true").status == 403
    answer = gateway.fetch("/tyk/reload?block=true", "X-Tyk-Authorization: test-secret")
    assert answer.status == 200
    assert everywhere(gateway, "/blocked/x", 200)


def refused(gateway: Gateway) -> bool:
    """Whether a new connection is refused by the kernel, at once: nobody is left waiting in a queue."""
    try:
        gateway.connect().sock.close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigterm_lets_a_request_finish(gateway: Gateway, upstream: Upstream) -> None:
    """Drain, then stop with 0; the last answer says that the connection ends."""
    release = threading.Event()

    def held(connection: Connection, seen: Seen) -> bool:
        release.wait(20)
        return echo(connection, seen)

    upstream.on("/last", held)
    with gateway.connect() as client:
        client.send(get("/kept/last"))
        wait_for(lambda: upstream.seen("/last"), "the request is in flight")
        stopper = threading.Thread(target=gateway.stop)
        stopper.start()
        wait_for(lambda: refused(gateway), "new connections are refused")
        release.set()
        answer = client.read()
        assert answer.status == 200
        assert answer.closes
        client.expect_end()
        stopper.join(20)
        assert not stopper.is_alive()
