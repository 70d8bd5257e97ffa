"""The verbs that talk to a running gateway, and those that need none."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from typing import Any

from core.config import ConfigError, load
from core.config.lint import lint as lint_config
from core.findings import Finding
from core.gateway import product_version
from core.process.control import ControlError, ask, default_path

NOT_RUNNING = 3
ASK_SECONDS = 400.0
STOP_MARGIN = 10.0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _fail(text: str, code: int = 1) -> int:
    sys.stderr.write(f"preforge: {text}\n")
    return code


def _config(options: argparse.Namespace) -> tuple[Any, str] | int:
    try:
        loaded = load(options.conf, os.environ)
    except ConfigError as error:
        return _fail(str(error))
    config = loaded.config
    return config, default_path(config.preforge.control_socket, options.pid_file or config.pid_file_location, loaded.path)


def _ask(options: argparse.Namespace, verb: str) -> tuple[Any, dict[str, Any]] | int:
    found = _config(options)
    if isinstance(found, int):
        return found
    config, path = found
    try:
        return config, ask(path, verb, ASK_SECONDS)
    except ControlError as error:
        return _fail(str(error), NOT_RUNNING)


def stop(options: argparse.Namespace) -> int:
    """Stop, and wait until the gateway is gone."""
    found = _ask(options, "stop")
    if isinstance(found, int):
        return found
    config, reply = found
    deadline = time.monotonic() + config.graceful_shutdown_timeout_duration + STOP_MARGIN
    pid = int(reply["pid"])
    while _alive(pid):
        if time.monotonic() > deadline:
            return _fail(f"the gateway ({pid}) has not ended yet")
        time.sleep(0.05)
    _say("stopped")
    return 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def reload(options: argparse.Namespace) -> int:
    """Reload, and show what was found."""
    return _done(_ask(options, "reload"), "reloaded")


def upgrade(options: argparse.Namespace) -> int:
    """Upgrade: returns when the new code has been started, and then waits until all workers run it."""
    found = _ask(options, "upgrade")
    if isinstance(found, int) or not found[1].get("ok"):
        return _done(found, "")
    deadline = time.monotonic() + ASK_SECONDS
    path = _config(options)
    while not isinstance(path, int) and time.monotonic() < deadline:
        time.sleep(0.1)
        try:
            status = ask(path[1], "status", 10.0)
        except ControlError:
            continue
        if status["state"] == "running" and all(w["state"] == "ready" for w in status["workers"]):
            _say("upgraded")
            return 0
    return _fail("the new workers are not ready yet; see the log")


def _done(found: tuple[Any, dict[str, Any]] | int, text: str) -> int:
    if isinstance(found, int):
        return found
    reply = found[1]
    for finding in reply.get("findings", ()):
        _say(finding)
    if not reply.get("ok"):
        return _fail(str(reply.get("error", "failed")))
    _say(text)
    return 0


def status(options: argparse.Namespace) -> int:
    """Show the running gateway."""
    found = _ask(options, "status")
    if isinstance(found, int):
        return found
    reply = found[1]
    if options.json:
        _say(json.dumps(reply, indent=2))
        return 0
    _say(f"gateway {reply['pid']}: {reply['state']}, up {reply['uptime']:g} s, "
         f"{reply['reloads']} reloads (last: {reply['last_reload'] or 'none'}), {len(reply['findings'])} findings")  # fmt: skip
    store = reply.get("store")
    if store:
        _say(f"store: {store['kind']} at {store['address']}, "
             f"{store['connected']} of {len(reply['workers'])} workers connected")  # fmt: skip
    storage = reply.get("storage")
    if storage:
        size = storage["memory"].get("rss", 0) / 1e6
        _say(f"embedded store {storage['pid']}: {storage['state']}, up {storage['uptime']:g} s, "
             f"{storage['restarts']} restarts, {size:.1f} MB, in {storage['directory']}")  # fmt: skip
    _say(
        f"{'slot':>4} {'pid':>8} {'gen':>4} {'state':<9} {'up s':>9} {'conns':>7} {'requests':>12} {'rss MB':>7} {'pss MB':>7}"
    )
    for w in reply["workers"]:
        memory = w["memory"]
        _say(f"{w['slot']:>4} {w['pid']:>8} {w['generation']:>4} {w['state']:<9} {w['uptime']:>9.1f} {w['connections']:>7}"
             f" {w['requests']:>12} {memory.get('rss', 0) / 1e6:>7.1f} {memory.get('pss', 0) / 1e6:>7.1f}")  # fmt: skip
    return 0


def lint(options: argparse.Namespace) -> int:
    """Print all findings; 1 if one of them is an error."""
    config, findings = lint_config(options.conf, os.environ)
    if config is not None:
        from core.apidef.lint import lint as lint_apis  # noqa: PLC0415  # only needed here
        from core.apidef.options import from_config  # noqa: PLC0415
        from core.apidef.read import read_directory  # noqa: PLC0415
        from core.events.check import check_events  # noqa: PLC0415

        reading = replace(from_config(config, os.environ, options.conf or ""), fetch_bundles=False)
        findings = findings + lint_apis(config.app_path, reading)
        snapshot = read_directory(config.app_path, reading, None).snapshot
        findings += check_events(config, options.conf or "tyk.conf", snapshot)
    errors = sum(finding.severity == "error" for finding in findings)
    if options.json:
        _say(json.dumps([_as_json(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            _say(finding.render())
        warnings = sum(finding.severity == "warning" for finding in findings)
        _say(f"{errors} errors, {warnings} warnings, {len(findings) - errors - warnings} notes")
    return 1 if errors else 0


def _as_json(finding: Finding) -> dict[str, str]:
    return {"severity": finding.severity, "file": finding.file, "path": finding.path, "message": finding.message,
            "suggestion": finding.suggestion}  # fmt: skip


def version(_: argparse.Namespace) -> int:
    """Show versions of the gateway and what it runs on."""
    _say(f"preforge {product_version()}")
    _say(f"Python {platform.python_version()} on {platform.platform()}")
    for name in ("uvloop", "orjson"):
        try:
            _say(f"{name} {distribution_version(name)}")
        except PackageNotFoundError:
            _say(f"{name} is not installed")
    return 0
