"""`preforge start` and its trial run."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import resource
import sys
from pathlib import Path

from core.config import ConfigError
from core.gateway import GatewayApp, set_up_logging
from core.process import upgrade
from core.process.app import BootError
from core.process.control import ControlError, default_path
from core.process.forkguard import ForkRefused
from core.process.listeners import ListenError
from core.process.master import Master
from core.process.pidfile import PidFileError

log = logging.getLogger("preforge")


def _fail(text: str) -> int:
    sys.stderr.write(f"preforge: {text}\n")
    return 1


def start(options: argparse.Namespace) -> int:
    """Run the master until it is told to stop."""
    try:
        app = GatewayApp(options.conf, os.environ, options.port)
    except ConfigError as error:
        for finding in error.findings:
            sys.stderr.write(finding.render() + "\n")
        return _fail("the configuration cannot be used")
    pid_file = options.pid_file or app.config.pid_file_location
    signal_ready = None
    if options.daemon and upgrade.STATE_VARIABLE not in os.environ:
        beside = str(Path(pid_file).with_name("preforge.log")) if pid_file else os.devnull
        try:
            signal_ready = _daemonize(options.log_file or beside)
        except OSError as error:
            return _fail(f"--log-file: {error}")
    set_up_logging(app.config)
    if options.debug:
        logging.getLogger().setLevel(logging.DEBUG)
    for finding in app.findings:
        log.warning("%s", finding.render())
    _raise_limits(app.config.preforge.limits.max_connections)
    control = default_path(app.config.preforge.control_socket, pid_file, app.path)
    try:
        return Master(app, options.arguments, control, pid_file, signal_ready).run()
    except (BootError, ListenError, PidFileError, ControlError, ForkRefused, OSError) as error:
        return _fail(str(error))


def preflight(options: argparse.Namespace) -> int:
    """What a running gateway asks of new code before it becomes that code: it reads standard output, people the rest."""
    try:
        app = GatewayApp(options.conf, os.environ, options.port)
    except ConfigError as error:
        return _fail(str(error))
    from core import worker_server  # noqa: F401, PLC0415  # everything that a worker imports must be there

    report = app.load()
    for finding in report.findings:
        if finding.severity != "info":
            sys.stderr.write(f"{finding.render()}\n")
    if not report.ok:
        return _fail(report.summary)
    sys.stdout.write(f"format {upgrade.FORMAT}\n")
    return 0


def _raise_limits(connections: int) -> None:
    """Every client connection may need an upstream one: raise the descriptor limit as far as is allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 2 * connections:
        log.warning(
            "the limit of %d open files is below what %d connections need (ulimit -n, LimitNOFILE)",
            soft,
            connections,
        )


def _daemonize(log_path: str) -> _Ready:
    """Go on in the background; the command returns when the gateway is ready, or has failed and said why.

    Output goes to the log file from here on, so that nothing of the caller's stays open. Raises OSError if it cannot
    be opened.
    """
    output = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    start_of_log = os.fstat(output).st_size
    read_end, write_end = os.pipe()
    if os.fork():
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            ok = pipe.read(1) == b"1"
        if not ok:
            with open(log_path, "rb") as log_file:
                log_file.seek(start_of_log)
                sys.stderr.write(log_file.read(65536).decode(errors="replace"))
            sys.stderr.flush()
        os._exit(0 if ok else 1)
    os.close(read_end)
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(null)
    os.close(output)
    return _Ready(write_end)


class _Ready:
    """Tells the waiting command that the gateway serves; its end of the pipe closes by itself on a failure."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __call__(self) -> None:
        os.write(self._fd, b"1")
        os.close(self._fd)
