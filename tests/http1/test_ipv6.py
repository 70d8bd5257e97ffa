"""IPv6 in front and behind."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.conftest import Start
from tests.support.gateway import Gateway, api
from tests.support.upstream import Upstream


def has_ipv6() -> bool:
    """Whether the loopback address of IPv6 can be used here."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


pytestmark = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback here")


@pytest.fixture(scope="module")
def behind() -> Iterator[Upstream]:
    """An upstream on ::1."""
    with Upstream("::1") as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(start: Start, behind: Upstream) -> Gateway:
    """A gateway on ::1."""
    return start([api("root", "/", behind.url)], host="::1")


def test_ipv6_client_and_upstream(gateway: Gateway, behind: Upstream) -> None:
    """The client's address is passed on, Host keeps its brackets."""
    assert gateway.fetch("/six").status == 200
    [seen] = behind.seen("/six")
    assert seen.get("X-Forwarded-For") == "::1"
    assert seen.get("Host") == f"[::1]:{behind.port}"
