"""Cached answers are removed for one API, and nothing else is."""

from __future__ import annotations

import json

import pytest

from tests.support.gateway import Gateway
from tests.support.keys import keyed, session
from tests.support.site import Site, manage


@pytest.fixture(scope="module")
def gateway(shared_site: Site) -> Gateway:
    return shared_site.gateway(keyed("a", shared_site.upstream.url))


def clear(gateway: Gateway, api: str) -> tuple[int, str]:
    answer = manage(gateway, "DELETE", f"/tyk/cache/{api}")
    return answer.status, json.loads(answer.body)["message"]


def test_all_answers_of_an_api_go_and_keys_stay(gateway: Gateway, shared_site: Site) -> None:
    key = json.loads(manage(gateway, "POST", "/tyk/keys/create", session("a")).body)["key"]
    for number in range(1_200):
        shared_site.store.ask("SET", f"cache-a{number:032x}", "x")
    kept = ("cache-b0", "cache-", "xcache-a", "apikey-cache-a", "quota-a")
    shared_site.store.ask("MSET", *(word for name in kept for word in (name, "x")))
    assert clear(gateway, "a") == (200, "cache invalidated")
    assert shared_site.store.ask("KEYS", "cache-a*") == []
    assert shared_site.store.ask("EXISTS", *kept) == len(kept)
    assert gateway.fetch("/a/x", f"Authorization: {key}").status == 200
    shared_site.store.ask("DEL", *kept)


@pytest.mark.parametrize(
    ("name", "goes", "stays"),
    [
        ("*", "cache-*1", "cache-b1"),
        ("%3F", "cache-?1", "cache-b1"),
        ("[a-z]", "cache-[a-z]1", "cache-b1"),
        ("%5B%5Eb%5D", "cache-[^b]1", "cache-c1"),
        ("%5C", "cache-\\1", "cache-b1"),
        ("%5C*", "cache-\\*1", "cache-b*1"),
    ],
)
def test_signs_of_patterns_in_a_name_are_plain_text(
    gateway: Gateway, shared_site: Site, name: str, goes: str, stays: str
) -> None:
    shared_site.store.ask("MSET", goes, "x", stays, "x")
    assert clear(gateway, name) == (200, "cache invalidated")
    assert (shared_site.store.ask("EXISTS", goes), shared_site.store.ask("EXISTS", stays)) == (0, 1)
    shared_site.store.ask("DEL", stays)


def test_an_api_without_cached_answers_is_no_error(gateway: Gateway) -> None:
    assert clear(gateway, "absent") == (200, "cache invalidated")


def test_without_the_store_it_is_a_clear_error(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    site.store.kill()
    status, message = clear(gateway, "a")
    assert status == 503
    assert message.startswith("The store of keys cannot be reached")
