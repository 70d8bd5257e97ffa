"""Addresses that nothing is sent to, in every form that leads there."""

from __future__ import annotations

import ipaddress

import pytest

from core.outbound.networks import blocks, literal

NETWORKS = tuple(ipaddress.ip_network(text) for text in ("169.254.0.0/16", "127.0.0.0/8", "fe80::/10", "::1/128"))


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "::",
        "::1",
        "::ffff:169.254.169.254",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fe80::1",
        "fe80::1%eth0",
        "fe80::1%2",
        "2852039166",
        "no address",
        "",
    ],
)
def test_a_blocked_address_is_reached_in_another_form(address: str) -> None:
    assert blocks(address, NETWORKS)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "64:ff9b::c000:201", "2002:c000:201::"]
)
def test_an_allowed_address_is_blocked(address: str) -> None:
    assert not blocks(address, NETWORKS)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0x7f.0.0.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0xa9fea9fe", "169.254.169.254"),
        ("::1", "::1"),
        ("fe80::1%lo", "fe80::1"),
        ("localhost", None),
        ("example.com", None),
        ("1.2.3.4.example.com", None),
    ],
)
def test_an_address_passes_for_a_name(host: str, address: str | None) -> None:
    assert literal(host) == address
