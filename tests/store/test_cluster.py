"""A real cluster: keys go to their node, keys that move are followed, a node that dies takes only its own keys along."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from core.store.client import Store, open_store
from core.store.errors import StoreAway, StoreError, StoreReply
from core.store.script import Script
from core.store.settings import Address, StoreSettings
from core.store.slots import command_slot, slot_of, slot_ranges
from tests.store.conftest import opened, run, until
from tests.support.cluster import Cluster, cluster
from tests.support.gateway import free_port
from tests.support.valkey import Valkey

ADD = Script("local n = redis.call('INCRBY', KEYS[1], ARGV[1]); return n")


@pytest.fixture(scope="module")
def formed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three masters and one node that may become a replica."""
    with cluster(tmp_path_factory.mktemp("cluster"), masters=3, more=1) as found:
        yield found


@pytest.fixture
def empty(formed: Cluster) -> Cluster:
    """The cluster without keys; each node knows no script."""
    for node in formed.masters:
        if isinstance(node.ask("FLUSHALL"), Exception):
            continue
        node.ask("SCRIPT", "FLUSH")
    return formed


def wanted(*nodes: Valkey, **more: Any) -> StoreSettings:
    """How to reach a cluster by some of its nodes."""
    addresses = tuple(Address("127.0.0.1", node.port) for node in nodes)
    return StoreSettings(addresses, cluster=True, **{"command_timeout": 1.0, **more})


def keys_of(found: Cluster, count: int = 1) -> list[list[str]]:
    """For each master, in the order of the cluster, names of keys that belong to it."""
    names: list[list[str]] = [[] for _ in found.masters]
    number = 0
    while min(len(part) for part in names) < count:
        key = f"key-{number}"
        number += 1
        part = names[found.masters.index(found.owner(slot_of(key.encode())))]
        if len(part) < count:
            part.append(key)
    return names


# -- which node ----------------------------------------------------------------------------


def test_slots_are_those_of_the_specification(formed: Cluster) -> None:
    # Redis cluster specification: "123456789" has CRC16 31C3; braces choose what is hashed.
    assert slot_of(b"123456789") == 0x31C3 % 16384
    node = formed.masters[0]
    for key in (b"a", b"{user1000}.following", b"foo{}{bar}", b"foo{{bar}}zap", b"foo{bar}{zap}", b"", b"\xff\x00", b"x{y"):
        assert slot_of(key) == node.ask("CLUSTER", "KEYSLOT", key), key
    assert command_slot(("EVALSHA", "sha", 1, "k", "argument")) == slot_of(b"k")
    assert command_slot(("EVAL", "return 1", 0)) is None
    assert command_slot((b"publish", "channel", "m")) is None


def test_each_command_goes_to_the_node_that_has_its_key(empty: Cluster) -> None:
    async def body() -> None:
        async with opened(wanted(empty.masters[0])) as store:
            names = [f"apikey-{number}" for number in range(300)]
            await asyncio.gather(*(store.call("SET", name, name) for name in names))
            assert await asyncio.gather(*(store.call("GET", name) for name in names)) == [n.encode() for n in names]
            assert store.stats() | {"waiting": 0} == {
                "commands": 600, "errors": 0, "timeouts": 0, "lost": 0, "refused": 0, "reconnects": 0, "waiting": 0,
                "connected": 1, "subscribed": 1,
            }  # fmt: skip

    run(body())
    sizes = [node.ask("DBSIZE") for node in empty.masters]
    assert sum(sizes) == 300
    assert min(sizes) > 50


def test_commands_of_many_keys_are_put_together_from_all_nodes(empty: Cluster) -> None:
    async def body() -> None:
        async with opened(wanted(empty.masters[1])) as store:
            names = [f"k{number}" for number in range(60)]
            replies = await store.pipeline([*(("SET", name, name) for name in names[:40]), ("INCR", "k0"), ("GET", "k1")])
            assert replies[:40] == [b"OK"] * 40
            assert isinstance(replies[40], StoreReply)
            assert replies[41] == b"k1"
            assert await store.mget(names) == [*(n.encode() for n in names[:40]), *[None] * 20]
            assert await store.call("EXISTS", *names) == 40
            assert await store.call("DEL", *names, "k1") == 40
            await store.call("LPUSH", "list", 1)
            assert await store.mget(["list", "k3"]) == [None, None]

    run(body())


def test_scan_sees_the_keys_of_all_masters(empty: Cluster) -> None:
    async def body() -> None:
        async with opened(wanted(empty.masters[2])) as store:
            names = sorted(f"apikey-{number}" for number in range(2500))
            await store.pipeline([("SET", name, 1) for name in [*names, "other"]])
            assert await store.scan("apikey-*") == [name.encode() for name in names]

    run(body())


