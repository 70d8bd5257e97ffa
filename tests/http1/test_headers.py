"""What happens to headers on the way, both ways: added, removed, respelled, unpacked, and never forged."""

from __future__ import annotations

import gzip
import json
import re

import pytest

from tests.conftest import Start
from tests.support.gateway import Gateway, api
from tests.support.upstream import Seen, Upstream, head, reply
from tests.support.wire import Client, get

TEXT = b"the quick brown fox " * 5000
PACKED = gzip.compress(TEXT)


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """APIs with and without header rules."""
    edits = {
        "global_headers": {"X-Added": "yes", "X-Replaced": "new", "Host": "evil.test"},
        "global_headers_remove": ["x-removed", "User-Agent"],
        "global_response_headers": {"X-Answer": "ours"},
        "global_response_headers_remove": ["x-secret"],
    }
    return start(
        [
            api("root", "/", upstream.url),
            api("edit", "/edit/", upstream.url, version=edits),
            api("preserve", "/preserve/", upstream.url, proxy={"preserve_host_header": True}),
            api("noxff", "/noxff/", upstream.url, version={"global_headers_remove": ["X-Forwarded-For"]}),
        ]
    )


def sent(gateway: Gateway, upstream: Upstream, target: str, *lines: str, path: str = "") -> Seen:
    """The request as the upstream saw it."""
    assert gateway.fetch(target, *lines).status == 200
    return upstream.seen(path or target)[-1]


def test_host_is_the_targets(gateway: Gateway, upstream: Upstream) -> None:
    """Unless preserve_host_header."""
    assert sent(gateway, upstream, "/host").get("Host") == f"127.0.0.1:{upstream.port}"
    assert sent(gateway, upstream, "/preserve/host2", path="/host2").get("Host") == "gateway.test"


def test_absolute_form_host_wins(gateway: Gateway, upstream: Upstream) -> None:
    """RFC 9112 section 3.2.2: Host is replaced by the target's authority."""
    with gateway.connect() as client:
        client.send(b"GET http://right.test:81/preserve/abs HTTP/1.1\r\nHost: wrong.test\r\n\r\n")
        assert client.read().status == 200
    assert upstream.seen("/abs")[-1].get("Host") == "right.test:81"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), "127.0.0.1"),
        (("X-Forwarded-For: 10.1.1.1",), "10.1.1.1, 127.0.0.1"),
        (("X-Forwarded-For: 10.1.1.1", "x-forwarded-for: 10.2.2.2"), "10.1.1.1, 10.2.2.2, 127.0.0.1"),
    ],
)
def test_client_address_is_appended(gateway: Gateway, upstream: Upstream, lines: tuple[str, ...], expected: str) -> None:
    """One line, the peer last: what came in front of it is a claim."""
    assert sent(gateway, upstream, "/xff", *lines).get("X-Forwarded-For") == expected


def test_removed_forwarded_for_is_not_added_again(gateway: Gateway, upstream: Upstream) -> None:
    """An API that lists it for removal wants it gone (tyk-core 3.9)."""
    assert sent(gateway, upstream, "/noxff/gone", path="/gone").get("X-Forwarded-For") is None


def test_other_forwarding_headers_are_not_invented(gateway: Gateway, upstream: Upstream) -> None:
    """No X-Real-IP, X-Forwarded-Host, X-Forwarded-Proto, Via (tyk-core 3.9)."""
    names = {n.lower() for n, _ in sent(gateway, upstream, "/invented").headers}
    assert not names & {"x-real-ip", "x-forwarded-host", "x-forwarded-proto", "via", "x-request-id"}


def test_user_agent_is_added_only_when_absent(gateway: Gateway, upstream: Upstream) -> None:
    """A client's own one passes; an empty one is as good as removed, as with Go's client."""
    assert sent(gateway, upstream, "/ua", "User-Agent: mine").get("User-Agent") == "mine"
    assert sent(gateway, upstream, "/ua").get("User-Agent")


