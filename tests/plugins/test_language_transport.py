"""What other people's gRPC servers do to connections: flow control, few streams, GOAWAY, drained connections, TLS, crashes.

A request is answered with what its own call said or is refused; none passes unasked, and none is asked about twice.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.plugins.foreign import BUILD_LIMIT, ForeignServer, Language, foreign, serving
from tests.plugins.plugin_site import grpc_conf, plugged
from tests.support.gateway import Gateway, Json, running, wait_for
from tests.support.tls import Authority
from tests.support.upstream import Connection, Seen, Upstream, head
from tests.support.wire import Response, get

pytestmark = [pytest.mark.timeout(BUILD_LIMIT), pytest.mark.parametrize("language", ["node", "go"])]

MIB = 1 << 20
ROOMY: Json = {
    "coprocess_options": {"grpc_recv_max_size": 64 * MIB},
    "preforge": {"limits": {"max_buffered_body_bytes": 64 * MIB}},
}


@contextlib.contextmanager
def gateway_for(
    server: ForeignServer, folder: Path, upstream: Upstream, *apis: Json, conf: Json | None = None
) -> Iterator[Gateway]:
    """A gateway with the server's target, and an API for each of some hooks."""
    plain = [plugged(name, upstream.url, pre=name) for name in ("nothing", "reverse", "slow", "headers")]
    with serving(server), running(folder / "gateway", [*plain, *apis], grpc_conf(server, **(conf or {}))) as gateway:
        wait_for(lambda: gateway.fetch("/nothing/x").status == 200, "the server is up")
        yield gateway


def at_once(gateway: Gateway, requests: list[bytes]) -> list[Response]:
    """Send each request on a connection of its own, all before the first answer is read."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gateway.connect()) for _ in requests]
        for client, request in zip(clients, requests, strict=True):
            client.send(request)
        return [client.read() for client in clients]


def post(target: str, body: bytes, *lines: str) -> bytes:
    text = [f"POST {target} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(text).encode() + body


def echo_bytes(connection: Connection, seen: Seen) -> bool:
    """Answer with the body as it came."""
    body = connection.read_body(seen)
    connection.send(head("200 OK", f"Content-Length: {len(body)}") + body)
    return True


class Load:
    """Clients that ask /headers/<number> one after the other until they are stopped."""

    def __init__(self, gateway: Gateway, clients: int = 8) -> None:
        self.answers: list[tuple[int, int, bool]] = []
        """(number, status, whether the upstream got the plugin's header)."""
        self._gateway = gateway
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self) -> None:
        with self._gateway.connect() as client:
            while not self._stop.is_set():
                number = next(self._numbers)
                answer = client.send(f"GET /headers/{number} HTTP/1.1\r\nHost: h\r\n\r\n".encode()).read()
                named = answer.status == 200 and ["X-Set", "by the plugin"] in json.loads(answer.body)["headers"]
                self.answers.append((number, answer.status, named))

    def statuses(self) -> set[tuple[int, bool]]:
        return {(status, named) for _, status, named in self.answers}

    def more(self, check: Callable[[], bool] = lambda: True, count: int = 50) -> None:
        """Wait for `count` more answers and for what is asked for."""
        target = len(self.answers) + count
        wait_for(lambda: len(self.answers) >= target and check(), "answers", timeout=30)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def calls(*servers: ForeignServer) -> Counter[str]:
    """How often the servers were asked about each request of a Load."""
    return Counter(said.request.url for server in servers for said in server.seen("headers"))


