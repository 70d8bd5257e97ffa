"""Whether the gateway lives, is ready and tells the truth about its store."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway, api, free_port, running, wait_for
from tests.support.keys import keyed
from tests.support.site import Site, manage
from tests.support.wire import Response, get

OFTEN = {"liveness_check": {"check_duration": 100_000_000}}


@pytest.fixture(scope="module")
def gateway(shared_site: Site) -> Gateway:
    return shared_site.gateway(keyed("a", shared_site.upstream.url), health_check={"enable_health_checks": True}, **OFTEN)


def json_of(answer: Response, status: int = 200) -> Any:
    assert answer.status == status, (answer.status, answer.body)
    assert answer.get("Content-Type") == "application/json"
    return json.loads(answer.body)


def state(gateway: Gateway, target: str = "/hello") -> Any:
    return json.loads(gateway.fetch(target).body)


@pytest.mark.parametrize(("target", "description"), [("/hello", "Preforge"), ("/ready", "Preforge Ready")])
def test_a_gateway_that_works_says_so_without_a_secret(gateway: Gateway, target: str, description: str) -> None:
    wait_for(lambda: "details" in state(gateway, target), "the first probe")
    body = json_of(gateway.fetch(target))
    assert (body["status"], body["description"]) == ("pass", description)
    assert set(body) == {"status", "version", "description", "details"}
    redis = body["details"]["redis"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", redis.pop("time"))
    assert redis == {"status": "pass", "componentType": "datastore"}


@pytest.mark.parametrize("target", ["/hello", "/ready"])
def test_other_methods_are_refused(gateway: Gateway, target: str) -> None:
    for method in ("POST", "PUT", "DELETE"):
        answer = gateway.fetch(target, method=method, body=b"x")
        assert json_of(answer, 405) == {"status": "error", "message": "Method Not Allowed"}


def test_longer_paths_are_no_health_checks(gateway: Gateway) -> None:
    assert [gateway.fetch(path).status for path in ("/hello/x", "/hellox", "/ready/x", "/Hello")] == [404] * 4


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_store_that_fails_is_reported_and_its_return_too(site: Site, how: str) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), storage={"timeout": 1}, **OFTEN)
    wait_for(lambda: gateway.fetch("/ready").status == 200, "the first probe")
    if how == "killed":
        site.store.kill()
    else:
        site.store.pause()
    wait_for(lambda: gateway.fetch("/ready").status == 503, "the report")
    away = {"status": "error", "message": "Redis connection not available"}
    assert json_of(gateway.fetch("/ready"), 503) == away
    body = json_of(gateway.fetch("/hello"))
    assert (body["status"], body["details"]["redis"]["status"]) == ("fail", "fail")
    assert body["details"]["redis"]["output"]
    assert str(site.store.port) not in json.dumps(body), "where the store is concerns no stranger"
    if how == "killed":
        site.store.start()
    else:
        site.store.resume()
    wait_for(lambda: gateway.fetch("/ready").status == 200, "the recovery")
    assert state(gateway)["status"] == "pass"
    assert "output" not in state(gateway)["details"]["redis"]


def test_a_store_that_cannot_be_written_is_not_ready(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), **OFTEN)
    wait_for(lambda: gateway.fetch("/ready").status == 200, "the first probe")
    site.store.ask("CONFIG", "SET", "maxmemory", "1")
    wait_for(lambda: gateway.fetch("/ready").status == 503, "the report")
    site.store.ask("CONFIG", "SET", "maxmemory", "0")
    wait_for(lambda: gateway.fetch("/ready").status == 200, "the recovery")


def test_a_gateway_that_starts_without_its_store_lives_but_is_not_ready(tmp_path: Path) -> None:
    storage = {"type": "redis", "host": "127.0.0.1", "port": free_port()}
    with running(tmp_path / "run", [api("open", "/open/", "http://127.0.0.1:1")], {"storage": storage, **OFTEN}) as gateway:
        wait_for(lambda: "details" in state(gateway), "the first probe")
        assert state(gateway)["status"] == "fail"
        assert gateway.fetch("/ready").status == 503


def test_a_gateway_that_is_about_to_stop_is_not_ready(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), graceful_shutdown_timeout_duration=5, **OFTEN)
    wait_for(lambda: gateway.fetch("/ready").status == 200, "the first probe")
    assert gateway.process is not None
    with gateway.connect() as client:
        # A request that has begun keeps the connection while the gateway stops.
        whole = get("/ready")
        client.send(whole[:10])
        gateway.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "drain" in gateway.log().lower() or "stop" in gateway.log().lower(), "the stop")
        wait_for(lambda: not listens(gateway), "the end of listening")
        answer = client.send(whole[10:]).read()
    assert json_of(answer, 503) == {"status": "error", "message": "Gateway is shutting down"}


def listens(gateway: Gateway) -> bool:
    try:
        gateway.connect().sock.close()
    except OSError:
        return False
    return True


def test_the_paths_are_those_of_the_configuration(site: Site) -> None:
    names = {"health_check_endpoint_name": "alive", "readiness_check_endpoint_name": "set"}
    storage = {"type": "redis", "host": "127.0.0.1", "port": site.store.port}
    gateway = Gateway(site.directory / "named", [], {"storage": storage, **names, **OFTEN})
    site.gateways.append(gateway)
    gateway.start(lambda: listens(gateway))
    assert [gateway.fetch(path).status for path in ("/alive", "/hello", "/ready")] == [200, 404, 404]
    wait_for(lambda: gateway.fetch("/set").status == 200, "the first probe")


def test_numbers_of_an_api_are_refused_with_the_reason(gateway: Gateway, site: Site) -> None:
    def error(node: Gateway, target: str) -> tuple[int, str]:
        answer = manage(node, "GET", target)
        return answer.status, json.loads(answer.body)["message"]

    assert error(gateway, "/tyk/health") == (400, "missing api_id parameter")
    assert error(gateway, "/tyk/health?api_id=absent") == (404, "API ID not found")
    off = site.gateway(keyed("a", site.upstream.url))
    assert error(off, "/tyk/health?api_id=a") == (400, "Health checks are not enabled for this node")
