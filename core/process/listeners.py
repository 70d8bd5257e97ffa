"""Listening sockets: one per worker slot (SO_REUSEPORT), or one for all. The master keeps them open all its life."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass

from core.process.app import ListenerSpec


class ListenError(Exception):
    """An address cannot be listened on; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """sockets[name][slot]; in shared mode every slot has the same socket."""

    sockets: dict[str, list[socket.socket]]

    def of_slot(self, slot: int) -> dict[str, socket.socket]:
        return {name: found[slot] for name, found in self.sockets.items()}

    def all(self) -> list[socket.socket]:
        """Every socket once."""
        return list({s.fileno(): s for found in self.sockets.values() for s in found}.values())

    def keep_only(self, slot: int) -> None:
        """In a worker: close the sockets of the other slots, so that no connection waits in a queue nobody serves."""
        own = {s.fileno() for s in self.of_slot(slot).values()}
        for sock in self.all():
            if sock.fileno() not in own:
                sock.close()


def bind_all(specs: list[ListenerSpec], workers: int, shared: bool, backlog: int) -> Listeners:
    """Bind every listener. Raises ListenError, with nothing left open."""
    sockets: dict[str, list[socket.socket]] = {}
    opened: list[socket.socket] = []
    try:
        for spec in specs:
            _probe(spec)
            if shared:
                one = _bind(spec, backlog, reuse_port=False)
                opened.append(one)
                sockets[spec.name] = [one] * workers
            else:
                sockets[spec.name] = []
                for _ in range(workers):
                    sock = _bind(spec, backlog, reuse_port=True)
                    opened.append(sock)
                    sockets[spec.name].append(sock)
    except ListenError:
        for sock in opened:
            sock.close()
        raise
    return Listeners(sockets)


def _probe(spec: ListenerSpec) -> None:
    """With SO_REUSEPORT a second gateway could silently share the port: prove that nobody has it, without the option."""
    _bind(spec, backlog=0, reuse_port=False).close()


def _bind(spec: ListenerSpec, backlog: int, *, reuse_port: bool) -> socket.socket:
    """backlog 0: bind only."""
    family = socket.AF_INET6 if ":" in spec.address or not spec.address else socket.AF_INET
    if not spec.address and not socket.has_dualstack_ipv6():
        family = socket.AF_INET
    where = f"{spec.address or '*'}:{spec.port} ({spec.name})"
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if not spec.address else 1)
        sock.bind((spec.address, spec.port))
        if backlog:
            sock.listen(backlog)
            sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ListenError(f"cannot listen on {where}: another process has this port") from error
        raise ListenError(
            f"cannot listen on {where}: {os.strerror(error.errno) if error.errno else error}"
        ) from error
    except OverflowError as error:
        sock.close()
        raise ListenError(f"cannot listen on {where}: a port is a number from 0 to 65535") from error
    return sock
