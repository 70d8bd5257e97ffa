"""`make exact`: how many requests a rate limit lets through, counted window by window under full load.

One key, many connections in a closed loop, several workers. The node's own windows are fixed: one begins with the first
request after the last one ended, so the requests that passed are read off shortly before each window ends, and must be
the limit to the request. The algorithms in the store can be counted in the same way; there the command only reports.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench import gateway
from bench.load.engine import Engine
from bench.processes import Child, free_port
from bench.upstream.server import Server

LIMITERS: dict[str, dict[str, Any]] = {
    "local": {},
    "rolling": {"enable_redis_rolling_limiter": True},
    "fixed": {"enable_fixed_window_rate_limiter": True},
    "sentinel": {"enable_sentinel_rate_limiter": True},
}
MARGIN = 0.5    # seconds before the end of a window at which it is read off


def count(limiter: str, workers: int, connections: int, limit: int, per: float, windows: int, folder: Path) -> list[int]:
    """Requests that passed in each window. Raises StartError, RuntimeError for answers that should not be."""
    server = Server(body_bytes=13)
    threading.Thread(target=server.serve, daemon=True).start()
    port = free_port()
    conf = gateway.write(
        folder, "exact", port, f"http://127.0.0.1:{server.port}/", workers, api=gateway.keyed(), options=LIMITERS[limiter]
    )
    child = Child("preforge", gateway.command(conf), folder)
    try:
        child.wait_port(port)
        key = gateway.create_key(port, gateway.session(limit, per, -1))
        text = f"GET /api/x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: {key}\r\n\r\n".encode()
        engine = Engine("127.0.0.1", port, [(text, (), -1)], connections, others=(429,))
        load = threading.Thread(target=engine.run, args=(per * windows + 60,), daemon=True)
        load.start()
        while not engine.counters()["statuses"].get(200):
            time.sleep(0.001)
        begin = time.monotonic()
        passed: list[int] = []
        for number in range(windows):
            time.sleep(max(0.0, begin + per * (number + 1) - MARGIN - time.monotonic()))
            passed.append(engine.counters()["statuses"][200] - sum(passed))
            print(f"window {number + 1} of {windows}: {passed[-1]} passed", file=sys.stderr, flush=True)
        engine.stop()
        load.join(15)
        counters = engine.counters()
        failed = {kind: number for kind, number in counters["failures"].items() if number}
        if failed:
            raise RuntimeError(f"failed requests: {failed}")
        print(f"{counters['requests']} requests were answered, {connections} connections, {workers} workers")
        return passed
    finally:
        child.end()
        server.stop()


def main(arguments: list[str] | None = None) -> int:
    """Count and judge; 1 if the node's own limiter was not exact."""
    parser = argparse.ArgumentParser(prog="python -m bench.exact", description=__doc__)
    parser.add_argument("--limiter", choices=sorted(LIMITERS), default="local", help="which algorithm (default local)")
    parser.add_argument("--workers", type=int, default=4, help="(default 4)")
    parser.add_argument("--connections", type=int, default=200, help="(default 200)")
    parser.add_argument("--limit", type=int, default=1000, help="requests in a window (default 1000)")
    parser.add_argument("--per", type=float, default=10.0, help="seconds of a window (default 10)")
    parser.add_argument("--windows", type=int, default=20, help="how many (default 20)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="preforge-exact-") as name:
        passed = count(
            options.limiter, options.workers, options.connections, options.limit, options.per, options.windows, Path(name)
        )
    print(f"limiter {options.limiter}, {options.limit} in {options.per:g} s: least {min(passed)}, most {max(passed)}")
    if options.limiter != "local":
        return 0
    exact = all(number == options.limit for number in passed)
    print("ok: exact in every window" if exact else f"FAILED: {passed}")
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
