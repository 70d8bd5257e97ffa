"""What lint and the loader say of handlers, before a worker uses them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.gateway import ROOT, Gateway
from tests.support.keys import keyed


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_lint_does_not_see_handlers_that_cannot_be_used(tmp_path: Path) -> None:
    bad = {"events": {"AuthFailure": [{"handler_name": "eh_dynamic_handler", "handler_meta": {"name": "x"}}]}}
    relative = {"handler_name": "eh_web_hook_handler", "handler_meta": {"target_path": "/hook"}}
    conf = {
        "event_handlers": {"events": {"TokenCreated": [relative]}},
        "monitor": {"enable_trigger_monitors": True, "monitor_user_keys": True, "configuration": {"target_path": "x"}},
    }
    gateway = Gateway(tmp_path / "gateway", [keyed("a", "http://127.0.0.1:1", event_handlers=bad)], conf)
    main = "import sys; from core.cli import main; sys.exit(main())"
    found = run("-c", main, "lint", "--conf", str(gateway.conf_path), "--json")
    assert found.returncode == 1, found.stderr
    places = {(Path(one["file"]).name, one["path"]) for one in json.loads(found.stdout) if one["severity"] == "error"}
    assert places == {
        ("a.json", "$.event_handlers.events['AuthFailure'][0].handler_name"),
        ("tyk.conf", "$.event_handlers.events['TokenCreated'][0].handler_meta.target_path"),
        ("tyk.conf", "$.monitor.configuration.target_path"),
    }


def test_a_worker_without_web_hooks_pays_for_their_client() -> None:
    found = run("-c", "import sys, core.worker_server; sys.exit('aiohttp' in sys.modules)")
    assert found.returncode == 0, found.stderr
