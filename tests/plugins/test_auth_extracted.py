"""Sessions that an ID extractor finds again without asking the plugin (tyk-plugins 4.3): only for the client who has shown the
same value, only until the plugin's deadline, and only if the same plugin made them."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from accel.http1 import Exchange
from accel.limits import clock_ms
from coprocess.driver import Reply
from coprocess.proto.coprocess_object_pb2 import Object
from core.apidef.extractors import ExtractorSpec
from core.apidef.xpath import parse
from core.plugins.auth import MARK
from tests.plugins.auth_support import EXTRACTOR, AuthSite, Plugin, accepts, auth_site, options, policies
from tests.support.datapath import DataPath, does
from tests.support.gateway import wait_for
from tests.support.keys import ORG, session
from tests.support.upstream import Upstream
from tests.support.valkey import Valkey, valkey

MISSING = (400, "Authorization field missing")
AWAY = (503, "The key store cannot be reached, please try again")


def soon() -> int:
    return int(time.time()) + 600


def name_of(value: str, org: str = ORG) -> str:
    return org + hashlib.md5(value.encode()).hexdigest()


@pytest.fixture
def site(path: DataPath, redis: Valkey) -> Iterator[AuthSite]:
    with auth_site(path, redis) as found:
        yield found


def only_once(**session: Any) -> Plugin:
    """A plugin that lets each client in once."""
    seen: set[str] = set()

    def plugin(given: Object) -> Any:
        who = given.request.headers.get("Authorization", "")
        if who in seen:
            return Reply("error", detail="asked again")
        seen.add(who)
        return accepts(**session)(given)

    return plugin


def test_a_session_is_found_again_without_the_plugin(site: AuthSite) -> None:
    site.serve(only_once(id_extractor_deadline=soon(), alias="Al"), EXTRACTOR)
    assert [site.get("alice").status for _ in range(4)] == [200] * 4
    assert len(site.call.calls) == 1
    assert {(token, seen["alias"]) for token, seen in site.seen} == {(name_of("alice"), "Al")}
    stored = site.stored(name_of("alice"))
    assert (stored["alias"], stored["meta_data"]["token"]) == ("Al", "alice")
    assert site.stored("alice") is None


def test_another_value_is_another_client(site: AuthSite) -> None:
    def plugin(given: Object) -> Any:
        return accepts(alias=f"of {given.request.headers['Authorization']}", id_extractor_deadline=soon())(given)

    site.serve(plugin, EXTRACTOR)
    names = ["alice", "bob", "alice", "alicE", "bob", "alice"]
    assert [site.get(name).status for name in names] == [200] * 6
    assert [seen["alias"] for _, seen in site.seen] == [f"of {name}" for name in names]
    assert len(site.call.calls) == 3


def test_a_client_without_a_value_is_refused_before_the_plugin(site: AuthSite, upstream: Upstream) -> None:
    site.serve(accepts(id_extractor_deadline=soon()), EXTRACTOR)
    assert site.refused(site.get(None, "/api/novalue")) == MISSING
    assert site.refused(site.get("", "/api/novalue")) == MISSING
    assert (site.call.calls, site.events, site.store.ask("KEYS", "*")) == ([], [], [])
    assert not upstream.seen("/novalue")


@pytest.mark.parametrize("source", ["body", "querystring", "form"])
def test_no_source_gives_all_clients_one_identity(site: AuthSite, source: str) -> None:
    extractor = ExtractorSpec(source, "value", "" if source == "body" else "id")
    site.serve(accepts(id_extractor_deadline=soon(), token="t"), extractor)
    lines = ("Content-Type: application/x-www-form-urlencoded",)

    def ask(value: bytes) -> Any:
        if source == "querystring":
            return site.path.fetch(f"/api/x?id={value.decode()}")
        return site.path.fetch("/api/x", *lines, method="POST", body=b"id=" * (source == "form") + value)

    assert site.refused(ask(b"")) == MISSING
    assert [ask(value).status for value in (b"one", b"two", b"one")] == [200] * 3
    assert (len(site.call.calls), len({token for token, _ in site.seen})) == (2, 2)


REGEX = ExtractorSpec("header", "regex", "X-Id", b"[0-9]+", 0)
PATH = ExtractorSpec("body", "xpath", path=parse("//user/id"))
FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("extractor", "requests"),
    [
        (REGEX, [("X-Id: a 12 b", b""), ("X-Id: 12", b""), ("X-Id: 13", b""), ("X-Id: none", b"")]),
        (replace(REGEX, source="body"), [("A: b", b"a12b"), ("A: b", b"12c"), ("A: b", b"13"), ("A: b", b"none")]),
        (replace(REGEX, source="form", name="id"), [(FORM, b"id=x12"), (FORM, b"a=5&id=12"), (FORM, b"id=13"), (FORM, b"id=")]),
        (PATH, [("A: b", f"<r><n>{n}</n><user><id>{value}</id></user></r>".encode()) for n, value in enumerate((7, 7, 8, ""))]),
    ],
)
def test_what_expressions_find_is_one_client(
    site: AuthSite, extractor: ExtractorSpec, requests: list[tuple[str, bytes]]
) -> None:
    """The first two requests are of one client, the third is another's, the last one nobody's."""
    site.serve(accepts(id_extractor_deadline=soon(), token="t"), extractor)
    answers = [site.path.fetch("/api/x", line, method="POST", body=body) for line, body in requests]
    assert [answer.status for answer in answers] == [200, 200, 200, 400]
    tokens = [token for token, _ in site.seen]
    assert (tokens[0] == tokens[1], len(set(tokens)), len(site.call.calls)) == (True, 2, 2)


def test_an_extractor_with_a_problem_refuses_everybody(site: AuthSite) -> None:
    site.serve(accepts(), replace(EXTRACTOR, problem="its expression does not compile"))
    assert site.refused(site.get()) == MISSING
    assert site.call.calls == []


@pytest.mark.parametrize("deadline", [0, 1, -5])
def test_a_deadline_that_is_over_asks_the_plugin_each_time(site: AuthSite, deadline: int) -> None:
    def plugin(given: Object) -> Any:
        return accepts(id_extractor_deadline=deadline, alias=str(len(site.call.calls)))(given)

    site.serve(plugin, EXTRACTOR)
    assert [site.get().status for _ in range(3)] == [200] * 3
    assert [seen["alias"] for _, seen in site.seen] == ["1", "2", "3"]
    assert site.stored(name_of("alice"))["alias"] == "3"


def test_a_deadline_in_milliseconds_is_one_for_ever(site: AuthSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.serve(only_once(id_extractor_deadline=int(time.time() * 1000)), EXTRACTOR)     # as plugins for Node have it
    assert site.get().status == 200
    later = time.time() + 1e9
    monkeypatch.setattr("core.plugins.auth.time.time", lambda: later)
    assert [site.get().status for _ in range(3)] == [200] * 3
    assert len(site.call.calls) == 1


def test_a_deadline_ends_a_session_that_is_in_use(site: AuthSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.serve(only_once(id_extractor_deadline=soon()), EXTRACTOR)
    assert [site.get().status for _ in range(3)] == [200] * 3
    later = time.time() + 601
    monkeypatch.setattr("core.plugins.auth.time.time", lambda: later)
    assert site.refused(site.get()) == (403, "Key not authorised")
    assert len(site.call.calls) == 2


def test_a_deleted_session_ends_at_once(site: AuthSite) -> None:
    site.serve(only_once(id_extractor_deadline=soon()), EXTRACTOR)
    assert [site.get().status for _ in range(3)] == [200] * 3
    assert site.path.wait(site.keyspace.delete(name_of("alice")))
    site.settle()
    assert site.refused(site.get()) == (403, "Key not authorised")


def test_a_session_that_is_switched_off_is_off_without_the_plugin(site: AuthSite) -> None:
    site.serve(only_once(id_extractor_deadline=soon()), EXTRACTOR)
    assert [site.get().status for _ in range(2)] == [200] * 2
    name = name_of("alice")
    changed = {**site.path.wait(site.keyspace.load_name(name)).session, "is_inactive": True}
    site.path.wait(site.keyspace.save(name, changed, None))
    site.settle()
    assert site.refused(site.get()) == (403, "Key is inactive, please renew")
    assert len(site.call.calls) == 1


def test_rights_expiry_and_quota_of_a_found_session_are_checked(site: AuthSite) -> None:
    site.serve(only_once(id_extractor_deadline=soon(), quota_max=3, quota_renewal_rate=3600), EXTRACTOR)
    assert [site.get("alice").status for _ in range(5)] == [200, 200, 200, 403, 403]
    site.serve(only_once(id_extractor_deadline=soon(), expires=1), EXTRACTOR)
    assert [site.get("bob").status for _ in range(2)] == [401, 401]
    site.serve(only_once(id_extractor_deadline=soon(), access_rights={"b": {"api_id": "b"}}), EXTRACTOR)
    assert [site.get("carol").status for _ in range(2)] == [403, 403]
    assert len(site.call.calls) == 1


def test_a_session_that_expires_while_it_is_in_use_ends(site: AuthSite) -> None:
    site.serve(only_once(id_extractor_deadline=soon(), expires=int(time.time()) + 5), EXTRACTOR)
    assert [site.get().status for _ in range(3)] == [200] * 3
    wait_for(lambda: site.get().status == 401, "it has expired")
    assert len(site.call.calls) == 1


def test_policies_of_a_found_session_are_those_of_now(site: AuthSite) -> None:
    opened = {"access_rights": {"api": {"api_id": "api", "versions": ["Default"]}}}
    site.apply(policies({"id": "p", "rate": 44, "per": 1, **opened}))
    site.serve(accepts(id_extractor_deadline=soon(), apply_policies=["p"]), EXTRACTOR)
    assert [site.get().status for _ in range(2)] == [200, 200]
    assert [seen["rate"] for _, seen in site.seen] == [44, 44]
    site.apply(policies())
    assert site.refused(site.get()) == (403, "Forbidden")


def test_a_session_that_expired_in_the_store_is_the_plugins_again(site: AuthSite) -> None:
    site.serve(accepts(id_extractor_deadline=soon()), EXTRACTOR, lifetime=300)
    site.get()
    assert 290 <= site.lifetime(name_of("alice")) <= 300
    site.store.ask("DEL", f"apikey-{name_of('alice')}")
    site.path.call(site.cache.expire)
    site.get()
    assert len(site.call.calls) == 2


def test_a_session_that_is_used_lives_on_in_the_store(site: AuthSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.serve(only_once(id_extractor_deadline=soon()), EXTRACTOR, lifetime=320)
    name = name_of("alice")
    assert [site.get().status for _ in range(2)] == [200] * 2
    site.settle()
    site.get()
    site.store.ask("EXPIRE", f"apikey-{name}", "100")
    site.store.ask("CONFIG", "RESETSTAT")
    site.get()
    assert b"cmdstat_expire" not in site.store.ask("INFO", "commandstats")      # one part of 32 has to pass
    later = clock_ms() + 10_000
    monkeypatch.setattr("core.access.terms.clock_ms", lambda: later)
    for _ in range(3):
        assert site.get().status == 200
    wait_for(lambda: site.lifetime(name) > 300, "the lifetime begins anew")
    assert b"cmdstat_expire:calls=1," in site.store.ask("INFO", "commandstats")
    assert len(site.call.calls) == 1


def test_a_session_that_is_gone_from_the_store_is_not_made_again_by_its_use(site: AuthSite) -> None:
    site.serve(only_once(id_extractor_deadline=soon()), EXTRACTOR, lifetime=320)
    site.get()
    site.store.ask("DEL", f"apikey-{name_of('alice')}")
    site.path.wait(site.keyspace.prolong(name_of("alice"), 320))
    assert site.stored(name_of("alice")) is None


def test_a_session_of_another_hook_or_place_is_not_the_clients(site: AuthSite) -> None:
    site.serve(accepts(id_extractor_deadline=soon(), alias="weak"), EXTRACTOR, hook="Weak", api_id="b")
    assert [site.get().status for _ in range(2)] == [200, 200]
    refuse: Plugin = lambda given: Reply("error", detail="not you")  # noqa: E731
    site.serve(refuse, EXTRACTOR, hook="Strong", api_id="api")
    assert site.refused(site.get()) == (403, "Key not authorised")
    site.serve(refuse, ExtractorSpec("header", "value", "X-Other"), hook="Weak", api_id="api")
    assert site.refused(site.get(None, "/api/x", "X-Other: alice")) == (403, "Key not authorised")
    site.serve(refuse, EXTRACTOR, hook="Weak", api_id="c")
    assert site.get().status == 200     # the same hook and extractor: one identity in the organisation, as in Tyk


def test_a_session_that_somebody_else_wrote_is_not_the_clients(site: AuthSite) -> None:
    value = session("api", id_extractor_deadline=soon(), meta_data={"token": "alice"})
    site.store.ask("SET", f"apikey-{name_of('alice')}", json.dumps(value))
    site.serve(accepts(alias="plugin", id_extractor_deadline=soon()), EXTRACTOR)
    assert [site.get().status for _ in range(2)] == [200, 200]
    assert ([seen["alias"] for _, seen in site.seen], len(site.call.calls)) == (["plugin", "plugin"], 1)


def test_a_plugin_cannot_speak_for_another(site: AuthSite) -> None:
    site.serve(accepts({MARK: "forged"}, id_extractor_deadline=soon()), EXTRACTOR)
    site.get()
    assert site.stored(name_of("alice"))["meta_data"][MARK] != "forged"


def test_nothing_is_found_or_kept_if_another_method_is_the_identity(site: AuthSite) -> None:
    site.serve(accepts(id_extractor_deadline=soon()), EXTRACTOR)
    site.get()
    site.serve(lambda given: Reply("error"), EXTRACTOR, base=False)
    assert site.refused(site.get()) == (403, "Key not authorised")
    assert site.refused(site.get(None)) == MISSING


@pytest.mark.parametrize("answer", [Reply("error"), Reply("timeout"), Reply("ok", b"")])
def test_a_plugin_that_fails_refuses_with_an_extractor_too(site: AuthSite, answer: Reply) -> None:
    site.serve(lambda given: answer, EXTRACTOR)
    assert site.refused(site.get()) == (403, "Key not authorised")
    assert site.store.ask("KEYS", "*") == []


def test_without_a_token_nobody_comes_in_with_an_extractor_either(site: AuthSite) -> None:
    def plugin(given: Object) -> None:
        accepts(id_extractor_deadline=soon())(given)
        given.metadata.clear()

    site.serve(plugin, EXTRACTOR)
    assert site.refused(site.get("mallory")) == (403, "Forbidden")
    assert site.events == [("AuthFailure", "mallory")]


@pytest.mark.parametrize("function", ["", "murmur64", "sha256"])
def test_session_ids_follow_hash_key_function(path: DataPath, redis: Valkey, function: str) -> None:
    with auth_site(path, redis, options(hash_key_function=function, hash_keys=bool(function))) as site:
        site.serve(only_once(id_extractor_deadline=soon()), EXTRACTOR)
        assert [site.get().status for _ in range(3)] == [200] * 3
        token = site.keyspace.full(ORG, hashlib.md5(b"alice").hexdigest())
        assert {seen for seen, _ in site.seen} == {token}
        assert site.store.ask("KEYS", "*") == [b"apikey-" + site.keyspace.name_of(token).encode()]


def test_two_clients_with_one_hash_are_two_clients(path: DataPath, redis: Valkey) -> None:
    one, two = "client17333", "client34725"
    with auth_site(path, redis, options(hash_keys=True)) as site:
        assert site.keyspace.name_of(name_of(one)) == site.keyspace.name_of(name_of(two))   # Tyk's hashes have 32 bits
        site.serve(only_once(id_extractor_deadline=soon(), alias="one"), EXTRACTOR)
        assert [site.get(one).status for _ in range(3)] == [200] * 3
        site.call.plugin = lambda given: Reply("error", detail="not you")
        assert site.refused(site.get(two)) == (403, "Key not authorised")
        assert site.get(one).status == 200


@pytest.mark.parametrize("value", ["x" * 8000, "caf\xe9\xff", "a b\tc", "\u00e9" * 100])
def test_any_value_of_a_client_is_an_identity(site: AuthSite, value: str) -> None:
    site.serve(accepts(id_extractor_deadline=soon(), token="t"), ExtractorSpec("header", "value", "X-Id"))
    raw = f"GET /api/x HTTP/1.1\r\nHost: g\r\nX-Id: {value}\r\n\r\n".encode("latin-1")
    with site.path.connect() as client:
        statuses = []
        for _ in range(2):
            client.send(raw)
            statuses.append(client.read().status)
    # A value that a message of the plugin cannot hold is refused; none is taken for another.
    text = value.encode("latin-1").decode("utf-8", "replace")
    if "\ufffd" in text:
        assert (statuses, site.store.ask("KEYS", "*")) == ([403, 403], [])
    else:
        digest = hashlib.md5(value.encode("latin-1")).hexdigest()
        assert (statuses, site.seen[-1][0], len(site.call.calls)) == ([200, 200], ORG + digest, 1)


def test_a_store_that_is_away_refuses_who_is_not_known(path: DataPath, tmp_path: Any) -> None:
    with valkey(tmp_path / "store") as store, auth_site(path, store) as site:
        site.serve(accepts(id_extractor_deadline=soon()), EXTRACTOR)
        assert [site.get("alice").status for _ in range(3)] == [200] * 3
        store.stop()
        assert site.refused(site.get("bob")) == AWAY
        assert len(site.call.calls) == 1
        store.start()
        wait_for(lambda: site.get("bob").status == 200, "the gateway reaches the store again")


def test_a_client_that_leaves_while_its_session_is_looked_for_harms_nobody(site: AuthSite) -> None:
    site.serve(accepts(id_extractor_deadline=soon()), EXTRACTOR)
    site.store.ask("CLIENT", "PAUSE", "150", "ALL")
    with site.path.connect() as gone:
        gone.send(b"GET /api/x HTTP/1.1\r\nHost: g\r\nAuthorization: alice\r\n\r\n")
    assert site.get("alice").status == 200
    assert site.get("bob").status == 200
    assert {token for token, _ in site.seen} == {name_of("alice"), name_of("bob")}


@pytest.mark.parametrize("extractor", [None, EXTRACTOR])
def test_of_many_clients_at_once_each_gets_its_own_session(site: AuthSite, extractor: ExtractorSpec | None) -> None:
    chance = random.Random(7)
    site.call.delay = lambda: chance.random() * 0.01

    def plugin(given: Object) -> Any:
        return accepts(alias=f"of {given.request.headers['Authorization']}", id_extractor_deadline=soon())(given)

    pairs: list[tuple[bytes, str]] = []

    def note(x: Exchange) -> None:
        assert x.key is not None
        pairs.append((x.header(b"Authorization") or b"", x.key.session["alias"]))

    site.serve(plugin, extractor, does(note))
    with ExitStack() as open_ones:
        clients = [open_ones.enter_context(site.path.connect()) for _ in range(16)]
        for _ in range(12):
            names = [f"client{chance.randrange(12)}" for _ in clients]
            for client, name in zip(clients, names, strict=True):
                client.send(f"GET /api/x HTTP/1.1\r\nHost: g\r\nAuthorization: {name}\r\n\r\n".encode())
            assert [client.read().status for client in clients] == [200] * len(clients)
    assert len(pairs) == 16 * 12
    assert all(alias == f"of {name.decode()}" for name, alias in pairs)
