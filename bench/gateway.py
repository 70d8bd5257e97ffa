"""The gateway as users start it, with a configuration made for a benchmark."""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.processes import StartError

SECRET = "bench"
HOOKS = Path(__file__).resolve().parent / "hooks"
ORG = "be7c4be7c4be7c4be7c4be7c"


def definition(api_id: str, listen_path: str, target: str, **more: Any) -> dict[str, Any]:
    """A keyless API, unless `more` says otherwise."""
    return {
        "name": api_id,
        "api_id": api_id,
        "org_id": "bench",
        "use_keyless": True,
        "active": True,
        "proxy": {"listen_path": listen_path, "target_url": target, "strip_listen_path": True},
        "version_data": {"not_versioned": True, "versions": {"Default": {"name": "Default"}}},
        **more,
    }


def write(
    folder: Path,
    name: str,
    port: int,
    target: str,
    workers: int = 1,
    definitions: int = 1,
    tls: tuple[str, str] | None = None,
    api: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
) -> Path:
    """Write tyk.conf and the definitions; the API under test is /api/. Returns the path of tyk.conf.

    api: fields of the definition under test; options: of tyk.conf.
    """
    home = folder / name
    apps = home / "apps"
    apps.mkdir(parents=True, exist_ok=True)
    (apps / "api.json").write_text(json.dumps(definition("api", "/api/", target, **(api or {}))))
    for number in range(1, definitions):
        api_id = f"api{number:05d}"
        (apps / f"{api_id}.json").write_text(json.dumps(definition(api_id, f"/{api_id}/", target)))
    server: dict[str, Any] = {}
    if tls:
        server = {"use_ssl": True, "certificates": [{"domain_name": "", "cert_file": tls[0], "key_file": tls[1]}]}
    more = options or {}
    conf = {
        "listen_address": "127.0.0.1",
        "listen_port": port,
        "secret": SECRET,
        "app_path": str(apps),
        "pid_file_location": str(home / "gateway.pid"),
        "log_level": "error",
        "http_server_options": server,
        **more,
        "preforge": {"workers": workers, "request_id": {"response": True}, **more.get("preforge", {})},
    }
    path = home / "tyk.conf"
    path.write_text(json.dumps(conf, indent=1))
    return path


def command(conf: Path) -> list[str]:
    """`preforge start`, from the same environment."""
    return [str(Path(sys.executable).with_name("preforge")), "start", "--conf", str(conf)]


def keyed() -> dict[str, Any]:
    """What makes the API under test ask for a key."""
    return {"use_keyless": False, "org_id": ORG, "auth": {"auth_header_name": "Authorization"}}


def javascript_hook() -> dict[str, Any]:
    """What gives the API under test the hook of hooks/pre.js."""
    hook = {"name": "benchPre", "path": str(HOOKS / "pre.js"), "require_session": False}
    return {"custom_middleware": {"driver": "otto", "pre": [hook]}}


def wait_for_hook(port: int, seconds: float = 20.0) -> None:
    """Wait until requests are answered, and see to it that the upstream gets what the hook makes of them. Raises StartError.

    It answers /seen with X-Bench, User-Agent and the parameter bench of the request that it has got. The gateway gives a
    request without User-Agent one of its own.
    """
    deadline = time.monotonic() + seconds
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/seen", headers={"User-Agent": "client"})
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                seen = answer.read().decode()
            break
        except OSError as error:
            if time.monotonic() > deadline:
                raise StartError(f"the hook does not run: {error}") from error
            time.sleep(0.1)
    if not re.fullmatch(r"1\|(?!client).*\|1", seen):
        raise StartError(f"the hook has not done what it has to: X-Bench, User-Agent and bench are {seen!r} for the upstream")


def virtual_endpoint() -> dict[str, Any]:
    """What lets hooks/virtual.js answer /api/x."""
    entry = {
        "response_function_name": "benchVirtual",
        "function_source_type": "file",
        "function_source_uri": str(HOOKS / "virtual.js"),
        "path": "/x",
        "method": "GET",
        "use_session": False,
        "proxy_on_error": False,
    }
    version = {"name": "Default", "use_extended_paths": True, "extended_paths": {"virtual": [entry]}}
    return {"version_data": {"not_versioned": True, "versions": {"Default": version}}}


def session(rate: float, per: float, quota: int) -> dict[str, Any]:
    """A key that opens the API under test. rate: requests in `per` seconds; quota: requests in an hour."""
    return {
        "org_id": ORG,
        "rate": rate,
        "per": per,
        "quota_max": quota,
        "quota_renewal_rate": 3600,
        "access_rights": {"api": {"api_id": "api", "api_name": "api", "versions": ["Default"]}},
    }


def create_key(port: int, value: dict[str, Any], seconds: float = 20.0) -> str:
    """Create a key over the REST API, waiting for the store to be there. Raises StartError."""
    deadline = time.monotonic() + seconds
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/tyk/keys/create",
        json.dumps(value).encode(),
        {"X-Tyk-Authorization": SECRET, "Content-Type": "application/json"},
    )
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return str(json.load(answer)["key"])
        except OSError as error:
            if time.monotonic() > deadline:
                raise StartError(f"no key can be created: {error}") from error
            time.sleep(0.1)
