"""A gateway with scripts, its upstreams, and what its processes hold."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import gateway
from bench.processes import Child, free_port, rss_bytes, tree
from bench.scripts.apis import Fields
from bench.scripts.slow import SlowServer
from bench.upstream.server import Server

TIMEOUT = 1             # seconds that a script may run
BODY = 13               # bytes of the upstream's answer


class Failed(Exception):
    """Something of the benchmark did not go as it has to; the text says what."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the gateway holds now. Memory in MB (10**6 bytes); pss: of workers and master; store: PSS of the embedded store;
    rss: the largest worker; descriptors, threads: of all workers."""

    pss: float
    store: float
    rss: float
    descriptors: int
    threads: int


def pss_mb(pid: int) -> float:
    """Proportional set size of a process, in MB; 0 if it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def entries(folder: str) -> int:
    """How many files a directory has."""
    return sum(1 for _ in Path(folder).iterdir())


class Upstreams:
    """A fast one and a slow one, in this process."""

    def __init__(self) -> None:
        self.fast = Server(body_bytes=BODY)
        self._thread = threading.Thread(target=self.fast.serve, daemon=True)
        self._thread.start()
        self.slow = SlowServer()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.fast.port}"

    @property
    def slow_url(self) -> str:
        return f"http://127.0.0.1:{self.slow.port}"

    def stop(self) -> None:
        self.fast.stop()
        self.slow.stop()
        self._thread.join(2)


class Scene:
    """One gateway. apis: API id, which is also its listen path, -> fields of the definition; there is a plain `api` besides."""

    def __init__(
        self,
        folder: Path,
        upstream: str,
        apis: dict[str, Fields],
        contexts: int = 2,
        max_contexts: int = 16,
        workers: int = 2,
        cpus: set[int] | None = None,
    ) -> None:
        self.port = free_port()
        self.count = workers
        self.conf = gateway.write(
            folder, "gateway", self.port, f"{upstream}/", workers,
            options={
                "enable_jsvm": True,
                "jsvm_timeout": TIMEOUT,
                "preforge": {"workers": workers, "jsvm": {"contexts": contexts, "max_contexts": max_contexts}},
            },
        )  # fmt: skip
        for api_id, fields in apis.items():
            made = gateway.definition(api_id, f"/{api_id}/", f"{upstream}/", **fields)
            (self.conf.parent / "apps" / f"{api_id}.json").write_text(json.dumps(made))
        self.child = Child("preforge", gateway.command(self.conf), folder, cpus)
        try:
            self.child.wait_port(self.port)
            self.workers = self._ready()
        except Exception:
            self.child.end()
            raise

    def _ready(self) -> list[int]:
        """Process ids of the workers, once all are ready."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = self.status()
            pids = [int(worker["pid"]) for worker in found["workers"] if worker["state"] == "ready"]
            if len(pids) == self.count:
                return pids
            time.sleep(0.1)
        raise Failed(f"{self.count} workers were not ready within a minute")

    def status(self) -> dict[str, Any]:
        """What `preforge status` says. Raises Failed."""
        program = gateway.command(self.conf)[0]
        command = [program, "status", "--json", "--conf", str(self.conf)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode:
            raise Failed(f"preforge status: {done.stderr or done.stdout}")
        return dict(json.loads(done.stdout))

    def lost(self) -> int:
        """Workers that are not there any more."""
        now = {int(worker["pid"]) for worker in self.status()["workers"] if worker["state"] == "ready"}
        return len(set(self.workers) - now)

    def held(self) -> Held:
        """What its processes hold at this moment."""
        store = int(self.status().get("storage", {}).get("pid") or 0)
        return Held(
            sum(pss_mb(pid) for pid in tree(self.child.pid) if pid != store),
            pss_mb(store) if store else 0.0,
            max(rss_bytes(pid) for pid in self.workers) / 1e6,
            sum(entries(f"/proc/{pid}/fd") for pid in self.workers),
            sum(entries(f"/proc/{pid}/task") for pid in self.workers),
        )  # fmt: skip

    def metrics(self) -> dict[str, int]:
        """Metrics that have no labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.split() for line in lines if not line.startswith("#") and "{" not in line)
        return {name: int(float(value)) for name, value in pairs}

    def connections(self) -> dict[int, http.client.HTTPConnection]:
        """Process id of each worker -> a keep-alive connection to it. Raises Failed."""
        found: dict[int, http.client.HTTPConnection] = {}
        for _ in range(400):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            get(connection, "/api/x")
            pid = self._owner(connection.sock.getsockname()[1])
            if pid is None or pid in found:
                connection.close()
            else:
                found[pid] = connection
            if len(found) == len(self.workers):
                return found
        raise Failed("no connection led to one of the workers")

    def _owner(self, client: int) -> int | None:
        """The worker that has the connection from a port."""
        ends = f"0100007F:{self.port:04X}", f"0100007F:{client:04X}"
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        inode = next((row[9] for row in rows if tuple(row[1:3]) == ends), "")
        for pid in self.workers:
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) == f"socket:[{inode}]":
                        return pid
        return None

    def end(self) -> None:
        self.child.end()


def get(connection: http.client.HTTPConnection, path: str) -> None:
    """One request that has to be answered with 200. Raises Failed."""
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise Failed(f"{path} was answered with {answer.status}: {body[:200].decode(errors='replace')}")


def request(port: int, path: str, length: int = -1) -> tuple[bytes, tuple[int, ...], int]:
    """One request for the load engine. length: of the answer's body, if it has to be that."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode(), (), length
