"""The pool that the tests of a module share."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from jsvm_pool.settings import PoolSettings
from tests.support.jsvm import TEXT, THROW, Vm, running

SMALL = PoolSettings(contexts=1, max_contexts=4, memory=32 << 20)


async def _echo(name: str, arguments: list[str], caller: object, deadline: float) -> tuple[int, str]:
    if name == "TykStorageGet":
        return THROW, "storage: no"
    return TEXT, json.dumps([name, [one[:40] for one in arguments]])


@pytest.fixture(scope="module")
def one_pool() -> Iterator[Vm]:
    with running(SMALL) as found:
        yield found


@pytest.fixture
def vm(one_pool: Vm) -> Vm:
    """A pool of few small contexts; its host says what it was asked."""
    one_pool.host = _echo
    one_pool.text("function h() { return 'there is a context'; }")
    one_pool.logged.clear()
    return one_pool
