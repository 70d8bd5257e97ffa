"""Fetching an archive: one address or path to bytes in a file, within a size and a time."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import random
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO

from coprocess.bundles.address import Address, redirected
from coprocess.bundles.files import open_regular
from coprocess.bundles.settings import BundleError, BundleSettings

# The pauses between attempts (tyk-plugins 7.2, step 6).
_FIRST_PAUSE, _FACTOR, _JITTER, _LONGEST_PAUSE = 0.5, 2.0, 0.5, 5.0
_MAX_REDIRECTS = 5
_CHUNK = 1 << 16
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_WORTH_A_RETRY = frozenset((408, 425, 429))
_SPOOL_BYTES = 1 << 20


class Transient(Exception):
    """An attempt failed in a way that may pass."""


class Refusal(Transient):
    """The server lives: it has answered, but not with the archive."""


class Unreachable(BundleError):
    """The server did not give an answer that settles the matter, however often it was asked."""


class Budget:
    """Seconds that all downloads of one load may take together, and what was found out about servers meanwhile.

    ``dead``: those that did not answer; ``failing``: those that did, but refused an archive at each attempt.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.dead: set[str] = set()
        self.failing: set[str] = set()

    @property
    def left(self) -> float:
        """Seconds, never negative."""
        return max(0.0, self._end - time.monotonic())


def fetch(address: Address | str, settings: BundleSettings, budget: Budget) -> IO[bytes]:
    """Return the archive as an open temporary file.

    Raises BundleError: Unreachable after the last attempt, at once for what another attempt cannot change.
    """
    if isinstance(address, str):
        return _copy(address, settings)
    if address.origin in budget.dead:
        raise Unreachable(f"{address}: not asked: the server did not answer before during this load")
    # Other archives of a server that fails are asked for once: the time is for all.
    attempts = 1 if address.origin in budget.failing else settings.retries + 1
    known = budget.dead
    pause = _FIRST_PAUSE
    for attempt in range(attempts):
        seconds = min(settings.timeout, budget.left)
        if seconds <= 0:
            raise Unreachable(f"{address}: no time left: downloads took all of preforge.bundles.load_timeout")
        try:
            return _attempt(address, settings, seconds)
        except Transient as error:
            reason = str(error)
            known = budget.failing if isinstance(error, Refusal) else budget.dead
        wait = min(_LONGEST_PAUSE, pause) * random.uniform(1 - _JITTER, 1 + _JITTER)
        pause *= _FACTOR
        if attempt + 1 < attempts and wait < budget.left:
            time.sleep(wait)
    known.add(address.origin)
    raise Unreachable(f"{address}: cannot be fetched: {reason} ({attempts} attempt{'s' if attempts > 1 else ''})")


def _copy(path: str, settings: BundleSettings) -> IO[bytes]:
    """The archive at a path, copied so that it cannot change while it is read."""
    try:
        with open(open_regular(path), "rb") as stream:
            return _spool(stream.read, settings, path)
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from None


def _spool(read: Callable[[int], bytes], settings: BundleSettings, where: str) -> IO[bytes]:
    target = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115  # the caller closes it
    size = 0
    try:
        while chunk := read(_CHUNK):
            size += len(chunk)
            if size > settings.max_bytes:
                raise BundleError(f"{where}: larger than {settings.max_bytes} bytes (preforge.bundles.max_bytes)")
            _keep(target, chunk, where)
        target.seek(0)
    except BaseException:
        target.close()
        raise
    return target


def _keep(target: IO[bytes], chunk: bytes, where: str) -> None:
    """Writing is no matter of the server: another attempt would not help."""
    try:
        target.write(chunk)
    except OSError as error:
        raise BundleError(f"{where}: no room for it in {tempfile.gettempdir()}: {error.strerror}") from None


