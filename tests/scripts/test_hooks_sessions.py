"""Sessions that hooks see, keys that they find, and meta data that they leave."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from accel.http1 import Exchange, Grant, KeyCache, KeyChecks, KeyEntry, PyStep, Step
from accel.limits import LimitTable, QuotaWindow, clock_ms
from core.access.answers import Answers
from core.access.custom_keys import Extraction
from core.access.grants import GrantCompiler
from core.access.loader import SessionLoader
from core.access.state import keep_identity
from core.apidef.extractors import CustomAuthSpec
from core.apidef.options import CompileOptions
from core.apidef.specs import AuthSpec
from core.plugins.auth import CustomAuth, make_auth
from core.scripts.metadata import wanted
from core.sessions.keyspace import KeySpace
from core.sessions.model import from_value
from core.sessions.notifications import Signer
from core.store.client import open_store
from core.store.settings import Address, StoreSettings
from tests.scripts.hook_support import HookSite, Json, Script, overriding, spec, unchanged
from tests.support.datapath import DataPath, does
from tests.support.gateway import wait_for
from tests.support.keys import session
from tests.support.upstream import Upstream
from tests.support.valkey import Valkey
from tests.support.wire import Response

FAILED = {"error": "Internal Server Error"}
OPTIONS = SimpleNamespace(force_global_session_lifetime=False, session_lifetime_respects_key_expiration=False)


class Sessions(HookSite):
    """A data path with a store and the keys of a script."""

    def __init__(self, path: DataPath, store: Valkey, keyspace: KeySpace) -> None:
        super().__init__(path, keyspace)
        self.store = store
        self.keyspace = keyspace
        self.cache = KeyCache(100, 10_000, LimitTable.create(1))
        self.table = LimitTable.create(64)
        self.answers = Answers(lambda name, x, message, more: None)
        self.extraction = Extraction()
        self.sessions = SessionLoader(keyspace, self.cache, self.answers)
        self.denied: list[str] = []

    def keys(self, *, base: bool = True) -> CustomAuth:
        api = spec(custom_auth=CustomAuthSpec(None, 77, False, base, AuthSpec("Authorization", "", "")))
        return make_auth(self, self.worker.tasks, lambda: OPTIONS, api, "javascript", rich=False)

    def checks(self) -> Step:
        """What follows authentication."""
        compiler = GrantCompiler(
            self.table, "api", not_versioned=True, disable_rate_limit=False, disable_quota=False,
            quota=lambda name, most: QuotaWindow(self.table, name.encode(), most), path_options=CompileOptions(),
        )  # fmt: skip

        def deny(x: Exchange, what: str, status: int, message: str) -> None:
            self.denied.append(what)
            x.fail(status, message)

        return KeyChecks(compiler, deny, False)

    def entry(self, name: str, **more: Any) -> KeyEntry:
        """A key as token auth finds it, that lies in the store."""
        value = session("api", **more)
        assert self.store.ask("SET", f"apikey-{name}", json.dumps(value)) == b"OK"
        return KeyEntry(name.encode(), name.encode(), from_value(value), clock_ms())

    def stored(self, name: str) -> Any:
        raw = self.store.ask("GET", f"apikey-{name}")
        return None if raw is None else json.loads(raw)

    def serve_keyed(self, entry: KeyEntry | None, script: Script, *kinds: str, wants: bool = True) -> None:
        """These hooks behind a step that has found a key."""
        self.pool.script = script
        hooks = [self.hook(kind, session=wants) for kind in kinds or ("post",)]
        self.path.plan(does(lambda x: setattr(x, "key", entry)), *hooks)


@pytest.fixture
def site(path: DataPath, redis: Valkey) -> Iterator[Sessions]:
    redis.ask("FLUSHALL")
    settings = StoreSettings((Address("127.0.0.1", redis.port),), command_timeout=2.0)
    store = path.call(lambda: open_store(settings))
    path.wait(store.start())
    wait_for(lambda: store.available, "the store is there")
    options = SimpleNamespace(
        hash_keys=False, hash_key_function="", hash_key_function_fallback=[], disable_key_actions_by_username=False
    )
    yield Sessions(path, redis, KeySpace(store, options, Signer("secret", insecure=False)))
    path.wait(store.close())


def seen(answer: Response) -> dict[str, Any]:
    assert answer.status == 200, (answer.status, answer.body)
    found: dict[str, Any] = json.loads(answer.body)
    return found


def applied(script: Script, payload: Json) -> Json:
    made: Json = script(payload)
    return made


def key_of(x: Exchange) -> KeyEntry:
    assert x.key is not None
    return x.key


def returning(meta: Any) -> Script:
    """A script that returns this meta data."""
    return lambda payload: {**unchanged(payload), "SessionMeta": meta}


def found(session: Any, auth_value: Any = "tok", **overrides: Any) -> Script:
    """An auth hook that has found a key."""

    def script(payload: Json) -> Json:
        payload["request"]["ReturnOverrides"].update(overrides)
        return {**unchanged(payload), "Session": session, "AuthValue": auth_value}

    return script


# -- what is seen -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["post", "post_key_auth"])
def test_a_hook_sees_the_session_that_it_asked_for(site: Sessions, kind: str) -> None:
    entry = site.entry("k", alias="Al", meta_data={"first": "1"}, rate=5)
    site.serve_keyed(entry, unchanged, kind)
    site.path.fetch("/api/x")
    given = site.pool.calls[0]["session"]
    assert (given["alias"], given["rate"], given["meta_data"], len(given)) == ("Al", 5, {"first": "1"}, 37)
    assert given["access_rights"]["api"]["api_id"] == "api"
    site.serve_keyed(entry, unchanged, kind, wants=False)
    site.path.fetch("/api/x")
    assert site.pool.calls[1]["session"]["meta_data"] is None


def test_pre_and_auth_hooks_never_see_a_session(site: Sessions) -> None:
    site.serve_keyed(site.entry("k", alias="Al"), unchanged, "pre", "auth_check")
    site.path.fetch("/api/x")
    assert [call["session"]["alias"] for call in site.pool.calls] == ["", ""]


def test_a_session_without_meta_data_has_an_empty_object(site: Sessions) -> None:
    site.serve_keyed(site.entry("k"), unchanged)
    site.path.fetch("/api/x")
    assert site.pool.calls[0]["session"]["meta_data"] == {}


def test_without_a_key_the_session_is_null_and_nothing_is_stored(site: Sessions) -> None:
    site.serve_keyed(None, lambda payload: {**unchanged(payload), "SessionMeta": {"a": "1"}})
    assert seen(site.path.fetch("/api/x"))["target"] == "/x"
    assert site.pool.calls[0]["session"] is None
    assert site.store.ask("KEYS", "*") == []


def test_what_is_left_of_a_quota_is_as_of_now(site: Sessions) -> None:
    entry = site.entry("k", quota_max=10, quota_remaining=3)
    quota = QuotaWindow(site.table, b"quota-k", 10)

    def grant(x: Exchange) -> None:
        x.key = entry
        x.grant = Grant(entry, quota=quota)

    site.pool.script = unchanged
    site.path.plan(does(grant), site.hook("post", session=True))
    for used in (0, 4, 11):
        quota.used = used
        site.path.fetch("/api/x")
    assert [call["session"]["quota_remaining"] for call in site.pool.calls] == [10, 6, 0]
    assert [call["session"]["quota_max"] for call in site.pool.calls] == [10, 10, 10]


# -- meta data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "returned", "new"),
    [
        ({}, {}, None),
        ({"a": "1"}, {"a": "1"}, None),
        ({"a": "1"}, {}, {}),
        ({"a": "1", "b": "2"}, {"a": "1", "c": "3"}, {"a": "1", "c": "3"}),
        ({"n": 5, "deep": {"x": [1, True]}}, {"n": 5, "deep": {"x": [1, True]}}, None),
        ({"n": 5, "a": "1"}, {"n": 5, "a": "2"}, {"n": 5, "a": "2"}),
        ({"n": 5}, {"n": 6}, {"n": "6"}),
        ({"n": 1}, {"n": True}, {"n": "true"}),
        ({}, {"deep": {"a": 1}, "none": None, "f": 1.5}, {"deep": '{"a":1}', "none": "", "f": "1.5"}),
    ],
)
def test_meta_data_of_hooks_are_texts_but_for_what_was_there(old: Json, returned: Json, new: Json | None) -> None:
    assert wanted(old, returned, False) == new


@pytest.mark.parametrize(
    ("old", "returned", "new"),
    [
        ({"n": 5}, {"n": 6, "x": None}, {"n": 6, "x": None}),
        ({"n": 1}, {"n": True}, {"n": True}),
        ({"n": 5}, {"n": 5}, None),
    ],
)
def test_meta_data_of_virtual_endpoints_are_what_they_are(old: Json, returned: Json, new: Json | None) -> None:
    made = wanted(old, returned, True)
    assert json.dumps(made) == json.dumps(new)


def test_meta_data_are_stored_and_seen_at_once(site: Sessions) -> None:
    entry = site.entry("k", meta_data={"first": "1", "gone": "1"}, alias="Al", rate=50)
    assert site.store.ask("PEXPIRE", "apikey-k", "60000") == 1
    site.serve_keyed(entry, returning({"first": "1", "who": "script"}), "post", "post")
    seen(site.path.fetch("/api/x"))
    assert [call["session"]["meta_data"] for call in site.pool.calls] == [
        {"first": "1", "gone": "1"}, {"first": "1", "who": "script"},
    ]  # fmt: skip
    stored = site.stored("k")
    assert (stored["meta_data"], stored["alias"], stored["rate"]) == ({"first": "1", "who": "script"}, "Al", 50)
    assert 0 < int(site.store.ask("PTTL", "apikey-k")) <= 60000


def test_other_fields_are_as_the_store_has_them_now(site: Sessions) -> None:
    entry = site.entry("k", alias="old")
    site.entry("k", alias="new")
    site.serve_keyed(entry, returning({"a": "1"}))
    seen(site.path.fetch("/api/x"))
    assert (site.stored("k")["alias"], site.stored("k")["meta_data"]) == ("new", {"a": "1"})


def test_a_key_that_is_gone_is_not_made_again(site: Sessions) -> None:
    entry = site.entry("k")
    site.store.ask("DEL", "apikey-k")
    site.serve_keyed(entry, returning({"a": "1"}))
    seen(site.path.fetch("/api/x"))
    assert site.stored("k") is None


def test_unchanged_meta_data_write_nothing(site: Sessions) -> None:
    entry = site.entry("k", meta_data={"n": 5, "deep": {"a": 1}})
    site.store.ask("CONFIG", "RESETSTAT")
    site.serve_keyed(entry, unchanged)
    seen(site.path.fetch("/api/x"))
    assert site.pool.calls[0]["session"]["meta_data"] == {"n": 5, "deep": {"a": 1}}
    stats = site.store.ask("INFO", "commandstats").decode()
    assert "cmdstat_config" in stats
    assert "cmdstat_set" not in stats


def test_meta_data_of_a_script_that_did_not_ask_are_not_taken(site: Sessions) -> None:
    entry = site.entry("k", meta_data={"first": "1"})
    site.serve_keyed(entry, returning({"a": "1"}), wants=False)
    seen(site.path.fetch("/api/x"))
    assert (site.stored("k")["meta_data"], entry.session["meta_data"]) == ({"first": "1"}, {"first": "1"})


def test_meta_data_are_kept_when_the_script_answers(site: Sessions) -> None:
    entry = site.entry("k")

    def script(payload: Json) -> Json:
        return {**applied(overriding(ResponseCode=403, ResponseError="no"), payload), "SessionMeta": {"a": "1"}}

    site.serve_keyed(entry, script)
    assert site.path.fetch("/api/x").status == 403
    assert site.stored("k")["meta_data"] == {"a": "1"}


def test_a_store_that_fails_does_not_hold_up_the_request(site: Sessions, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    entry = site.entry("k")
    site.store.ask("SET", "apikey-k", "no json")
    site.serve_keyed(entry, returning({"a": "1"}))
    seen(site.path.fetch("/api/x"))
    assert "meta data of a key that a script has changed could not be stored" in caplog.text


# -- auth -------------------------------------------------------------------------------------------------------


def serve_auth(site: Sessions, script: Script, *behind: Step, base: bool = True) -> CustomAuth:
    keys = site.keys(base=base)
    site.pool.script = script
    site.path.plan(site.hook("auth_check", keys=keys), *behind, grant_key=b"api")
    return keys


def test_a_session_of_a_script_is_used_like_that_of_a_token(site: Sessions) -> None:
    keys: list[Any] = []
    value = session("api", meta_data={"who": "js"}, quota_max=-1, rate=100, per=1)
    serve_auth(site, found(value), site.checks(), does(lambda x: keys.append((x.key, x.grant))))
    answers = [site.path.fetch("/api/x") for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert answers[0].get("X-Ratelimit-Limit") == "-1"
    entry, grant = keys[0]
    assert (entry.token, entry.name, entry.session["meta_data"]) == (b"tok", b"tok", {"who": "js"})
    assert grant.rate.rate == 100
    assert all(one is entry and other is grant for one, other in keys)


@pytest.mark.parametrize(
    ("more", "status", "denied"),
    [
        ({"is_inactive": True}, 403, "inactive"),
        ({"expires": 1}, 401, "expired"),
        ({"access_rights": {"other": {"api_id": "other"}}}, 403, "rights"),
    ],
)
def test_a_session_of_a_script_is_checked(site: Sessions, more: Json, status: int, denied: str) -> None:
    serve_auth(site, found({**session("api"), **more}), site.checks())
    assert site.path.fetch("/api/x").status == status
    assert site.denied == [denied]


def test_an_empty_session_opens_the_api_without_limits(site: Sessions) -> None:
    serve_auth(site, unchanged, site.checks())
    assert site.path.fetch("/api/x").status == 200
    assert site.store.ask("KEYS", "*") == []


def test_a_session_with_an_auth_value_is_stored_before_the_request_goes_on(site: Sessions) -> None:
    there: list[Any] = []
    serve_auth(site, found(session("api", alias="Al")), does(lambda x: there.append(site.stored("tok"))))
    assert site.path.fetch("/api/x").status == 200
    assert there[0]["alias"] == "Al"
    assert 0 < int(site.store.ask("TTL", "apikey-tok")) <= 77


def test_the_same_session_is_stored_once(site: Sessions) -> None:
    serve_auth(site, found(session("api", alias="Al")))
    for _ in range(3):
        assert site.path.fetch("/api/x").status == 200
    stats = site.store.ask("INFO", "commandstats").decode()
    site.store.ask("CONFIG", "RESETSTAT")
    for _ in range(3):
        assert site.path.fetch("/api/x").status == 200
    assert "cmdstat_set" in stats
    assert "cmdstat_set" not in site.store.ask("INFO", "commandstats").decode()


def test_a_session_that_was_deleted_is_stored_again_when_that_is_known(site: Sessions) -> None:
    serve_auth(site, found(session("api")))
    site.path.fetch("/api/x")
    site.store.ask("DEL", "apikey-tok")
    site.path.call(lambda: site.cache.forget_name(b"tok"))
    site.path.fetch("/api/x")
    assert site.stored("tok") is not None
    site.store.ask("DEL", "apikey-tok")
    site.path.call(site.cache.expire)
    site.path.fetch("/api/x")
    wait_for(lambda: site.stored("tok") is not None, "the session is stored")


def test_another_session_for_a_token_replaces_the_first(site: Sessions) -> None:
    given: list[Any] = []
    serve_auth(site, found(session("api", alias="one")), does(lambda x: given.append(key_of(x).session["alias"])))
    site.path.fetch("/api/x")
    site.pool.script = found(session("api", alias="two"))
    site.path.fetch("/api/x")
    assert (given, site.stored("tok")["alias"]) == (["one", "two"], "two")


def test_meta_data_that_a_later_hook_left_are_the_scripts_again_in_the_next_request(site: Sessions) -> None:
    keys = site.keys()

    def script(payload: Json) -> Json:
        if payload["extra"]["Hook"] == "auth_check":
            return applied(found(session("api", meta_data={"who": "auth"})), payload)
        return applied(returning({"who": "post"}), payload)

    site.pool.script = script
    site.path.plan(site.hook("auth_check", keys=keys), site.hook("post", session=True))
    for _ in range(2):
        assert site.path.fetch("/api/x").status == 200
    assert [call["session"]["meta_data"] for call in site.pool.calls] == [None, {"who": "auth"}] * 2
    assert site.stored("tok")["meta_data"] == {"who": "post"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"rate": "5"}, "Session: $.rate: expected a number"),
        ({"expires": 1.5}, "Session: $.expires"),
        ({"access_rights": []}, "Session: $.access_rights"),
        ("malformed", "Session: expected an object, got a text"),
    ],
)
def test_a_session_of_wrong_types_refuses_the_request(
    site: Sessions, upstream: Upstream, value: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    serve_auth(site, found(value), site.checks())
    answer = site.path.fetch("/api/nosession")
    assert (answer.status, json.loads(answer.body)) == (500, FAILED)
    assert not upstream.seen("/nosession")
    assert reason in caplog.text


def test_a_refusal_of_an_auth_hook_leaves_no_key(site: Sessions, upstream: Upstream) -> None:
    serve_auth(site, found(session("api"), ResponseCode=401, ResponseError="not you"), site.checks())
    answer = site.path.fetch("/api/refused")
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "not you"})
    assert not upstream.seen("/refused")
    assert site.store.ask("KEYS", "*") == []


def test_a_script_that_is_not_the_identity_leaves_the_key_alone(site: Sessions) -> None:
    keys: list[Any] = []
    serve_auth(site, found(session("api")), does(lambda x: keys.append(x.key)), base=False)
    assert site.path.fetch("/api/x").status == 200
    assert keys == [None]
    assert site.store.ask("KEYS", "*") == []


def test_the_identity_of_the_script_goes_before_that_of_the_token(site: Sessions) -> None:
    keys: list[Any] = []
    token = does(lambda x: setattr(x, "key", site.entry("other")))
    serve_auth(site, found(session("api")), token, PyStep(keep_identity), does(lambda x: keys.append(key_of(x).token)))
    assert site.path.fetch("/api/x").status == 200
    assert keys == [b"tok"]


def test_a_request_that_comes_back_from_a_loop_has_shown_its_key(site: Sessions) -> None:
    keys = site.keys()

    def script(payload: Json) -> Json:
        if payload["extra"]["Hook"] == "post" and payload["request"]["URL"] != "/api/landed":
            payload["request"]["URL"] = "tyk://self/api/landed"
        return applied(found(session("api")), payload)

    site.pool.script = script
    site.path.plan(site.hook("auth_check", keys=keys), site.hook("post"))
    assert seen(site.path.fetch("/api/x"))["target"] == "/landed"
    assert [call["extra"]["Hook"] for call in site.pool.calls] == ["auth_check", "post", "post"]


def test_a_key_of_a_script_cannot_be_reached_by_a_token(site: Sessions) -> None:
    serve_auth(site, found(session("api")))
    site.path.fetch("/api/x")
    names = [name for name in (b"\0tok", b"\0api\0tok", b"org\0tok") if site.cache.get(name) is not None]
    assert (names, len(site.cache)) == ([], 1)


def test_the_keys_of_scripts_are_bounded(site: Sessions) -> None:
    serve_auth(site, unchanged)
    with site.path.connect() as client:
        for number in range(120):
            site.pool.script = found(session("api"), f"tok{number}")
            client.send(b"GET /api/x HTTP/1.1\r\nHost: g\r\n\r\n")
            assert client.read().status == 200
    assert (len(site.cache), site.cache.evicted) == (100, 20)


def test_the_texts_of_sessions_are_bounded(site: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.scripts.session_text.MOST", 3)
    texts = site.worker.texts
    entries = [KeyEntry(b"k", b"k", from_value({"alias": str(number)}), 0) for number in range(10)]
    for number, entry in enumerate(entries):
        assert json.loads(texts.get(entry, None))["alias"] == str(number)
    assert len(texts._texts) <= 3

