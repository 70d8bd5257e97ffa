"""An auth hook on a data path with a store: everything is real but the way to the plugin, which is a Python function."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from accel.headers import canonical
from accel.http1 import Exchange, KeyCache, KeyChecks, Quota, RateLimit, Step, WaitStep
from accel.limits import LimitTable
from coprocess.codec import session_to_wire
from coprocess.driver import Format, Reply
from coprocess.proto.coprocess_object_pb2 import Object
from core.access.answers import Answers
from core.access.custom_keys import Extraction
from core.access.grants import GrantCompiler
from core.access.loader import SessionLoader
from core.access.quota import QuotaKeeper
from core.access.rates import RateKeeper, RateSettings
from core.access.rewrite import Loops
from core.apidef.extractors import CustomAuthSpec, ExtractorSpec
from core.apidef.options import CompileOptions
from core.apidef.plugins import PluginHookSpec
from core.apidef.specs import AuthSpec
from core.edits.headers import request_editor
from core.findings import Finding
from core.plugins.auth import PluginAuth, make_auth
from core.plugins.context import Api, Worker
from core.plugins.hooks import RequestHook
from core.plugins.session_wires import SessionWires
from core.sessions.keyspace import KeySpace
from core.sessions.notifications import CHANNEL, Notification, Signer
from core.sessions.policies import Policies, PolicyData, checked
from core.store.client import open_store
from core.store.settings import Address, StoreSettings
from tests.scripts.hook_support import spec
from tests.support.datapath import DataPath, does
from tests.support.gateway import wait_for
from tests.support.keys import ORG
from tests.support.valkey import Valkey
from tests.support.wire import Response

Json = dict[str, Any]
Plugin = Callable[[Object], Any]
"""Changes the object in place; what it returns goes in its place: an Object, or a Reply."""

CREDENTIAL = AuthSpec("Authorization", "", "")
EXTRACTOR = ExtractorSpec("header", "value", "Authorization")


def options(**more: Any) -> Any:
    """The part of tyk.conf that is read here."""
    base = {
        "hash_keys": False, "hash_key_function": "", "hash_key_function_fallback": [],
        "disable_key_actions_by_username": False, "min_token_length": 0, "force_global_session_lifetime": False,
        "global_session_lifetime": 0, "session_lifetime_respects_key_expiration": False,
        "local_session_cache": SimpleNamespace(disable_cached_session_state=False),
        "preforge": SimpleNamespace(
            sessions=SimpleNamespace(max_stale=300, max_cached=100), limits=SimpleNamespace(max_extract_bytes=1000)
        ),
    }  # fmt: skip
    return SimpleNamespace(**{**base, **more})


def accepts(metadata: Json | None = None, token: str = "", **session: Any) -> Plugin:
    """A plugin that lets everybody in: token: "" for the value of Authorization."""

    def plugin(given: Object) -> None:
        wire = session_to_wire({"meta_data": metadata or {}, **session}, "", "protobuf")
        given.session.ParseFromString(wire.message)
        given.metadata["token"] = token or given.request.headers.get("Authorization", "")

    return plugin


def policies(*documents: Json) -> Policies:
    found: dict[tuple[str, str], PolicyData] = {}
    for document in documents:
        findings: list[Finding] = []
        one = checked({"org_id": ORG, "active": True, **document}, "policies.json", "$", findings)
        assert one is not None, findings
        found[one["org_id"], one["id"]] = one
    return Policies(found)


class _Ticket:
    def cancel(self) -> None:
        """What runs on the loop ends at once anyway."""


class PluginCall:
    """Stands for a hook of a plugin server."""

    format: Format = "protobuf"

    def __init__(self) -> None:
        self.plugin: Plugin = accepts()
        self.calls: list[Object] = []
        self.delay: Callable[[], float] = lambda: 0.0

    def __call__(self, message: bytes, done: Callable[[Reply], None], /) -> _Ticket:
        given = Object.FromString(message)
        self.calls.append(Object.FromString(message))
        said = self.plugin(given)
        if not isinstance(said, Reply):
            said = Reply("ok", (given if said is None else said).SerializeToString())
        asyncio.get_running_loop().call_later(self.delay(), done, said)
        return _Ticket()


class AuthSite:
    """A data path with one auth hook and what follows authentication."""

    def __init__(self, path: DataPath, store: Valkey, config: Any = None) -> None:
        self.path = path
        self.store = store
        self.config = config or options()
        self.call: Any = PluginCall()
        self.events: list[tuple[str, str]] = []
        self.seen: list[tuple[Any, Any]] = []       # key and session of requests that have passed the hook
        self.keys: list[Any] = []
        path.call(self._open)
        path.wait(self._store.start())
        wait_for(lambda: self._store.available, "the store is there")
        path.call(lambda: self._store.subscribe(CHANNEL, self._notified, self.sessions.heard))

    def _open(self) -> None:
        self._store = open_store(StoreSettings((Address("127.0.0.1", self.store.port),), command_timeout=1.0))
        self._signer = Signer("secret", insecure=False)
        self.keyspace = KeySpace(self._store, self.config, self._signer)
        self.cache = KeyCache(100, 10_000, LimitTable.create(1))
        self.answers = Answers(lambda name, x, message, more: self.events.append((name, more.get("Key", ""))))
        self.extraction = Extraction()
        self.sessions = SessionLoader(self.keyspace, self.cache, self.answers)
        self.sessions.configure(self.config, Policies())
        self.table = LimitTable.create(256)
        self.quota = QuotaKeeper(self._store, self.table, self.answers, 60.0, shared=True, timeout=1.0)
        self.worker = Worker(Loops(), SessionWires(), self._fire)

    def _fire(self, name: str, x: Exchange, message: str, more: Any) -> None:
        self.events.append((name, more.get("Key", "")))

    def _notified(self, message: bytes) -> None:
        found = self._signer.verify(message)
        assert isinstance(found, Notification)
        for name in self.keyspace.names_of(found):
            self.sessions.changed(name)

    def close(self) -> None:
        self.path.wait(self._store.close())

    def apply(self, found: Policies) -> None:
        """Use these policies from now on."""
        self.path.call(lambda: self.sessions.configure(self.config, found))

    def serve(
        self, plugin: Plugin, extractor: ExtractorSpec | None = None, *behind: Step, hook: str = "Auth", api_id: str = "api",
        before: tuple[Step, ...] = (), lifetime: int = 0, respects: bool = False, base: bool = True,
    ) -> None:  # fmt: skip
        """Serve an API with this auth hook."""
        if isinstance(self.call, PluginCall):
            self.call.plugin = plugin
            self.call.calls.clear()
        auth = CustomAuthSpec(extractor, lifetime, respects, base, CREDENTIAL)
        described = spec(api_id=api_id, org_id=ORG, keyless=False, custom_auth=auth)
        tasks = self.worker.tasks
        taker = PluginAuth(make_auth(self, tasks, lambda: self.config, described, f"grpc {hook}", rich=True))

        def named(address: str) -> Any:
            raise ValueError(address)

        editor = request_editor(canonical)
        api = Api(self.worker, api_id, {}, lambda path: 0, lambda path: path, b"/api/", named, canonical, editor)
        made = RequestHook(api, PluginHookSpec("auth_check", hook, "grpc", "s", False, 1.0), self.call, taker)
        step = WaitStep(made, whole_body=True)
        self.path.plan(*before, step, *behind, does(self._note), *self._checks(api_id), grant_key=api_id.encode())

    def _note(self, x: Exchange) -> None:
        self.keys.append(x.key)
        self.seen.append((None, None) if x.key is None else (x.key.token.decode(), x.key.session))

    def _checks(self, api_id: str) -> list[Step]:
        compiler = GrantCompiler(
            self.table, api_id, not_versioned=True, disable_rate_limit=False, disable_quota=False,
            quota=self.quota.window, path_options=CompileOptions(),
        )  # fmt: skip
        rates = RateKeeper(self._store, self.answers, RateSettings("local", "rolling", 5.0))
        always = rates.settings.always != "local"
        return [
            KeyChecks(compiler, self.answers.key_denied, False),
            RateLimit(rates.blocked, rates.remote, always, rates.settings.threshold),
            Quota(self.quota.ask, self.answers.quota_exceeded, self.quota.dirty),
        ]

    def get(self, key: str | None = "alice", target: str = "/api/x", *lines: str) -> Response:
        """One request with a value of Authorization."""
        return self.path.fetch(target, *([f"Authorization: {key}"] if key is not None else []), *lines)

    def refused(self, answer: Response) -> tuple[int, str]:
        """Status and text of an error page."""
        return answer.status, json.loads(answer.body)["error"]

    def stored(self, name: str) -> Any:
        raw = self.store.ask("GET", f"apikey-{name}")
        return None if raw is None else json.loads(raw)

    def lifetime(self, name: str) -> int:
        return int(self.store.ask("TTL", f"apikey-{name}"))

    def settle(self) -> None:
        """Wait until a notification about another key has come, and so all before it."""
        before = self.sessions._changes
        self.path.wait(self.keyspace._changed("another"))
        wait_for(lambda: self.sessions._changes > before, "the notification came")


@contextmanager
def auth_site(path: DataPath, store: Valkey, config: Any = None) -> Iterator[AuthSite]:
    """A site with an empty store that is closed with the block."""
    store.ask("FLUSHALL")
    found = AuthSite(path, store, config)
    try:
        yield found
    finally:
        found.close()
