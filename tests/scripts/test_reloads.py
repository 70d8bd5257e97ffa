"""Reloads that change scripts while they are called: every request is answered by its own script, and none passes without."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

from tests.support.gateway import Gateway, Json, api
from tests.support.site import Site

RELOADS = 40
HOOK = """var mw = new TykJS.TykMiddleware.NewMiddleware({});
mw.NewProcessRequest(function (request, session) {
  request.SetHeaders["X-Seen"] = "hook %d";
  return mw.ReturnData(request, session.meta_data);
});"""
ENDPOINTS = """// %d
function waits() { TykStorageIncr("reloads", 60); return TykJsResponse({Body: "waits"}, {}); }
async function later() { await null; return TykJsResponse({Body: "later"}, {}); }
function hidden() { return eval("(async () => TykJsResponse({Body: 'hidden'}, {}))()"); }
function quick() { return TykJsResponse({Body: "quick"}, {}); }"""
PATHS = ("/hooked/a", "/hooked/b", "/state/a", "/virtual/waits", "/virtual/later", "/virtual/hidden", "/virtual/quick")


def _write(folder: Path, turn: int) -> None:
    """Another version of all scripts, each of them in one go."""
    for name, text in (("hook.js", HOOK), ("endpoints.js", ENDPOINTS)):
        new = folder / f"{name}.new"
        new.write_text(text % turn)
        new.replace(folder / name)


def _endpoint(folder: Path, name: str) -> Json:
    source = {"function_source_type": "file", "function_source_uri": str(folder / "endpoints.js")}
    return {"response_function_name": name, "path": f"/{name}", "method": "GET", **source}


def _ask(gateway: Gateway, path: str, ended: threading.Event, found: Counter[str]) -> None:
    while not ended.is_set():
        answer = gateway.fetch(path)
        wanted = path.rpartition("/")[2].encode() if path.startswith("/virtual/") else b'"hook '
        found["right" if answer.status == 200 and wanted in answer.body else f"{path}: {answer.status} {answer.body!r}"] += 1


def test_every_request_meets_its_own_script_while_scripts_change(site: Site, tmp_path: Path) -> None:
    _write(tmp_path, 0)
    hooks: Json = {"custom_middleware": {"pre": [{"name": "mw", "path": str(tmp_path / "hook.js")}]}}
    virtual = [_endpoint(tmp_path, name) for name in ("waits", "later", "hidden", "quick")]
    gateway = site.gateway(
        api("hooked", "/hooked/", site.upstream.url, **hooks),
        api("state", "/state/", site.upstream.url, **hooks, preforge={"jsvm": {"isolation": "shared"}}),
        api(
            "virtual",
            "/virtual/",
            site.upstream.url,
            version={"use_extended_paths": True, "extended_paths": {"virtual": virtual}},
        ),
        enable_jsvm=True,
    )
    ended, found = threading.Event(), Counter[str]()
    clients = [threading.Thread(target=_ask, args=(gateway, path, ended, found)) for path in PATHS]
    for client in clients:
        client.start()
    try:
        for turn in range(RELOADS):
            _write(tmp_path, turn + 1)
            gateway.reload()
            time.sleep(0.02)
    finally:
        ended.set()
        for client in clients:
            client.join()
    assert set(found) == {"right"}, [line for line in gateway.log().splitlines() if "level=error" in line]
    assert "died" not in gateway.log()
