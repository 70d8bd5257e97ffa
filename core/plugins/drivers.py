"""The drivers of one worker: each is made when something names it, and shared by all that do."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from coprocess.driver import Driver, DriverState, Format
from core.apidef.plugins import NO_CODE, BundleCode
from core.config.plugins import PluginServer
from core.plugins.sources import Marks, marks

if TYPE_CHECKING:
    from coprocess.python import PythonServices

log = logging.getLogger("preforge.plugins")

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_FORMATS: dict[str, Format] = {"grpc": "protobuf", "jsonrpc": "json", "python": "protobuf"}


@dataclass(frozen=True, slots=True)
class SlotKey:
    """What a driver belongs to. server: a name, see PluginOptions.servers; bundle: whose code it runs, NO_CODE where its
    settings say that."""

    server: str
    driver: str
    bundle: BundleCode = NO_CODE


class Slot:
    """A driver's place: it stays the same when the settings or the code change and another driver takes it."""

    def __init__(self, key: SlotKey, server: PluginServer, services: PythonServices) -> None:
        """services: what Python plugins may ask of the worker."""
        self.key = key
        self._services = services
        self.name = server.name
        self.format = _FORMATS[key.driver]
        self.driver: Driver | None = None
        self.problem = "it has not been started"
        self._settings: Any = None
        self._marks: Marks | None = None

    def fits(self, server: PluginServer) -> bool:
        """Whether the driver is what these settings ask for, and runs the code that is there now."""
        return bool(self._settings == server.settings) and self._marks is not None and self._marks == marks(server)

    def fill(self, server: PluginServer) -> Driver | None:
        """Make the driver that these settings ask for; returns the one before, which is to be closed."""
        before, self.driver = self.driver, None
        self._settings, self._marks = server.settings, marks(server)
        try:
            self.driver = make(server, self.key.bundle, self._services)
            self.problem = ""
        except (ImportError, OSError, ValueError) as error:
            self.problem = f"the driver {self.key.driver} of the plugin server {self.name} cannot run: {error}"
            log.error("%s", self.problem)
        return before

    async def start(self) -> None:
        """Let the driver begin; what keeps it from that is said of every call."""
        driver = self.driver
        if driver is None:
            return
        try:
            await driver.start()
        except Exception as error:
            self.problem = f"the plugin server {self.name} could not be started: {error}"
            log.exception("the plugin server %s could not be started", self.name)
            if self.driver is driver:
                self.driver = None
            await driver.close(0)

    def state(self) -> DriverState:
        """Whether calls would reach the plugin now."""
        return DriverState("disabled", self.problem) if self.driver is None else self.driver.state()


def make(server: PluginServer, bundle: BundleCode, services: PythonServices) -> Driver:
    """A driver that has not begun. bundle: see SlotKey. Raises ImportError, OSError and ValueError."""
    settings = server.settings

    def say(level: str, text: str) -> None:
        log.log(_LEVELS.get(level, logging.INFO), "%s", text, extra={"fields": {"server": server.name}})

    # Loaded here, so that a worker that needs no plugins has none of it.
    if server.driver == "grpc":
        from coprocess.grpc import GrpcDriver  # noqa: PLC0415

        return GrpcDriver(settings)
    if server.driver == "jsonrpc":
        from coprocess.jsonrpc import JsonRpcDriver  # noqa: PLC0415

        return JsonRpcDriver(settings, say)
    from coprocess.python import PythonDriver  # noqa: PLC0415

    if bundle.directory:
        settings = replace(settings, bundle=bundle.directory, verified=bundle.files, listed=bundle.listed)
    return PythonDriver(settings, services, say)
