"""Where keys and values are while a script is tried: in the store of a configuration, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel.http1 import KeyCache
from accel.limits import LimitTable
from core.access.answers import Answers
from core.access.custom_keys import Extraction
from core.access.loader import FRESH_MS, SessionLoader
from core.admin.context import AdminContext, LoadedApis
from core.apidef.options import from_config
from core.apidef.read import read_directory
from core.scripts.service import ScriptService
from core.scripts.trial_case import TrialError
from core.sessions.keyspace import Found, KeySpace
from core.sessions.model import SessionData
from core.sessions.notifications import CHANNEL, Notification, Signer
from core.sessions.policies import Policies
from core.sessions.policy_files import read_policies
from core.store.base import Store
from core.store.client import open_store
from core.store.connection import Argument, Callback
from core.store.embedded import embedded_spec
from core.store.errors import StoreAway, StoreOptionError
from core.store.settings import Address, StoreSettings

NO_STORE = "there is no store here; name a tyk.conf that has one with --conf"
NOT_RUNNING = "the embedded store of this tyk.conf runs only while its gateway does"
_KEY_FUNCTIONS = ("TykGetKeyData", "TykSetKeyData")


class NoStore(Store):
    """Refuses all commands."""

    def __init__(self, why: str) -> None:
        super().__init__(StoreSettings(()))
        self._why = why

    @property
    def available(self) -> bool:
        return False

    async def start(self) -> None:
        """There is nothing to connect to."""

    def send(self, callback: Callback, *arguments: Argument) -> None:
        self._loop.call_soon(callback, StoreAway(self._why))

    async def _locate(self) -> Address:
        raise StoreAway(self._why)

    def _waiting(self) -> int:
        return 0

    async def durable(self) -> None:
        raise StoreAway(self._why)


class NotKept(KeySpace):
    """For the keys that auth hooks find: a trial shows them and leaves the store as it is."""

    async def load_name(self, name: str) -> Found | None:
        return None

    async def save(self, name: str, session: SessionData, lifetime: int | None, *, existing: bool = False) -> bool:
        return True

    async def prolong(self, name: str, lifetime: int) -> None:
        return


@dataclass(frozen=True, slots=True)
class TrialServices:
    """The part of core.services.Services that hooks use."""

    keyspace: KeySpace
    cache: KeyCache
    answers: Answers
    sessions: SessionLoader
    extraction: Extraction
    scripts: ScriptService

    @classmethod
    def made(cls, keyspace: KeySpace, config: Any, conf: str, scripts: ScriptService) -> TrialServices:
        """conf: path of tyk.conf, whose policies count, "" for none."""
        cache = KeyCache(config.preforge.sessions.max_cached, FRESH_MS, LimitTable.create(1))
        answers = Answers(lambda name, x, message, more: None)
        sessions = SessionLoader(keyspace, cache, answers)
        sessions.configure(config, read_policies(config, Policies()).policies if conf else Policies())
        return cls(keyspace, cache, answers, sessions, Extraction(), scripts)


def store_of(config: Any, conf: str) -> Store:
    """The store of a configuration. conf: its path, "" for none. Raises TrialError."""
    if not conf:
        return NoStore(NO_STORE)
    try:
        embedded = embedded_spec(config, conf)
        if embedded is not None and not Path(embedded.socket).exists():
            return NoStore(NOT_RUNNING)
        return open_store(StoreSettings.from_config(config, socket=embedded.socket if embedded else ""))
    except StoreOptionError as error:
        raise TrialError(f"{conf}: {error}") from None


def admin_of(config: Any, conf: str, store: Store, texts: Sequence[str]) -> AdminContext:
    """What host functions reach keys through. texts: of the scripts; definitions are read only for scripts that ask for
    keys."""
    signer = Signer.from_config(config)
    apis = LoadedApis()
    if conf and any(word in text for text in texts for word in _KEY_FUNCTIONS):
        apis = LoadedApis(read_directory(config.app_path, from_config(config, None, conf), None).snapshot)

    async def publish(notification: Notification) -> None:
        await store.publish(CHANNEL, signer.sign(notification))

    return AdminContext(
        config=config,
        store=store,
        keyspace=KeySpace(store, config, signer),
        policies=Policies(),
        apis=apis,
        request_reload=_no_reload,
        publish=publish,
        on_key_changed=lambda name: None,
        fire=lambda name, meta: None,
    )


async def _no_reload() -> str:
    return "this process serves no APIs"
