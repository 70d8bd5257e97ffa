"""Fixtures of the plugin tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.plugins.plugin_site import PluginServer

StartServer = Callable[..., PluginServer]


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start a plugin server that lives as long as the module: start_server(hooks, address)."""
    folder, servers, numbers = tmp_path_factory.mktemp("plugins"), [], itertools.count()

    def start(hooks: str, address: str = "", *, run: bool = True) -> PluginServer:
        server = PluginServer(Path(folder, str(next(numbers))), hooks, address)
        servers.append(server)
        if run:
            server.start()
        return server

    yield start
    for server in servers:
        server.kill()