def test_header_rules_of_an_api(gateway: Gateway, upstream: Upstream) -> None:
    """Removal before addition; addition replaces; Host cannot be set this way (tyk-core 3.9)."""
    seen = sent(gateway, upstream, "/edit/x", "X-Removed: 1", "X-Replaced: old", "X-Other: 1", path="/x")
    assert seen.get("X-Added") == "yes"
    assert seen.get("X-Replaced") == "new"
    assert seen.get("X-Removed") is None
    assert seen.get("X-Other") == "1"
    assert seen.get("Host") == f"127.0.0.1:{upstream.port}"


def test_response_header_rules_of_an_api(gateway: Gateway, upstream: Upstream) -> None:
    """Of the answer alone."""
    upstream.on("/answer", reply(head("200 OK", "X-Secret: 1", "X-Answer: theirs", "Content-Length: 0")))
    answer = gateway.fetch("/edit/answer")
    assert answer.get("X-Secret") is None
    assert answer.get("X-Answer") == "ours"
    assert gateway.fetch("/answer").get("X-Secret") == "1"


def test_te_trailers_is_kept(gateway: Gateway, upstream: Upstream) -> None:
    """The one value that has a meaning for the upstream, nominated again as RFC 9110 10.1.4 asks."""
    seen = sent(gateway, upstream, "/te", "TE: trailers")
    assert (seen.get("Te"), seen.get("Connection")) == ("trailers", "Te")
    assert sent(gateway, upstream, "/te", "TE: trailers, gzip").get("Te") is None


def test_rate_limit_headers_are_the_gateways(gateway: Gateway, upstream: Upstream) -> None:
    """A keyless API says 0; the upstream's own ones are replaced (tyk-core 3.7)."""
    upstream.on("/limits", reply(head("200 OK", "X-RateLimit-Limit: 9", "Content-Length: 0")))
    answer = gateway.fetch("/limits")
    assert [answer.get(f"X-Ratelimit-{n}") for n in ("Limit", "Remaining", "Reset")] == ["0", "0", "0"]


def test_date_is_there_once(gateway: Gateway, upstream: Upstream) -> None:
    """The upstream's if it has one (RFC 9110 section 6.6.1)."""
    upstream.on("/date", reply(head("200 OK", "Date: Tue, 15 Nov 1994 08:12:31 GMT", "Content-Length: 0")))
    assert gateway.fetch("/date").get("Date") == "Tue, 15 Nov 1994 08:12:31 GMT"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", gateway.fetch("/none").get("Date") or "")