def test_scripts_run_on_every_node_and_again_when_one_forgets_them(empty: Cluster) -> None:
    async def body() -> None:
        async with opened(wanted(empty.masters[0])) as store:
            names = [part[0] for part in keys_of(empty)]
            for turn in (1, 2):
                assert [await store.script(ADD, [name], [1]) for name in names] == [turn] * 3
            empty.masters[1].ask("SCRIPT", "FLUSH")
            assert [await store.script(ADD, [name], [1]) for name in names] == [3] * 3
            assert store.stats()["errors"] == 0
            with pytest.raises(StoreReply, match="CROSSSLOT"):
                await store.script(ADD, names[:2], [1])

    run(body())


def test_messages_reach_subscribers_at_any_node(empty: Cluster) -> None:
    async def body() -> None:
        async with opened(wanted(*empty.masters)) as store:
            heard: list[bytes] = []
            states: list[bool] = []
            for _ in range(3):
                store.subscribe("news", heard.append, states.append)
            await until(lambda: states == [True] * 3, "subscribed")
            for number in range(6):
                await store.publish("news", b"%d" % number)
            await until(lambda: len(heard) == 18, "each subscriber hears all")
            assert sorted(heard) == sorted(b"%d" % number for number in range(6) for _ in range(3))

    run(body())


# -- keys that move ------------------------------------------------------------------------


def test_a_moved_slot_is_followed_and_learnt(empty: Cluster) -> None:
    async def body() -> None:
        async with opened(wanted(empty.masters[0])) as store:
            key = keys_of(empty)[0][0]
            slot = slot_of(key.encode())
            await store.call("SET", key, "here")
            for target in (empty.masters[1], empty.masters[0]):
                empty.move(slot, target)
                assert await store.call("GET", key) == b"here"
                replies: list[Any] = []
                for _ in range(20):
                    store.send(replies.append, "GET", key)
                await until(lambda: len(replies) == 20, "all replies")  # noqa: B023
                assert replies == [b"here"] * 20
            assert store.stats()["errors"] == 0

    run(body())


def test_keys_on_the_move_are_found_at_either_node(empty: Cluster) -> None:
    async def body() -> None:
        async with opened(wanted(empty.masters[0])) as store:
            tag = keys_of(empty)[0][0]
            slot = slot_of(tag.encode())
            moved, stays, new = f"{{{tag}}}1", f"{{{tag}}}2", f"{{{tag}}}3"
            await store.pipeline([("SET", moved, "m"), ("SET", stays, "s")])
            source, target = empty.masters[:2]
            empty.begin_move(slot, source, target)
            try:
                empty.move_key(moved, source, target)
                assert await store.call("GET", moved) == b"m"
                assert await store.call("GET", stays) == b"s"
                assert await store.script(ADD, [new], [7]) == 7
                assert target.ask_all(("ASKING",), ("GET", new)) == [b"OK", b"7"]
                assert await asyncio.gather(*(store.call("INCR", new) for _ in range(30))) == list(range(8, 38))
                # Keys at both nodes: neither can answer until the move is over.
                both = asyncio.ensure_future(store.mget([moved, stays]))
                await asyncio.sleep(0.1)
                assert not both.done()
            finally:
                empty.end_move(slot, source, target)
            assert await both == [b"m", b"s"]
            assert await store.call("GET", new) == b"37"
            empty.move(slot, source)
            assert await store.call("GET", new) == b"37"

    run(body())


# -- nodes that fail -----------------------------------------------------------------------


def test_a_seed_that_is_away_does_not_matter(empty: Cluster) -> None:
    async def body() -> None:
        away = Valkey(empty.masters[0].directory, port=free_port())
        async with opened(wanted(away, empty.masters[2])) as store:
            assert store.available
            assert await store.call("SET", "a", 1) == b"OK"

    run(body())


async def fails(store: Store, key: str) -> None:
    with pytest.raises(StoreAway):
        await store.call("GET", key)


def test_a_paused_node_holds_up_its_own_keys_alone(empty: Cluster) -> None:
    async def body() -> None:
        async with opened(wanted(*empty.masters, command_timeout=0.4, max_waiting=20)) as store:
            mine, others, third = (part[0] for part in keys_of(empty))
            paused = empty.masters[0]
            paused.pause()
            try:
                replies: list[Any] = []
                for _ in range(50):
                    store.send(replies.append, "GET", mine)
                assert await store.mget([others, third]) == [None, None]
                await until(lambda: len(replies) == 50, "all are answered")
                assert all(isinstance(reply, StoreAway) for reply in replies)
                assert store.stats()["refused"] == 30
                # Those whose time is over, and those that then lose their connection.
                assert store.stats()["timeouts"] >= 1
                assert store.stats()["timeouts"] + store.stats()["lost"] == 20
                await fails(store, mine)
                with pytest.raises(StoreAway):
                    await store.mget([mine, others])
                with pytest.raises(StoreAway):
                    await store.scan("*")
                assert await store.call("GET", others) is None
            finally:
                paused.resume()
            await until(lambda: store.available, "the node is connected again")
            assert await store.call("SET", mine, 1) == b"OK"

    run(body())
    # A node that was away for a moment may have been taken for failed.
    asyncio.run(until(empty.whole, "the cluster is whole"))


