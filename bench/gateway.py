"""The gateway as users start it, with a configuration made for a benchmark."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def definition(api_id: str, listen_path: str, target: str) -> dict[str, Any]:
    """A keyless API."""
    return {
        "name": api_id,
        "api_id": api_id,
        "org_id": "bench",
        "use_keyless": True,
        "active": True,
        "proxy": {"listen_path": listen_path, "target_url": target, "strip_listen_path": True},
        "version_data": {"not_versioned": True, "versions": {"Default": {"name": "Default"}}},
    }


def write(
    folder: Path,
    name: str,
    port: int,
    target: str,
    workers: int = 1,
    definitions: int = 1,
    tls: tuple[str, str] | None = None,
) -> Path:
    """Write tyk.conf and the definitions; the API under test is /api/. Returns the path of tyk.conf."""
    home = folder / name
    apps = home / "apps"
    apps.mkdir(parents=True, exist_ok=True)
    (apps / "api.json").write_text(json.dumps(definition("api", "/api/", target)))
    for number in range(1, definitions):
        api_id = f"api{number:05d}"
        (apps / f"{api_id}.json").write_text(json.dumps(definition(api_id, f"/{api_id}/", target)))
    server: dict[str, Any] = {}
    if tls:
        server = {"use_ssl": True, "certificates": [{"domain_name": "", "cert_file": tls[0], "key_file": tls[1]}]}
    conf = {
        "listen_address": "127.0.0.1",
        "listen_port": port,
        "secret": "bench",
        "app_path": str(apps),
        "pid_file_location": str(home / "gateway.pid"),
        "log_level": "error",
        "http_server_options": server,
        "preforge": {"workers": workers, "request_id": {"response": True}},
    }
    path = home / "tyk.conf"
    path.write_text(json.dumps(conf, indent=1))
    return path


def command(conf: Path) -> list[str]:
    """`preforge start`, from the same environment."""
    return [str(Path(sys.executable).with_name("preforge")), "start", "--conf", str(conf)]
