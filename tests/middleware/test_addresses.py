"""An API with address lists is open to those addresses that they name, and to no forged ones (tyk-core 2.2)."""

from __future__ import annotations

import ipaddress
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.access.addresses import opens
from core.apidef.addresses import AddressLists, address_lists
from core.apidef.compile import Report
from tests.conftest import Start
from tests.support.gateway import Gateway, Json, api, wait_for
from tests.support.upstream import Upstream
from tests.support.wire import Response

CLOSED = (403, "access from this IP has been disallowed")
KEYED = {"use_keyless": False, "auth": {"auth_header_name": "Authorization"}}
MOCK = {"use_extended_paths": True, "extended_paths": {"mock_response": [{"path": "/canned", "method": "GET", "code": 200}]}}
FREE = {"use_extended_paths": True, "extended_paths": {"ignored": [{"path": "/free"}]}}


def outcome(answer: Response) -> tuple[int, str]:
    body = json.loads(answer.body)
    return answer.status, str(body.get("error", body.get("target")))


def definitions(upstream: Upstream) -> list[Json]:
    url = upstream.url
    return [
        api("in", "/in/", url, allowed_ips=["127.0.0.1"], enable_ip_whitelisting=True),
        api("net", "/net/", url, allowed_ips=["192.0.2.0/24", "127.0.0.0/8"], enable_ip_whitelisting=True),
        api("out", "/out/", url, allowed_ips=["192.0.2.0/24"], enable_ip_whitelisting=True),
        api("unflagged", "/unflagged/", url, allowed_ips=["192.0.2.0/24"]),
        api("off", "/off/", url, allowed_ips=["192.0.2.0/24"], ip_access_control_disabled=True),
        api("on", "/on/", url, allowed_ips=["192.0.2.1"], ip_access_control_disabled=True, enable_ip_whitelisting=True),
        api("block", "/block/", url, blacklisted_ips=["127.0.0.1"], enable_ip_blacklisting=True),
        api("both", "/both/", url, allowed_ips=["127.0.0.0/8"], blacklisted_ips=["127.0.0.1"]),
        api("six", "/six/", url, allowed_ips=["2001:db8::/32"]),
        api("keyed", "/keyed/", url, allowed_ips=["192.0.2.1"], version=FREE, **KEYED),
        api("mock", "/mock/", url, allowed_ips=["192.0.2.1"], version=MOCK),
        api("empty", "/empty/", url, enable_ip_whitelisting=True),
        api("inner", "/inner/", url, internal=True, blacklisted_ips=["127.0.0.1"]),
        api("outer", "/outer/", "tyk://inner/"),
    ]


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """No proxy is trusted."""
    return start(definitions(upstream))


@pytest.fixture(scope="module")
def behind(start: Start, upstream: Upstream) -> Gateway:
    """The client is a proxy that is trusted."""
    conf = {"access_logs": {"enabled": True}, "preforge": {"trusted_proxies": ["127.0.0.0/8"]}}
    return start(definitions(upstream), conf | {"http_server_options": {"xff_depth": 1}})


@pytest.mark.parametrize("path", ["/in/x", "/net/x", "/off/x", "/empty/x"])
def test_address_that_is_open_passes(gateway: Gateway, path: str) -> None:
    assert outcome(gateway.fetch(path)) == (200, "/x")


@pytest.mark.parametrize("path", ["/out/x", "/unflagged/x", "/on/x", "/block/x", "/both/x", "/six/x", "/outer/x"])
def test_address_that_is_not_open_is_refused(gateway: Gateway, path: str) -> None:
    assert outcome(gateway.fetch(path)) == CLOSED


def test_address_is_judged_before_the_key_and_on_ignored_paths_too(gateway: Gateway) -> None:
    assert outcome(gateway.fetch("/keyed/x")) == CLOSED
    assert outcome(gateway.fetch("/keyed/free")) == CLOSED


def test_mock_answers_come_before_the_lists(gateway: Gateway) -> None:
    assert gateway.fetch("/mock/canned").status == 200
    assert outcome(gateway.fetch("/mock/x")) == CLOSED


