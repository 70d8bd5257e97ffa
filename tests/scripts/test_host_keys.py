"""TykGetKeyData and TykSetKeyData: the rules of the REST API hold for scripts too (tyk-jsvm 6.3)."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.findings import Finding
from core.sessions.policies import Policies, checked
from tests.scripts.host_support import ORG, Host, api_entry, config, said, with_host
from tests.support.gateway import Json
from tests.support.keys import session
from tests.support.valkey import Valkey, valkey

GET, SET = "TykGetKeyData", "TykSetKeyData"
KEY = f"{ORG}somekey"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as found:
        yield found


Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, server: Valkey) -> Run:
    server.ask("FLUSHALL")
    apis = (api_entry("a"), api_entry("b"), api_entry("kept", dont_set_quota_on_create=True))
    findings: list[Finding] = []
    gold = checked({"id": "gold", "org_id": ORG, "rate": 7, "per": 1, "quota_max": 20, "access_rights": {"b": {"api_id": "b"}}},
                   "p", "$", findings)  # fmt: skip
    assert gold is not None
    policies = Policies({(ORG, "gold"): gold})

    def starter(use: Callable[[Host], Awaitable[Any]], **options: Any) -> Any:
        return with_host(use, config(tmp_path, options), port=server.port, apis=apis, policies=policies)

    return starter


def stored(server: Valkey, name: str = KEY) -> Any:
    raw = server.ask("GET", f"apikey-{name}")
    return None if raw is None else json.loads(raw)


def put(server: Valkey, data: Json, name: str = KEY) -> None:
    server.ask("SET", f"apikey-{name}", json.dumps(data))


@pytest.mark.parametrize("hashed", [False, True])
def test_a_script_sees_another_session_than_the_store_has(run: Run, server: Valkey, hashed: bool) -> None:
    data = session("a", alias="ü<\u2028", meta_data={"x": [1.5]}, quota_max=10, basic_auth_data={"password": "secret"})

    async def use(host: Host) -> Any:
        name = host.admin.keyspace.name_of(KEY)
        put(server, data, name)
        server.ask("SET", f"quota-{name}", 3)
        return await host.value(GET, KEY, "a")

    found = run(use, hash_keys=hashed)
    assert (found["alias"], found["meta_data"], found["quota_remaining"]) == ("ü<\u2028", {"x": [1.5]}, 7)
    assert found["basic_auth_data"]["password"] == ""
    assert (found["org_id"], found["is_inactive"], list(found["access_rights"])) == (ORG, False, ["a"])


def test_a_key_is_known_at_any_api(run: Run, server: Valkey) -> None:
    put(server, session("a"))

    async def use(host: Host) -> list[Any]:
        asked = [(KEY, "a"), ("somekey", "a"), ("somekey", "none"), (KEY, "none"), ("other", "a"), ("", ""), ("\udcff", "a")]
        return [(await host.value(GET, *one)).get("message", "found") for one in asked]

    missing = "Key not found"
    assert run(use) == ["found", "found", missing, "found", missing, missing, missing]


def test_policies_do_not_count_for_scripts(run: Run, server: Valkey) -> None:
    put(server, {**session(), "apply_policies": ["gold"]})

    async def use(host: Host) -> Any:
        return await host.value(GET, KEY, "a")

    found = run(use)
    assert (found["rate"], found["quota_max"], list(found["access_rights"])) == (7, 20, ["b"])
    put(server, {**session(), "apply_policies": ["gone"]})
    assert run(use)["apply_policies"] == ["gone"]


def test_a_session_that_cannot_be_read_is_undefined(run: Run, server: Valkey) -> None:
    server.ask("SET", f"apikey-{KEY}", '{"expires": "never"}')

    async def use(host: Host) -> Any:
        return await host.value(GET, KEY, "a")

    found = run(use)
    assert found["status"] == "error"
    assert "expires" in found["message"]


def test_a_store_that_is_away_is_undefined(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def use(host: Host) -> Any:
        assert await host.call(SET, KEY, session("a")) is None
        return await host.value(GET, KEY, "a")

    settings = config(tmp_path)
    found = with_host(use, settings, apis=(api_entry("a"),))
    assert found["message"].startswith("The key cannot be read: ")
    assert [record.message.startswith("TykSetKeyData: ") for record in said(caplog)] == [True]


@pytest.mark.parametrize("hashed", [False, True])
def test_a_new_key_is_not_what_the_script_says(run: Run, server: Valkey, hashed: bool) -> None:
    data = session("a", alias="new", quota_max=5, quota_renewal_rate=60, meta_data={"k": "v"})

    async def use(host: Host) -> str:
        name = host.admin.keyspace.name_of(KEY)
        server.ask("SET", f"quota-{name}", 5)
        assert await host.call(SET, KEY, data) is None
        assert name in host.changed
        assert host.fired == []
        return name

    name = run(use, hash_keys=hashed)
    found = stored(server, name)
    assert (found["alias"], found["meta_data"], found["quota_max"]) == ("new", {"k": "v"}, 5)
    assert found["quota_renews"] >= int(time.time()) + 50
    assert abs(int(found["last_updated"]) - time.time()) < 60
    assert server.ask("EXISTS", f"quota-{name}") == 0


def test_a_change_loses_what_the_script_does_not_see(run: Run, server: Valkey) -> None:
    put(server, session("a", date_created="2020-01-02T03:04:05Z", basic_auth_data={"password": "hash", "hash_type": "bcrypt"}))

    async def use(host: Host) -> None:
        data = await host.value(GET, KEY, "a")
        data["alias"] = "changed"
        assert await host.call(SET, "somekey", data, "1") is None

    run(use)
    found = stored(server)
    assert (found["alias"], found["date_created"]) == ("changed", "2020-01-02T03:04:05Z")
    assert found["basic_auth_data"] == {"password": "hash", "hash_type": "bcrypt"}
    assert stored(server, "somekey") is None


@pytest.mark.parametrize(
    ("suppress", "kept"), [("1", True), ("0", False), ("true", False), ("undefined", False), (None, False)]
)
def test_quotas_begin_anew_or_not(run: Run, server: Valkey, suppress: str | None, kept: bool) -> None:
    put(server, session("a", quota_max=5, quota_renewal_rate=60, quota_renews=12345, last_updated="777"))
    server.ask("SET", f"quota-{KEY}", 4)

    async def use(host: Host) -> None:
        data = session("a", quota_max=9, quota_renewal_rate=60, quota_renews=1)
        assert await host.call(SET, KEY, data, suppress) is None

    run(use)
    found = stored(server)
    assert found["quota_max"] == 9
    assert (found["quota_renews"] == 12345) is kept
    assert (found["last_updated"] == "777") is kept
    assert server.ask("EXISTS", f"quota-{KEY}") == kept


def test_an_api_that_keeps_quotas_loses_them(run: Run, server: Valkey) -> None:
    server.ask("SET", f"quota-{KEY}", 4)

    async def use(host: Host) -> None:
        assert await host.call(SET, KEY, session("kept", quota_max=5)) is None

    run(use)
    assert server.ask("GET", f"quota-{KEY}") == b"4"


def test_policies_are_not_applied(run: Run, server: Valkey) -> None:
    async def use(host: Host) -> None:
        assert await host.call(SET, KEY, {**session(), "apply_policies": ["gold"]}) is None

    run(use)
    found = stored(server)
    assert (found["rate"], list(found["access_rights"])) == (7, ["b"])


@pytest.mark.parametrize(
    ("allowed", "data", "written"),
    [
        (False, session(), False),
        (True, session(), True),
        (False, session("unknown"), False),
        (True, session("a", "unknown"), False),
        (True, {**session(), "apply_policies": ["gone"]}, False),
        (False, session("a"), True),
    ],
)
def test_a_script_makes_keys_that_open_everything(
    run: Run, server: Valkey, caplog: pytest.LogCaptureFixture, allowed: bool, data: Json, written: bool
) -> None:
    async def use(host: Host) -> dict[str, int]:
        assert await host.call(SET, KEY, data) is None
        return host.functions.stats()

    stats = run(use, allow_master_keys=allowed)
    assert (stored(server) is not None) is written
    assert (stats["keys_written"], stats["keys_failed"]) == (1, not written)
    assert [record.message.startswith("TykSetKeyData: ") for record in said(caplog)] == [True] * (not written)


@pytest.mark.parametrize(
    "text",
    [
        "undefined", "", "{", "null", "[]", '"text"', '{"expires": 1.5}', '{"expires": 1e30}', '{"quota_max": "5"}',
        '{"access_rights": []}', '{"access_rights": {"a": 5}}', '{"org_id": 5}', '{"tags": "x"}', "\udcff",
        '{"access_rights": {"a": {}}, "meta_data": {"x": 1e999}}',
    ],
)  # fmt: skip
def test_what_is_no_session_is_stored(run: Run, server: Valkey, caplog: pytest.LogCaptureFixture, text: str) -> None:
    async def use(host: Host) -> None:
        assert await host.call(SET, KEY, text) is None

    run(use, allow_master_keys=True)
    assert server.ask("DBSIZE") == 0
    assert "Failed to decode the session data" in said(caplog)[0].message


@pytest.mark.parametrize("key", ["undefined", "null", None, "", "abc"])
def test_a_missing_key_becomes_one_that_can_be_guessed(
    run: Run, server: Valkey, caplog: pytest.LogCaptureFixture, key: str | None
) -> None:
    async def use(host: Host) -> None:
        assert await host.call(SET, key, {**session("a"), "org_id": ""}) is None

    run(use)
    assert server.ask("DBSIZE") == 0
    assert len(said(caplog)) == 1


def test_names_of_fields_count_by_their_case(run: Run, server: Valkey) -> None:
    async def use(host: Host) -> None:
        text = json.dumps({"ORG_ID": ORG, "Access_Rights": {"a": {"API_ID": "a"}}, "ALIAS": "x", "alias": "last"})
        assert await host.call(SET, KEY, text) is None

    run(use)
    assert stored(server)["alias"] == "last"
    assert list(stored(server)["access_rights"]) == ["a"]
