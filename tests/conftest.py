"""Fixtures for every test folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support.datapath import DataPath
from tests.support.gateway import Gateway, Json, running
from tests.support.site import Site, open_site
from tests.support.upstream import Upstream
from tests.support.valkey import Valkey, valkey

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

Start = Callable[..., Gateway]


@pytest.fixture(scope="module")
def module_stack() -> Iterator[contextlib.ExitStack]:
    """What the module's fixtures started; ended in reverse order."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def upstream(module_stack: contextlib.ExitStack) -> Upstream:
    """The module's upstream."""
    return module_stack.enter_context(Upstream())


@pytest.fixture(scope="module")
def path(module_stack: contextlib.ExitStack, upstream: Upstream) -> DataPath:
    """The module's data path in front of its upstream."""
    return module_stack.enter_context(DataPath(upstream))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory, module_stack: contextlib.ExitStack) -> Valkey:
    """The module's store; what one test leaves in it, another one finds."""
    return module_stack.enter_context(valkey(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, module_stack: contextlib.ExitStack) -> Start:
    """Start a gateway that lives as long as the module: start(apis, conf, ...)."""

    def starter(apis: list[Json], conf: Json | None = None, **more: Any) -> Gateway:
        return module_stack.enter_context(running(tmp_path_factory.mktemp("gateway") / "run", apis, conf, **more))

    return starter


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A store, an upstream, and gateways that share them, for one test."""
    with open_site(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same for a module."""
    with open_site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tests may log what UTF-8 cannot hold; reports go from process to process as UTF-8."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "replace").decode()) for name, text in report.sections]
    return report