@pytest.mark.parametrize("line", ["X-Real-IP: {}", "X-Forwarded-For: {}", "X-Forwarded-For: {}, 198.51.100.1"])
def test_client_cannot_say_its_own_address(gateway: Gateway, line: str) -> None:
    assert outcome(gateway.fetch("/out/x", line.format("192.0.2.9"))) == CLOSED
    assert outcome(gateway.fetch("/block/x", line.format("192.0.2.9"))) == CLOSED
    assert gateway.fetch("/in/x", line.format("192.0.2.9")).status == 200


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("X-Real-IP: 192.0.2.9",), 200),
        (("X-Real-IP: ::ffff:192.0.2.9",), 200),
        (("X-Real-IP: 198.51.100.1", "X-Forwarded-For: 192.0.2.9"), 403),
        (("X-Real-IP: nonsense", "X-Forwarded-For: 192.0.2.9"), 200),
        (("X-Forwarded-For: 192.0.2.9, 198.51.100.1",), 403),
        (("X-Forwarded-For: 198.51.100.1, 192.0.2.9",), 200),
        (("X-Forwarded-For: 192.0.2.9", "X-Forwarded-For: 198.51.100.1"), 403),
        (("X-Forwarded-For: nonsense",), 403),
        ((), 403),
    ],
)
def test_trusted_proxy_says_the_address(behind: Gateway, lines: tuple[str, ...], status: int) -> None:
    assert behind.fetch("/out/x", *lines).status == status


def test_access_log_has_the_address_that_was_judged(behind: Gateway) -> None:
    answer = behind.fetch("/in/marked", "X-Real-IP: 192.0.2.77")
    assert answer.status == 403
    path = behind.directory / "access.log"
    line = wait_for(lambda: [one for one in path.read_text().splitlines() if "marked" in one] if path.exists() else [], "line")
    assert '"192.0.2.77"' in line[0]
    assert '"127.0.0.1"' in line[0]


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(st.lists(st.tuples(ADDRESSES, st.integers(0, 128)), max_size=4), ADDRESSES)
def test_lists_mean_what_their_networks_mean(entries: list[tuple[ipaddress.IPv4Address, int]], address: object) -> None:
    texts = [f"{one}/{bits % (one.max_prefixlen + 1)}" for one, bits in entries]
    report = Report("a.json")
    both = address_lists({"allowed_ips": texts, "enable_ip_whitelisting": True}, report)
    assert not report.fatal
    networks = [ipaddress.ip_network(text, strict=False) for text in texts]
    plain = ipaddress.ip_address(str(address))
    mapped = getattr(plain, "ipv4_mapped", None)
    inside = any(seen in network for network in networks for seen in (plain, mapped) if seen is not None)
    if both is None:
        assert not texts
        return
    wide = any(isinstance(n, ipaddress.IPv6Network) and n.prefixlen < 96 for n in networks)
    if mapped is None or not wide:
        assert opens(both)(str(address).encode()) == inside
        assert opens(AddressLists((), both.allowed))(str(address).encode()) != inside


@pytest.mark.parametrize("text", [b"", b"unix", b"127.0.0.1.5", b"1270.0.1", b"\xff", b"127.0.0.1 "])
def test_what_is_no_address_passes_no_list(text: bytes) -> None:
    assert not opens(AddressLists(("0.0.0.0/0", "::/0"), ()))(text)
    assert not opens(AddressLists((), ("192.0.2.1/32",)))(text)


@pytest.mark.parametrize("text", ["::ffff:127.0.0.1", "127.0.0.1", "::ffff:127.0.0.0/104", " 127.0.0.1 "])
def test_one_address_in_two_notations_is_one_address(text: str) -> None:
    lists = address_lists({"blacklisted_ips": [text]}, Report("a.json"))
    assert lists is not None
    assert not opens(lists)(b"127.0.0.1")
    assert not opens(lists)(b"::ffff:127.0.0.1")
    assert opens(lists)(b"128.0.0.1")


@pytest.mark.parametrize("key", ["allowed_ips", "blacklisted_ips"])
@pytest.mark.parametrize("entry", ["", "localhost", "10.0.0.0/33", "10.0.0", "10.0.0.1-10.0.0.9"])
def test_entry_that_is_no_address_keeps_the_definition_from_being_served(key: str, entry: str) -> None:
    report = Report("a.json")
    address_lists({key: ["127.0.0.1", entry], "ip_access_control_disabled": True}, report)
    assert report.fatal
    assert report.findings[-1].path == f"$.{key}[1]"