def test_request_ids_differ_and_cannot_be_chosen(gateway: Gateway) -> None:
    """preforge.request_id.trust_client is off by default."""
    ids = [gateway.fetch("/id", "X-Request-Id: mine").get("X-Request-Id") for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(i and re.fullmatch("[0-9a-f]{32}", i) for i in ids)


def test_gzip_that_the_client_did_not_ask_for_is_unpacked(gateway: Gateway, upstream: Upstream) -> None:
    """The gateway asks for gzip itself, as Go's client does, and takes it off again (tyk-core 3.9)."""
    upstream.on("/zip", reply(head("200 OK", "Content-Encoding: gzip", "Content-Type: text/plain",
                                   f"Content-Length: {len(PACKED)}") + PACKED))  # fmt: skip
    answer = gateway.fetch("/zip")
    assert upstream.seen("/zip")[-1].get("Accept-Encoding") == "gzip"
    assert answer.body == TEXT
    assert answer.get("Content-Encoding") is None
    assert answer.framing == "chunked"


@pytest.mark.parametrize("line", ["Accept-Encoding: gzip", "Accept-Encoding: identity", "Range: bytes=0-"])
def test_gzip_passes_when_the_client_speaks_for_itself(gateway: Gateway, upstream: Upstream, line: str) -> None:
    """The client's own Accept-Encoding, or a range: nothing is touched."""
    upstream.on("/zip2", reply(head("200 OK", "Content-Encoding: gzip", "Content-Type: text/plain",
                                    f"Content-Length: {len(PACKED)}") + PACKED))  # fmt: skip
    answer = gateway.fetch("/zip2", line)
    assert answer.body == PACKED
    assert answer.get("Content-Encoding") == "gzip"
    assert upstream.seen("/zip2")[-1].get("Accept-Encoding") == (line[17:] if line.startswith("A") else None)


def test_head_is_never_unpacked(gateway: Gateway, upstream: Upstream) -> None:
    """There is nothing to unpack, and the headers describe the packed body."""
    upstream.on("/zip-head", reply(head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(PACKED)}")))
    answer = gateway.fetch("/zip-head", method="HEAD")
    assert answer.status == 200


@pytest.mark.parametrize("body", [PACKED[:-10], PACKED[:30] + b"\0" * 30, b"not gzip at all"], ids=["cut", "damaged", "plain"])
def test_bad_gzip_never_looks_whole(gateway: Gateway, upstream: Upstream, body: bytes) -> None:
    """The error page, or a connection that is cut."""
    upstream.on("/bad-zip", reply(head("200 OK", "Content-Encoding: gzip", "Content-Type: a/b",
                                       f"Content-Length: {len(body)}") + body))  # fmt: skip
    with gateway.connect() as client:
        received = client.send(get("/bad-zip", "a.test", "Connection: close")).rest()
    assert received.startswith(b"HTTP/1.1 500 ") or not received.endswith(b"0\r\n\r\n")


def test_gzip_bomb_is_unpacked_at_the_clients_pace(gateway: Gateway, upstream: Upstream) -> None:
    """256 MB of zeros in 256 KB: it arrives whole, in pieces, while memory stays small."""
    bomb = gzip.compress(bytes(1 << 28), 9)
    upstream.on("/bomb", reply(head("200 OK", "Content-Encoding: gzip", "Content-Type: a/b",
                                    f"Content-Length: {len(bomb)}") + bomb))  # fmt: skip
    with gateway.connect() as client:
        answer = client.send(get("/bomb")).read_head()
        assert answer.get("Transfer-Encoding") == "chunked"
        assert chunked_size(client) == 1 << 28


def chunked_size(client: Client) -> int:
    """Read a chunked body without keeping it."""
    total = 0
    while size := int(client._until(b"\r\n"), 16):
        total += size
        client.exactly(size + 2)
    assert client.exactly(2) == b"\r\n"
    return total


def test_missing_content_type_is_sniffed(gateway: Gateway, upstream: Upstream) -> None:
    """As Go's server does (tyk-core C.6)."""
    upstream.on("/untyped", reply(head("200 OK", "Content-Length: 14") + b"<html></html>\n"))
    assert gateway.fetch("/untyped").get("Content-Type") == "text/html; charset=utf-8"


def test_trailers_of_requests_are_forwarded_when_wanted(start: Start, upstream: Upstream) -> None:
    """preforge.forward_request_trailers; request ids upstream and from the client are options too."""
    conf = {
        "preforge": {
            "forward_request_trailers": True,
            "request_id": {"upstream": True, "trust_client": True, "header": "X-Trace"},
        }
    }
    gateway = start([api("root", "/", upstream.url)], conf)
    with gateway.connect() as client:
        client.send(b"POST /t HTTP/1.1\r\nHost: a\r\nX-Trace: abc\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = client.send(b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n").read()
    seen = json.loads(answer.body)
    assert seen["trailers"] == [["X-Sum", "1"]]
    assert [v for n, v in seen["headers"] if n == "X-Trace"] == ["abc"]
    assert answer.get("X-Trace") == "abc"
    assert gateway.fetch("/id").get("X-Trace") not in (None, "abc")
