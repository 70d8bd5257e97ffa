"""Making a connection: transport, TLS, log-in, database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.store.connection import Callback, Connection, Counters
from core.store.errors import StoreReply
from core.store.settings import Address, StoreSettings


async def dial(
    settings: StoreSettings,
    address: Address,
    counters: Counters,
    lost: Callable[[Connection], None],
    on_push: Callback | None = None,
    timeout: float = 0.0,
) -> Connection:
    """A connection that may be used. Raises OSError, ssl.SSLError or StoreError; nothing stays open then."""
    loop = asyncio.get_running_loop()

    def make() -> Connection:
        return Connection(settings, counters, lost, on_push, timeout)

    connection: Connection
    if not address.port:
        _, connection = await loop.create_unix_connection(make, address.host)
    elif settings.tls is None:
        _, connection = await loop.create_connection(make, address.host, address.port)
    else:
        context = settings.tls.context()
        _, connection = await loop.create_connection(
            make, address.host, address.port, ssl=context, server_hostname=address.host
        )
    try:
        await _log_in(connection, settings)
    except BaseException:
        connection.close("the log-in failed")
        raise
    return connection


async def _log_in(connection: Connection, settings: StoreSettings) -> None:
    if settings.username:
        await connection.call("AUTH", settings.username, settings.password)
    elif settings.password:
        await connection.call("AUTH", settings.password)
    if settings.database and not settings.cluster:
        await connection.call("SELECT", settings.database)
    try:
        await connection.call("PING")
    except StoreReply as error:
        # Whoever may not PING (an ACL) is logged in nevertheless; a server that loads or wants a password is away.
        if not str(error).startswith("NOPERM"):
            raise
    if settings.embedded:
        connection.run = run_id(await connection.call("INFO", "server"))


def run_id(info: bytes) -> bytes:
    """Which run of the server answers: its run_id, new after each start."""
    for line in info.splitlines():
        if line.startswith(b"run_id:"):
            return line[7:].strip()
    return b""
