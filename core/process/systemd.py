"""The notification protocol of systemd (sd_notify(3)), spoken directly: datagrams to NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """Sends states to the service manager; does nothing without NOTIFY_SOCKET.

    watchdog: seconds between WATCHDOG=1 messages (half of WATCHDOG_USEC), None if not asked for.
    """

    def __init__(self, environ: dict[str, str] | os._Environ[str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.watchdog = int(usec) / 2e6 if usec.isdigit() and int(usec) and mine else None

    def send(self, *states: str) -> None:
        """Send states such as "READY=1" in one datagram; a service manager that is away is no error."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.connect(self._address)
                sock.send("\n".join(states).encode())
            except OSError:
                return

    def ready(self, status: str) -> None:
        self.send("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self.send("STOPPING=1")

    def starting(self, status: str, seconds: int) -> None:
        """The start goes on and may take this much longer."""
        self.send(f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={seconds * 1_000_000}")

    def alive(self) -> None:
        self.send("WATCHDOG=1")
