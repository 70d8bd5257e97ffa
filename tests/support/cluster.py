"""A cluster of real servers for tests, formed by hand: CLUSTER ADDSLOTSRANGE and MEET."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.gateway import free_port, wait_for
from tests.support.valkey import Valkey

SLOTS = 16384
OPTIONS = (
    "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--appendonly", "yes", "--appendfsync", "no",
    "--repl-diskless-sync-delay", "0",
)  # fmt: skip


class Cluster:
    """Masters with equal shares of the slots; `more` nodes know the others and have no slots."""

    def __init__(self, directory: Path, masters: int, more: int) -> None:
        self.masters = [self._node(directory / f"node{n}") for n in range(masters)]
        self.more = [self._node(directory / f"more{n}") for n in range(more)]
        self.nodes = [*self.masters, *self.more]
        self._ids: dict[int, str] = {}

    @staticmethod
    def _node(directory: Path) -> Valkey:
        # The usual port of the bus, 10000 over the other, may not exist.
        return Valkey(directory, *OPTIONS, "--cluster-port", str(free_port()))

    def start(self) -> None:
        """Start the nodes and wait until each says that the cluster is whole."""
        for node in self.nodes:
            node.start()
        share = SLOTS // len(self.masters)
        for number, node in enumerate(self.masters):
            last = SLOTS - 1 if node is self.masters[-1] else (number + 1) * share - 1
            node.ask_all(("CLUSTER", "ADDSLOTSRANGE", number * share, last), ("CLUSTER", "SET-CONFIG-EPOCH", number + 1))
        first = self.nodes[0]
        for node in self.nodes[1:]:
            bus = node.options[node.options.index("--cluster-port") + 1]
            assert first.ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus) == b"OK"
        wait_for(self.whole, "the cluster is whole", 30)

    def whole(self) -> bool:
        """Whether all nodes know each other and serve all slots."""
        wanted = (b"cluster_state:ok", f"cluster_known_nodes:{len(self.nodes)}".encode())
        infos = [node.ask("CLUSTER", "INFO") for node in self.nodes]
        return all(line in info for info in infos for line in wanted)

    def id_of(self, node: Valkey) -> str:
        """How the cluster names a node."""
        if node.port not in self._ids:
            self._ids[node.port] = node.ask("CLUSTER", "MYID").decode()
        return self._ids[node.port]

    def owner(self, slot: int) -> Valkey:
        """The master of a slot, as the first node that runs knows it."""
        asked = next(node for node in self.nodes if node.process is not None and node.process.poll() is None)
        for first, last, master, *_ in asked.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == master[1])
        raise AssertionError(f"slot {slot} has no master")

    def begin_move(self, slot: int, source: Valkey, target: Valkey) -> None:
        """From now on keys of a slot may be at either node."""
        assert target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source)) == b"OK"
        assert source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target)) == b"OK"

    def move_key(self, key: str, source: Valkey, target: Valkey) -> None:
        """Move one key of a slot that is being moved."""
        assert source.ask("MIGRATE", "127.0.0.1", target.port, key, 0, 5000) == b"OK"

    def end_move(self, slot: int, source: Valkey, target: Valkey) -> None:
        """Move what is left and tell both who has the slot now."""
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            for key in keys:
                self.move_key(key.decode(), source, target)
        for node in (target, source):
            assert node.ask("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target)) == b"OK"

    def move(self, slot: int, target: Valkey) -> None:
        """Move a slot with all its keys."""
        source = self.owner(slot)
        if source is not target:
            self.begin_move(slot, source, target)
            self.end_move(slot, source, target)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


@contextlib.contextmanager
def cluster(directory: Path, masters: int = 3, more: int = 0) -> Iterator[Cluster]:
    """A formed cluster, ended afterwards."""
    found = Cluster(directory, masters, more)
    try:
        found.start()
        yield found
    finally:
        found.stop()
