"""Keys in a real store: found under the names that Tyk uses, written so that a deleted key does not come back."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from core.sessions import tokens
from core.sessions.keyspace import KeySpace
from core.sessions.model import SessionError, from_value
from core.sessions.notifications import CHANNEL, KEYS_CHANGED, Notification, Signer
from core.store.client import Store, open_store
from core.store.errors import StoreAway
from core.store.settings import Address, StoreSettings
from tests.support.valkey import Valkey, valkey

ORG = "c0ffee00c0ffee00c0ffee01"
SIGNER = Signer("secret", insecure=False)


def config(**more: Any) -> Any:
    options = {"hash_keys": False, "hash_key_function": "", "hash_key_function_fallback": [],
               "disable_key_actions_by_username": False, **more}  # fmt: skip
    return SimpleNamespace(**options)


@contextlib.asynccontextmanager
async def opened(server: Valkey, **more: Any) -> AsyncIterator[tuple[KeySpace, Store]]:
    store = open_store(StoreSettings((Address("127.0.0.1", server.port),), command_timeout=2.0))
    await store.start()
    try:
        yield KeySpace(store, config(**more), SIGNER), store
    finally:
        await store.close()


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with valkey(tmp_path / "valkey") as found:
        yield found


def test_key_is_found_by_token_and_by_id(server: Valkey) -> None:
    async def body() -> None:
        for hashed in (False, True):
            for function in ("", "murmur32", "murmur64", "murmur128", "sha256"):
                async with opened(server, hash_keys=hashed, hash_key_function=function) as (keys, _):
                    token = keys.full(ORG, "mykey")
                    name = keys.name_of(token)
                    assert (name == token) is not hashed
                    assert await keys.save(name, from_value({"alias": f"{hashed} {function}"}), 0)
                    assert server.ask("GET", f"apikey-{name}")
                    for given in (token, "mykey"):
                        found = await keys.load(given, ORG)
                        assert found is not None
                        assert (found.token, found.name, found.session["alias"]) == (token, name, f"{hashed} {function}")
                    assert await keys.load("other", ORG) is None
                    assert await keys.delete(name)
                    assert await keys.load(token, ORG) is None

    uvloop.run(body())


def test_older_ways_to_hash_are_looked_up_after_the_present_one(server: Valkey) -> None:
    async def body() -> None:
        older = {"hash_keys": True, "hash_key_function": "sha256", "hash_key_function_fallback": ["murmur64", "murmur32"]}
        async with opened(server, **older) as (keys, _):
            for function in ("murmur32", "murmur64", "sha256"):
                name = tokens.hash_key(tokens.generate(ORG, "mykey", function), True)
                assert await keys.save(name, from_value({"alias": function}), 0)
                found = await keys.load("mykey", ORG)
                assert found is not None
                assert found.session["alias"] == function
        async with opened(server, **older, disable_key_actions_by_username=True) as (keys, _):
            assert await keys.load("mykey", ORG) is None

    uvloop.run(body())


def test_key_of_another_organisation_is_found_under_its_own_name(server: Valkey) -> None:
    async def body() -> None:
        async with opened(server) as (keys, _):
            token = "dead00beef00dead00beef00mykey"
            assert await keys.save(token, from_value({"alias": "theirs"}), 0)
            found = await keys.load(token, ORG)
            assert found is not None
            assert found.name == token

    uvloop.run(body())


def test_change_does_not_bring_a_deleted_key_back(server: Valkey) -> None:
    async def body() -> None:
        async with opened(server) as (keys, _):
            assert not await keys.save("gone", from_value({}), 0, existing=True)
            assert server.ask("EXISTS", "apikey-gone") == 0
            assert await keys.save("here", from_value({}), 0)
            assert await keys.save("here", from_value({"alias": "x"}), 50, existing=True)
            assert 0 < server.ask("TTL", "apikey-here") <= 50

    uvloop.run(body())


@pytest.mark.parametrize(("lifetime", "low", "high"), [(0, -1, -1), (-1, -1, -1), (100, 1, 100)])
def test_lifetime_is_that_of_the_store(server: Valkey, lifetime: int, low: int, high: int) -> None:
    async def body() -> None:
        async with opened(server) as (keys, _):
            await keys.save("k", from_value({}), lifetime)
            assert low <= server.ask("TTL", "apikey-k") <= high
            await keys.save_org("o", from_value({}), lifetime)
            assert low <= server.ask("TTL", "orgkey.o") <= high

    uvloop.run(body())


def test_deleted_key_takes_its_quota_with_it(server: Valkey) -> None:
    async def body() -> None:
        async with opened(server) as (keys, _):
            await keys.save("k", from_value({}), 0)
            server.ask("SET", "quota-k", 7)
            assert await keys.used("quota-k") == 7
            assert await keys.delete("k")
            assert await keys.used("quota-k") is None
            assert not await keys.delete("k")

    uvloop.run(body())


def test_quotas_of_every_scope_begin_anew(server: Valkey) -> None:
    async def body() -> None:
        async with opened(server) as (keys, _):
            for name in ("quota-k", "quota-a-k", "quota-b-k", "quota-other"):
                server.ask("SET", name, 1)
            rights = {"a": {"allowance_scope": "a"}, "b": {"allowance_scope": "b"}, "c": {}}
            await keys.reset_quota(from_value({"access_rights": rights}), "k")
            assert server.ask("KEYS", "quota-*") == [b"quota-other"]

    uvloop.run(body())


def test_keys_are_listed_by_organisation_in_both_forms(server: Valkey) -> None:
    async def body() -> None:
        async with opened(server) as (keys, _):
            long = tokens.generate(ORG, "x", "murmur64")
            for name in (f"{ORG}one", long, "other"):
                await keys.save(name, from_value({}), 0)
            assert sorted(await keys.names()) == sorted([f"{ORG}one", long, "other"])
            assert sorted(await keys.names(ORG)) == sorted([f"{ORG}one", long])

    uvloop.run(body())


def test_organisations_are_kept_apart_from_keys(server: Valkey) -> None:
    async def body() -> None:
        async with opened(server, hash_keys=True) as (keys, _):
            await keys.save_org("default", from_value({"alias": "org"}), 0)
            found = await keys.load_org("default")
            assert found is not None
            assert found["alias"] == "org"
            assert await keys.names() == []
            assert (await keys.orgs(), await keys.orgs("def"), await keys.orgs("x")) == (["default"], ["default"], [])
            assert await keys.delete_org("default")
            assert await keys.load_org("default") is None
            assert not await keys.delete_org("default")

    uvloop.run(body())


def test_session_that_cannot_be_read_is_named(server: Valkey) -> None:
    async def body() -> None:
        async with opened(server) as (keys, _):
            server.ask("SET", "apikey-bad", '{"rate": "x"}')
            for load in (keys.load("bad", ""), keys.load_name("bad")):
                with pytest.raises(SessionError, match=r"apikey-bad: \$\.rate"):
                    await load

    uvloop.run(body())


def test_changes_are_told_with_a_signature(server: Valkey) -> None:
    async def body() -> None:
        heard: list[bytes] = []
        async with opened(server, hash_keys=True) as (keys, store):
            ready = asyncio.Event()
            store.subscribe(CHANNEL, heard.append, lambda on: ready.set() if on else None)
            await asyncio.wait_for(ready.wait(), 20)
            await keys.save("abc", from_value({}), 0)
            await keys.delete("abc")
            async with asyncio.timeout(20):
                while len(heard) < 2:
                    await asyncio.sleep(0.01)
            for message in heard:
                notification = SIGNER.verify(message)
                assert notification == Notification(KEYS_CHANGED, "abc:hashed")
                assert "abc" in keys.names_of(notification)
                assert json.loads(message)["algorithm"] == 5

    uvloop.run(body())


def test_names_of_a_notification_are_raw_and_hashed() -> None:
    keys = KeySpace(None, config(hash_keys=True), SIGNER)  # type: ignore[arg-type]  # the store is not asked
    assert {"abcd", "86a7049e", "abcde"} <= set(keys.names_of(Notification(KEYS_CHANGED, "abcd,abcde:hashed,")))


def test_names_of_a_notification_are_found_in_keys_with_separators() -> None:
    keys = KeySpace(None, config(hash_keys=False), None)  # type: ignore[arg-type]
    for key in ("my,key", "my:key", "my:key,more"):
        assert key in keys.names_of(Notification(KEYS_CHANGED, key))
        assert key in keys.names_of(Notification(KEYS_CHANGED, f"{key}:hashed"))


def test_store_that_is_away_is_no_answer(server: Valkey) -> None:
    async def body() -> None:
        async with opened(server) as (keys, _):
            await keys.save("k", from_value({}), 0)
            server.kill()
            for call in (keys.load("k", ""), keys.save("k", from_value({}), 0), keys.delete("k"), keys.load_org("o")):
                with pytest.raises(StoreAway):
                    await call

    uvloop.run(body())
