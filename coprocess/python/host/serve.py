# ruff: noqa: PTH100, PTH108, PTH120 - pathlib would make each start longer
"""The life of a host process: set up, run calls one after the other in each thread, end with the worker."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import mmap
import os
import platform
import resource
import sys
import threading
import traceback
from typing import Any

from coprocess.python.host import link, protobuf, wire
from coprocess.python.host.bundle import BundleFault, load
from coprocess.python.host.channel import Channel, Ended

MOST_TEXT = 16384
ASIDE = 800
"""Least number of the descriptors that lead to the worker."""
OUT_OF_MEMORY = 70
"""Exit status."""
_TYK_MODULES = ("decorators", "event", "gateway", "object", "request", "session")
_OURS = os.path.dirname(os.path.abspath(__file__))
# Parts of a reply that the gateway never reads back (tyk-plugins 3.4); a smaller reply is a cheaper one.
_UNREAD = ("headers", "params", "body", "extended_params", "request_uri", "scheme")


def _line_output() -> None:
    """print() writes whole lines: unbuffered, it would write the end of each line by itself."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        setattr(sys, name, open(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False))  # noqa: SIM115


def _tyk_modules() -> None:
    """Make `tyk`, its modules and their bare names importable (tyk-plugins 5.1)."""
    home = "coprocess.python.host.tyk"
    sys.modules["tyk"] = importlib.import_module(home)
    for name in _TYK_MODULES:
        module = importlib.import_module(f"{home}.{name}")
        sys.modules[f"tyk.{name}"] = sys.modules[name] = module


def _explain(error: BaseException) -> str:
    """A traceback without our own frames around the plugin's."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OURS):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT // 2]}\n...\n{text[-MOST_TEXT // 2 :]}"


class Host:
    """One process."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._page: Any = None
        self._most = 0
        self._most_memory = 0
        self._registry: Any = None

    def set_up(self) -> int:
        """Load the bundle and say READY; the number of threads. Raises what goes wrong."""
        kind, _, payload = self._channel.next_call()
        if kind != wire.SETUP:
            raise BundleFault(f"frame {kind} before the set-up")
        setup = json.loads(payload)
        self._most = setup["max_message"]
        self._most_memory = setup["max_memory"]
        _bound_memory(self._most_memory)
        with open(setup["page"], "r+b") as file:
            self._page = mmap.mmap(file.fileno(), wire.PAGE_BYTES)
        os.unlink(setup["page"])
        sys.path[0:0] = setup["python_path"]
        version = protobuf.provide(setup["protobuf_path"], setup["protobuf_needs"])
        protobuf.build_modules()
        _tyk_modules()
        module = load(setup["bundle"], setup["verified"], setup["listed"])
        # Reads the message classes, which exist only now.
        self._registry = importlib.import_module("coprocess.python.host.registry").Registry(module)
        ready = {
            "python": platform.python_version(),
            "protobuf": version,
            "hooks": self._registry.hooks,
            "events": self._registry.events,
        }
        self._channel.send(wire.READY, 0, json.dumps(ready).encode())
        return int(setup["threads"])

    def run(self, slot: int) -> None:
        """Run calls until the end. slot: this thread's place in the shared page."""
        at = slot * wire.SLOT.size
        channel, page, pack = self._channel, self._page, wire.SLOT.pack_into
        while True:
            try:
                kind, ident, payload = channel.next_call()
                pack(page, at, ident)
                self._one(kind, ident, payload)
            except Ended:
                return

    def _one(self, kind: int, ident: int, payload: bytes) -> None:
        """A plugin that raises, SystemExit included, has failed this call and nothing else. Raises Ended."""
        try:
            if kind == wire.EVENT:
                self._registry.fire(payload)
                reply = b""
            else:
                call = self._registry.run(payload)
                request = call.object.request
                for name in _UNREAD:
                    request.ClearField(name)
                call.object.ClearField("spec")
                reply = call.dump()
        except Ended:
            raise
        except MemoryError as error:
            # What took the memory may hold it still, and would fail every call from here on.
            traceback.clear_frames(error.__traceback__)
            limit = f" (at most {self._most_memory} bytes, max_memory)" if self._most_memory else ""
            self._fail(ident, f"{_explain(error).rstrip()}{limit}")
            sys.stderr.write("out of memory\n")
            os._exit(OUT_OF_MEMORY)
        except BaseException as error:
            self._fail(ident, _explain(error))
            return
        if len(reply) > self._most:
            text = f"{call.hook_name}: the reply has {len(reply)} bytes, at most {self._most} are allowed"
            self._channel.send(wire.TOO_LARGE, ident, text.encode("utf-8", "backslashreplace"))
        else:
            self._channel.send(wire.RESULT, ident, reply)

    def _fail(self, ident: int, text: str) -> None:
        self._channel.send(wire.ERROR, ident, text.encode("utf-8", "backslashreplace"))


def _bound_memory(most: int) -> None:
    """What the process may allocate, its children included each by itself; 0: no bound."""
    if most:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _take_pipes() -> tuple[int, int]:
    """Keep standard input and output for the frames alone. Plugins read nothing, and what they print goes to the log.

    Under high numbers: one that a plugin closes by mistake must not come back as a file that the plugin opens.
    """
    aside = max(3, min(ASIDE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 8))
    source, sink = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, aside) for fd in (0, 1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink


def main() -> None:
    """Serve until the worker closes its end. Exit code 1 if the bundle cannot run."""
    channel = Channel(*_take_pipes())
    _line_output()
    link.use(channel)
    host = Host(channel)
    try:
        threads = host.set_up()
    except Ended:
        return
    except BaseException as error:
        text = str(error) if isinstance(error, (BundleFault, protobuf.ProtobufMissing)) else _explain(error)
        with contextlib.suppress(Ended):
            channel.send(wire.FAILED, 0, text.encode("utf-8", "backslashreplace"))
        sys.exit(1)
    for slot in range(1, threads):
        threading.Thread(target=host.run, args=(slot,), name=f"hook-{slot}", daemon=True).start()
    host.run(0)