def test_megabytes_of_bytes_go_both_ways_at_once_without_a_mix_up(
    language: Language, tmp_path: Path, upstream: Upstream
) -> None:
    upstream.on("/bytes", echo_bytes)
    bodies = [bytes([n]) + bytes(range(256)) * (size // 256) for n, size in enumerate([8 * MIB, 3 * MIB, 70_000, 100] * 3)]
    whole = plugged("both", upstream.url, pre="reverse", response="response")
    with gateway_for(foreign(language, tmp_path / "plugin"), tmp_path, upstream, whole, conf=ROOMY) as gateway:
        answers = at_once(gateway, [post("/both/bytes", body) for body in bodies])
        assert [answer.status for answer in answers] == [202] * len(bodies)
        assert all(answer.body == body for answer, body in zip(answers, bodies, strict=True))
        assert gateway.metrics()["preforge_plugin_restarts_total"] == 0


def test_more_calls_than_streams_wait_and_get_their_own_answers(language: Language, tmp_path: Path, upstream: Upstream) -> None:
    with gateway_for(foreign(language, tmp_path / "plugin", streams=5), tmp_path, upstream) as gateway:
        answers = at_once(gateway, [post(f"/slow/{n}", b"%d" % n, "X-Sleep: 0.01") for n in range(200)])
        got = [json.loads(answer.body) for answer in answers if answer.status == 200]
        assert [(one["target"], one["body"]) for one in got] == [(f"/{n}", str(n)) for n in range(200)]


def test_connections_of_a_short_age_cost_no_request(language: Language, tmp_path: Path, upstream: Upstream) -> None:
    server = foreign(language, tmp_path / "plugin", age_ms=100)
    with gateway_for(server, tmp_path, upstream) as gateway:
        with Load(gateway) as load:
            load.more(lambda: len({note["peer"] for note in server.notes()}) >= 10, 200)
        assert load.statuses() == {(200, True)}, gateway.log()
        assert set(calls(server).values()) == {1}


def test_a_graceful_stop_in_a_rolling_update_costs_no_request(language: Language, tmp_path: Path, upstream: Upstream) -> None:
    """The gateway knows a link, which leads to the socket of the server that is to be used."""
    link = tmp_path / "plugin.sock"
    link.symlink_to(tmp_path / "first.sock")
    servers = [foreign(language, tmp_path / name, f"unix:{tmp_path}/{name}.sock") for name in ("first", "second", "third")]
    target: Json = {"coprocess_options": {"coprocess_grpc_server": f"unix://{link}"}}
    with contextlib.ExitStack() as stack, gateway_for(servers[0], tmp_path, upstream, conf=target) as gateway:
        with Load(gateway) as load, gateway.connect() as client:
            for old, new in itertools.pairwise(servers):
                load.more()
                asked = len(old.seen("slow"))
                client.send(get("/slow/x", "h", "X-Sleep: 0.5"))
                wait_for(lambda old=old, asked=asked: len(old.seen("slow")) > asked, "the slow call")  # type: ignore[misc]
                stack.enter_context(serving(new))
                (tmp_path / "swap").symlink_to(new.address.removeprefix("unix:"))
                (tmp_path / "swap").rename(link)
                old.terminate()
                assert client.read().status == 200
                assert old.wait() == 0
                load.more(lambda new=new: len(new.seen("headers")) > 50)  # type: ignore[misc]
        assert load.statuses() == {(200, True)}
        assert set(calls(*servers).values()) == {1}


def test_a_crash_under_load_refuses_until_the_server_is_back(language: Language, tmp_path: Path, upstream: Upstream) -> None:
    server = foreign(language, tmp_path / "plugin")
    with gateway_for(server, tmp_path, upstream) as gateway:
        with Load(gateway) as load:
            for _ in range(2):
                load.more(lambda: load.answers[-1][1] == 200)
                server.kill()
                load.more(lambda: load.answers[-1][1] == 500)
                server.start()
                load.more(lambda: load.answers[-1][1] == 200)
        assert load.statuses() == {(200, True), (500, False)}
        assert set(calls(server).values()) == {1}


def test_a_call_that_nobody_waits_for_ends_at_the_server_too(language: Language, tmp_path: Path, upstream: Upstream) -> None:
    server = foreign(language, tmp_path / "plugin")
    apis = [plugged("gone", upstream.url, pre="waits")]
    apis.append(plugged("late", upstream.url, pre="waits", definition={"preforge": {"plugins": {"deadline": 0.3}}}))
    with gateway_for(server, tmp_path, upstream, *apis) as gateway:
        before = len(upstream.requests)
        assert gateway.fetch("/late/x").status == 500
        wait_for(lambda: len(server.ended("waits")) == 1, "the end by its deadline")
        with gateway.connect() as client:
            client.send(get("/gone/x"))
            wait_for(lambda: len(server.seen("waits")) == 2, "the call")
            client.reset()
        wait_for(lambda: len(server.ended("waits")) == 2, "the end by its client")
        late, gone = (note["left"] for note in server.notes() if note.get("hook") == "waits")
        assert late <= 300 < gone <= 5000, "milliseconds that the server was told"
        assert len(upstream.requests) == before


def test_over_tls_both_sides_know_each_other(language: Language, tmp_path: Path, upstream: Upstream) -> None:
    authority = Authority(tmp_path / "ca")
    cert, key = authority.files("localhost")
    client_cert, client_key = authority.files("gateway.example")
    server = foreign(language, tmp_path / "plugin", tls=(cert, key, authority.bundle))
    shared = {"driver": "grpc", "target": server.address, "tls": True}
    known = {**shared, "ca_file": str(authority.bundle), "server_name": "localhost"}
    servers: Json = {
        "mutual": {**known, "cert_file": str(client_cert), "key_file": str(client_key)},
        "nobody": known,
        "doubtful": {**shared, "cert_file": str(client_cert), "key_file": str(client_key)},
    }
    apis = [
        plugged(name, upstream.url, pre="reverse", definition={"preforge": {"plugins": {"server": name}}}) for name in servers
    ]
    conf: Json = {"coprocess_options": {"enable_coprocess": True}, "preforge": {"plugins": {"servers": servers}}}
    with serving(server), running(tmp_path / "gateway", apis, conf) as gateway:
        wait_for(lambda: gateway.fetch("/mutual/x").status == 200, "the connection")
        body = bytes(range(256)) * 1024
        answer = gateway.fetch("/mutual/x", method="POST", body=body)
        assert json.loads(answer.body)["body"].encode("latin-1") == body[::-1]
        before = len(upstream.requests)
        assert [gateway.fetch(f"/{name}/x").status for name in ("nobody", "doubtful")] == [500, 500]
        assert len(upstream.requests) == before
        assert {said.spec["APIID"] for said in server.seen("reverse")} == {"mutual"}