def test_a_killed_master_is_replaced_by_its_replica_and_by_itself_later(empty: Cluster) -> None:
    replica, killed = empty.more[0], empty.masters[2]

    async def body() -> None:
        await until(lambda: replica.ask("CLUSTER", "REPLICATE", empty.id_of(killed)) == b"OK", "it follows the master")
        await until(lambda: b"master_link_status:up" in replica.ask("INFO", "replication"), "it is in step")
        async with opened(wanted(empty.masters[0], command_timeout=0.5)) as store:
            heard: list[bytes] = []
            for _ in range(4):
                store.subscribe("news", heard.append, lambda _: None)
            lost, kept, _ = reversed([part[0] for part in keys_of(empty)])
            await store.pipeline([("SET", lost, "l"), ("SET", kept, "k"), ("WAIT", 1, 1000)])
            await until(lambda: replica.ask_all(("READONLY",), ("GET", lost))[1] == b"l", "the replica has the key")
            killed.kill()
            await until(lambda: not store.available, "the loss is seen")
            await fails(store, lost)
            await until(lambda: empty.owner(slot_of(lost.encode())) is replica, "the replica takes over")
            await until(lambda: store.available, "the new master is connected")
            assert await store.mget([lost, kept]) == [b"l", b"k"]
            await until(lambda: store.stats()["subscribed"], "all are subscribed again")
            await store.publish("news", b"n")
            await until(lambda: heard == [b"n"] * 4, "all subscribers hear")
            killed.start()
            await until(lambda: b"master_link_status:up" in killed.ask("INFO", "replication"), "the old one follows")
            # A planned switch: both nodes go on, and the one that was the master sends us to the other.
            assert killed.ask("CLUSTER", "FAILOVER", "TAKEOVER") == b"OK"
            await until(lambda: replica.ask("ROLE")[0] == b"slave", "it is the master again")
            assert await store.call("SET", lost, "again") == b"OK"
            assert killed.ask("GET", lost) == b"again"

    run(body())


# -- what makes no sense -------------------------------------------------------------------


def test_store_starts_and_answers_when_no_node_is_there() -> None:
    async def body() -> None:
        store = open_store(StoreSettings((Address("127.0.0.1", free_port()),), cluster=True, command_timeout=0.3))
        await store.start()
        assert not store.available
        for command in (("GET", "a"), ("MGET", "a", "b"), ("PUBLISH", "c", "m"), ("DEL", "a", "b")):
            with pytest.raises(StoreAway):
                await store.call(*command)
        with pytest.raises(StoreAway):
            await store.scan("*")
        with pytest.raises(StoreError, match="cannot be sent"):
            await store.call("EVAL", "return 1", "many", "k")
        assert store.stats()["refused"] > 0
        await store.close()

    run(body())


@pytest.mark.parametrize(
    "answer", [b"OK", 7, [1], [[0, 1]], [[0, 99999, [b"h", 1]]], [[5, 0, [b"h", 1]]], [[0, 5, [b"h", b"x"]]], [[0, 5, b"h"]]]
)
def test_answers_about_slots_that_make_no_sense_are_refused(answer: Any) -> None:
    asked = Address("h", 1)
    with pytest.raises(StoreAway, match="cannot be read"):
        slot_ranges(answer, asked)
    assert slot_ranges([[0, 5, [b"", 7, b"id"], [b"replica", 8]]], asked) == [(0, 5, Address("h", 7))]


@pytest.mark.parametrize("reply", [b"-MOVED x y\r\n", b"-MOVED 99999 h:1\r\n", b"-ASK\r\n", b"-MOVED 1 nowhere\r\n", b":3\r\n"])
def test_a_node_that_answers_nonsense_leaves_no_command_without_an_answer(reply: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("sockname")[1]
        slots = b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % port
        while data := await reader.read(65536):
            for name in (b"PING", b"SLOTS", b"MGET"):
                if name in data:
                    writer.write({b"PING": b"+PONG\r\n", b"SLOTS": slots}.get(name, reply))
        writer.close()

    async def body() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        async with opened(StoreSettings((address,), cluster=True)) as store:
            assert store.available
            with pytest.raises(StoreReply):
                await store.mget(["a", "b"])
        server.close()

    run(body())
