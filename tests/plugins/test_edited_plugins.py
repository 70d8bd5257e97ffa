"""A reload takes edited code of plugins that are run from where they are written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.plugins.plugin_site import plugged
from tests.support.gateway import Gateway, Json, running, wait_for
from tests.support.upstream import Upstream

PROGRAM = """
import json, sys
for line in sys.stdin:
    call = json.loads(line)
    call["params"]["request"]["set_headers"]["X-Version"] = "VERSION"
    print(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": call["params"]}), flush=True)
"""
BUNDLE = """
from tyk.decorators import *
@Hook
def x(request, session, spec):
    request.add_header("X-Version", "VERSION")
    return request, session
"""


def version(gateway: Gateway) -> str:
    answer = gateway.fetch("/a/x")
    return dict(json.loads(answer.body)["headers"]).get("X-Version", "") if answer.status == 200 else ""


def processes(gateway: Gateway, text: str) -> int:
    return gateway.log().count(text)


@pytest.mark.parametrize("driver", ["jsonrpc", "python"])
def test_edited_code_is_taken_at_a_reload_and_unchanged_code_runs_on(driver: str, tmp_path: Path, upstream: Upstream) -> None:
    code = tmp_path / "plugin" / "middleware.py"
    code.parent.mkdir()
    text = PROGRAM if driver == "jsonrpc" else BUNDLE
    code.write_text(text.replace("VERSION", "one"))
    server: Json = {"driver": driver}
    command = [sys.executable, "middleware.py", "no path " * 1000]
    server |= {"command": command, "cwd": str(code.parent)} if driver == "jsonrpc" else {}
    server |= {"bundle": str(code.parent)} if driver == "python" else {}
    conf: Json = {"coprocess_options": {"enable_coprocess": True}, "preforge": {"plugins": {"servers": {"it": server}}}}
    with running(tmp_path / "gateway", [plugged("a", upstream.url, driver=driver, pre="x")], conf) as gateway:
        wait_for(lambda: version(gateway) == "one", "the plugin runs")
        started = processes(gateway, " runs")
        gateway.reload()
        assert version(gateway) == "one"
        assert processes(gateway, " runs") == started
        code.write_text(text.replace("VERSION", "three"))
        gateway.reload()
        wait_for(lambda: version(gateway) == "three", "the edited plugin runs")
        assert processes(gateway, " runs") == started + 1