class _Attempt:
    """One attempt on a thread of its own, because a name look-up knows no deadline and a socket only one per read."""

    def __init__(self, address: Address, settings: BundleSettings, seconds: float) -> None:
        self._address, self._settings, self._seconds = address, settings, seconds
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._late = False
        self.result: IO[bytes] | BaseException | None = None

    def run(self) -> None:
        try:
            found: IO[bytes] | BaseException = self._follow()
        except BaseException as error:
            found = error
        with self._lock:
            if self._late and not isinstance(found, BaseException):
                found.close()
            self.result = found

    def give_up(self) -> None:
        """Cut the connection, so that the thread ends soon."""
        with self._lock:
            self._late = True
            # While it connects, the connection has the socket; once the answer is read, it has given it away.
            used = self._socket or (self._connection.sock if self._connection is not None else None)
            if used is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(used, socket.SHUT_RDWR)
            if self.result is not None and not isinstance(self.result, BaseException):
                self.result.close()

    def _follow(self) -> IO[bytes]:
        address = self._address
        for _ in range(_MAX_REDIRECTS + 1):
            connection = self._connection_to(address)
            try:
                self._connect(connection)
                found = self._ask(connection, address)
            finally:
                connection.close()
            if not isinstance(found, Address):
                return found
            address = found
        raise BundleError(f"{self._address}: more than {_MAX_REDIRECTS} redirects")

    def _connection_to(self, address: Address) -> http.client.HTTPConnection:
        if address.scheme == "http":
            return http.client.HTTPConnection(address.host, address.port, timeout=self._seconds)
        context = ssl.create_default_context()
        if self._settings.insecure_skip_verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(address.host, address.port, timeout=self._seconds, context=context)

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if self._late:
                raise TimeoutError
            self._connection, self._socket = connection, None
        connection.connect()
        with self._lock:
            self._socket = connection.sock

    def _ask(self, connection: http.client.HTTPConnection, address: Address) -> IO[bytes] | Address:
        headers = {"Accept-Encoding": "identity", "User-Agent": "preforge", "Connection": "close"}
        if address.credentials:
            headers["Authorization"] = f"Basic {base64.b64encode(address.credentials.encode()).decode()}"
        connection.request("GET", address.target, headers=headers)
        with connection.getresponse() as response:
            return self._judge(response, address)

    def _judge(self, response: http.client.HTTPResponse, address: Address) -> IO[bytes] | Address:
        status, location = response.status, response.getheader("Location")
        if status in _REDIRECTS and location:
            return redirected(address, location)
        if status >= 500 or status in _WORTH_A_RETRY:
            raise Refusal(f"the answer was {status}, expected 200")
        if status != 200:
            raise BundleError(f"{address}: the answer was {status}, expected 200")
        if response.getheader("Content-Encoding", "identity").lower() != "identity":
            raise BundleError(f"{address}: the answer is encoded, which was not asked for")
        expected = response.length
        if expected is not None and expected > self._settings.max_bytes:
            limit = f"{self._settings.max_bytes} bytes (preforge.bundles.max_bytes)"
            raise BundleError(f"{address}: larger than {limit}")
        found = _spool(response.read, self._settings, str(address))
        if expected is not None and found.seek(0, os.SEEK_END) != expected:
            found.close()
            raise Transient("the connection ended before the whole archive had arrived")
        found.seek(0)
        return found


def _attempt(address: Address, settings: BundleSettings, seconds: float) -> IO[bytes]:
    work = _Attempt(address, settings, seconds)
    thread = threading.Thread(target=work.run, name="bundle-download", daemon=True)
    thread.start()
    thread.join(seconds)
    late = Transient(f"no complete answer within {seconds:.3g} s")
    if thread.is_alive():
        work.give_up()
        raise late
    match work.result:
        case TimeoutError():    # the socket's own limit, which is the same, was faster
            raise late
        case ssl.SSLCertVerificationError() as error:
            raise BundleError(f"{address}: the server's certificate is not accepted: {error.verify_message}")
        case http.client.HTTPException() | OSError() as error:
            text = error.strerror if isinstance(error, OSError) else None
            raise Transient(text or str(error) or type(error).__name__)
        case BaseException() as error:
            raise error
        case None:
            raise Transient("the download ended without a result")
        case found:
            return found
