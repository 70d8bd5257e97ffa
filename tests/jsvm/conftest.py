"""Pools for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jsvm_pool.settings import PoolSettings
from tests.support.jsvm import TEXT, Vm, running


async def _echo(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
    return TEXT, f'"{name}:{len(arguments)}"'


@pytest.fixture(scope="module")
def vm() -> Iterator[Vm]:
    """One pool for the tests of a module; its host answers with the name of the function and how many arguments it got."""
    with running(PoolSettings(contexts=1, max_contexts=6), _echo) as found:
        yield found
