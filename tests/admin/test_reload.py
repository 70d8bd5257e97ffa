"""Reloads on request: whole on all workers or not at all, and what was served before goes on."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import Any

import pytest

from core.sessions.notifications import CHANNEL
from tests.admin.answers import reload
from tests.admin.everywhere import everywhere
from tests.support.gateway import Gateway, api, wait_for
from tests.support.site import SECRET, Site, manage
from tests.support.wire import get

DONE = {"status": "ok", "message": ""}


@pytest.fixture(scope="module")
def nodes(shared_site: Site) -> list[Gateway]:
    """Two nodes with one store, and definitions of their own; the first has two workers."""
    url = shared_site.upstream.url
    return [shared_site.gateway(api("base", "/base/", url), preforge={"workers": workers}) for workers in (2, 1)]


@pytest.fixture
def gateway(nodes: list[Gateway]) -> Gateway:
    return nodes[0]


def statuses(gateway: Gateway, target: str) -> set[int]:
    return {answer.status for answer in everywhere(gateway, target)}


def count(gateway: Gateway) -> float:
    """Reloads of all workers."""
    return gateway.counters("preforge_reloads_total")


def test_an_answer_that_waited_is_true_on_every_worker(gateway: Gateway, shared_site: Site) -> None:
    for turn in range(5):
        gateway.write_api(api("turn", f"/turn{turn}/", shared_site.upstream.url))
        answer = manage(gateway, "GET", "/tyk/reload?block=true")
        assert (answer.status, json.loads(answer.body)) == (200, DONE)
        assert statuses(gateway, f"/turn{turn}/x") == {200}
        assert statuses(gateway, f"/turn{turn - 1}/x") == {404}


@pytest.mark.parametrize("query", ["", "?block=false", "?block=1", "?block="])
def test_an_answer_that_did_not_wait_is_followed_by_the_reload(gateway: Gateway, shared_site: Site, query: str) -> None:
    name = f"later{len(query)}"
    gateway.write_api(api(name, f"/{name}/", shared_site.upstream.url))
    answer = manage(gateway, "GET", f"/tyk/reload{query}")
    assert (answer.status, json.loads(answer.body)) == (200, DONE)
    wait_for(lambda: statuses(gateway, f"/{name}/x") == {200}, "the reload")


def test_many_reloads_at_once_are_all_answered(gateway: Gateway, shared_site: Site) -> None:
    gateway.write_api(api("many", "/many/", shared_site.upstream.url))
    found: list[int] = []
    before = count(gateway)
    threads = [
        threading.Thread(target=lambda: found.append(manage(gateway, "GET", "/tyk/reload?block=true").status))
        for _ in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 24
    assert statuses(gateway, "/many/x") == {200}
    assert 2 <= count(gateway) - before < 2 * 24, "those that came together are served together"


def test_the_reload_goes_on_when_the_client_goes_away(gateway: Gateway, shared_site: Site) -> None:
    gateway.write_api(api("alone", "/alone/", shared_site.upstream.url))
    client = gateway.connect()
    client.send(get("/tyk/reload?block=true", "gateway.test", f"X-Tyk-Authorization: {SECRET}"))
    client.reset()
    wait_for(lambda: statuses(gateway, "/alone/x") == {200}, "the reload")


def test_a_broken_definition_keeps_its_old_form_and_holds_up_no_other(gateway: Gateway, shared_site: Site) -> None:
    path = gateway.write_api(api("frail", "/frail/", shared_site.upstream.url))
    reload(gateway)
    path.write_text('{"api_id": "frail", ')
    gateway.write_api(api("sound", "/sound/", shared_site.upstream.url))
    reload(gateway)
    assert statuses(gateway, "/frail/x") == statuses(gateway, "/sound/x") == {200}
    assert "frail.json" in gateway.log()
    path.unlink()
    reload(gateway)
    assert statuses(gateway, "/frail/x") == {404}


def test_a_broken_configuration_is_a_clear_error_and_everything_goes_on(gateway: Gateway) -> None:
    good = gateway.conf_path.read_text()
    before = gateway.counters("preforge_reload_failures_total")
    gateway.conf_path.write_text(good[:-2])
    answer = manage(gateway, "GET", "/tyk/reload?block=true")
    body = json.loads(answer.body)
    assert (answer.status, body["status"]) == (500, "error")
    assert str(gateway.conf_path) in body["message"]
    wait_for(lambda: gateway.counters("preforge_reload_failures_total") == before + 2, "both workers to count it")
    assert statuses(gateway, "/base/x") == {200}
    gateway.conf_path.write_text(good)
    reload(gateway)


def test_definitions_that_cannot_be_listed_are_a_clear_error_and_everything_goes_on(gateway: Gateway) -> None:
    moved = gateway.apps.rename(gateway.apps.with_name("elsewhere"))
    answer = manage(gateway, "GET", "/tyk/reload?block=true")
    assert answer.status == 500
    assert str(gateway.apps) in json.loads(answer.body)["message"]
    assert statuses(gateway, "/base/x") == {200}
    assert len(json.loads(manage(gateway, "GET", "/tyk/apis").body)) > 1
    moved.rename(gateway.apps)
    reload(gateway)


def test_a_group_reload_reaches_every_node(nodes: list[Gateway], shared_site: Site) -> None:
    for sender, name in ((nodes[0], "one"), (nodes[1], "two")):
        for node in nodes:
            node.write_api(api(name, f"/{name}/", shared_site.upstream.url))
        answer = manage(sender, "GET", "/tyk/reload/group")
        assert (answer.status, json.loads(answer.body)) == (200, DONE)
        for node in nodes:
            wait_for(lambda node=node, name=name: statuses(node, f"/{name}/x") == {200}, "the reload")  # type: ignore[misc]


def notification(command: str, payload: str = "", secret: str = SECRET) -> str:
    signature = hashlib.sha256(f"{command}{payload}{secret}".encode()).hexdigest()
    return json.dumps({"command": command, "payload": payload, "signature": signature, "algorithm": 5})


def test_only_notifications_that_are_signed_cause_a_reload(nodes: list[Gateway], shared_site: Site) -> None:
    node = nodes[1]
    good: dict[str, Any] = json.loads(notification("GroupReload"))
    refused = [
        "nonsense",
        "[]",
        '{"command": 5}',
        notification("GroupReload", secret="another"),
        json.dumps({**good, "signature": ""}),
        json.dumps({**good, "algorithm": 0}),
        json.dumps({**good, "command": "ApiUpdated"}),
    ]
    before, known = count(node), node.counters("preforge_notifications_refused_total")
    for message in refused:
        assert shared_site.store.ask("PUBLISH", CHANNEL, message) > 0
    wait_for(lambda: node.counters("preforge_notifications_refused_total") - known == len(refused), "the refusals")
    assert count(node) == before
    for command in ("ApiUpdated", "ApiRemoved", "ApiAdded", "PolicyChanged", "GroupReload"):
        before = count(node)
        shared_site.store.ask("PUBLISH", CHANNEL, notification(command))
        wait_for(lambda before=before: count(node) > before, f"the reload after {command}")  # type: ignore[misc]


def test_a_group_reload_without_the_store_is_a_clear_error_and_works_after_its_return(site: Site) -> None:
    gateway = site.gateway(api("base", "/base/", site.upstream.url))
    site.store.kill()
    gateway.write_api(api("late", "/late/", site.upstream.url))
    answer = manage(gateway, "GET", "/tyk/reload/group")
    body = json.loads(answer.body)
    assert (answer.status, body["status"]) == (503, "error")
    assert body["message"].startswith("The store of keys cannot be reached")
    assert gateway.fetch("/late/x").status == 404
    assert gateway.fetch("/base/x").status == 200
    reload(gateway)
    assert gateway.fetch("/late/x").status == 200, "a reload of this node needs no store"
    gateway.write_api(api("later", "/later/", site.upstream.url))
    site.store.start()
    wait_for(
        lambda: manage(gateway, "GET", "/tyk/reload/group").status == 200 and gateway.fetch("/later/x").status == 200,
        "the reload over the store",
    )
