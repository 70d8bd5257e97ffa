"""`python -m bench.tour --conf FILE`: the upstream, the gateway, and what to try."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from bench.tour.upstream import listen

UPSTREAM_PORTS = (8090, 8091)
READY_SECONDS = 30.0
TRIES = (
    ("hello", "the gateway itself: its health"),
    ("echo/any/path?q=1", "a request as the upstream saw it, listen path stripped"),
    ("echo/status/404", "an upstream's status comes back unchanged"),
    ("echo/stream", "five lines, half a second apart, not held back (use curl -N)"),
    ("headers/", "X-Added put in, X-Secret taken out (try -H 'X-Secret: 1')"),
    ("balanced/", "repeat it: upstream_port changes between 8090 and 8091"),
    ("broken/", "nothing listens behind this one: the gateway's error page"),
)


def address(conf: Path) -> tuple[str, int]:
    """Host and port to reach the gateway of this configuration. Raises OSError or ValueError."""
    loaded = {key.lower(): value for key, value in json.loads(conf.read_text()).items()}
    host = loaded.get("listen_address") or "127.0.0.1"
    return ("127.0.0.1" if host == "0.0.0.0" else host), int(loaded.get("listen_port") or 8080)


async def _ready(host: str, port: int, gateway: asyncio.subprocess.Process) -> bool:
    """Whether the gateway answers /hello within 30 seconds; False when it ended or did not answer."""
    for _ in range(int(READY_SECONDS * 10)):
        if gateway.returncode is not None:
            return False
        try:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            line = await reader.readline()
            writer.close()
            if b" 200 " in line:
                return True
        except OSError:
            pass
        await asyncio.sleep(0.1)
    return False


async def tour(conf: Path) -> int:
    """Run until Ctrl-C or until the gateway ends; the exit code."""
    try:
        host, port = address(conf)
        servers = await listen(UPSTREAM_PORTS)
    except (OSError, ValueError) as error:
        print(f"tour: {error}", file=sys.stderr)
        return 1
    command = Path(sys.executable).parent / "preforge"
    gateway = await asyncio.create_subprocess_exec(
        str(command), "start", "--conf", str(conf), start_new_session=True
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    ended = asyncio.create_task(gateway.wait())
    asked = asyncio.create_task(stop.wait())
    ready = asyncio.create_task(_ready(host, port, gateway))
    await asyncio.wait({ready, asked}, return_when=asyncio.FIRST_COMPLETED)
    code = 0
    if ready.done() and ready.result():
        print(f"\nServing {conf} on {host}:{port}. Try, in another terminal:\n")
        for path, shows in TRIES:
            print(f"  curl -i 'http://{host}:{port}/{path}'\n      {shows}")
        print("\nThe definitions are in bench/tour/apps. Ctrl-C stops everything.", flush=True)
        await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
    elif not asked.done():
        print(f"tour: the gateway did not answer on {host}:{port}; see its messages above", file=sys.stderr)
        code = 1
    ready.cancel()
    if gateway.returncode is None:
        gateway.terminate()
    result = await gateway.wait()
    asked.cancel()
    for server in servers:
        server.close()
    return code or result


def main() -> int:
    """Command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.tour", description=__doc__)
    parser.add_argument("--conf", type=Path, default=Path("tyk.conf.example"), help="configuration to serve")
    return asyncio.run(tour(parser.parse_args().conf))


if __name__ == "__main__":
    sys.exit(main())
