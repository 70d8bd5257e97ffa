"""Each bound on what plugins say and ask has its counter in /metrics."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.plugins.plugin_site import plugged
from tests.support.gateway import Gateway, Json, running, wait_for
from tests.support.upstream import Upstream

NOISY = """
import json, sys
for line in sys.stdin:
    call = json.loads(line)
    sys.stderr.write("noise\\n" * 200)
    sys.stderr.flush()
    print(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": call["params"]}), flush=True)
"""
CURIOUS = """
from tyk.decorators import *
from gateway import TykGateway as tyk
@Hook
def Curious(request, session, spec):
    for number in range(20):
        try:
            tyk.get_data("key")
        except RuntimeError:
            tyk.log("refused", "info")
    return request, session
"""


def hits(gateway: Gateway, limit: str) -> int:
    found = re.search(rf'preforge_limit_hits_total{{limit="{limit}"}} (\d+)', gateway.fetch("/metrics").body.decode())
    assert found is not None
    return int(found[1])


def test_what_plugins_say_and_ask_too_much_is_counted(tmp_path: Path, upstream: Upstream) -> None:
    bundle = tmp_path / "curious"
    bundle.mkdir()
    (bundle / "middleware.py").write_text(CURIOUS)
    servers: Json = {
        "noisy": {"driver": "jsonrpc", "command": [sys.executable, "-c", NOISY]},
        "curious": {"driver": "python", "bundle": str(bundle), "questions_per_second": 1, "notices_per_second": 200},
        "quiet": {"driver": "python", "bundle": str(bundle), "questions_per_second": 1, "notices_per_second": 1},
    }
    apis = [
        plugged("a", upstream.url, driver="jsonrpc", pre="x"),
        *(
            plugged(name, upstream.url, driver="python", pre="Curious", definition={"preforge": {"plugins": {"server": name}}})
            for name in ("curious", "quiet")
        ),
    ]
    conf: Json = {"coprocess_options": {"enable_coprocess": True}, "preforge": {"plugins": {"servers": servers}}}
    with running(tmp_path / "gateway", apis, conf) as gateway:
        assert (hits(gateway, "plugin_lines"), hits(gateway, "plugin_questions")) == (0, 0)
        wait_for(lambda: gateway.fetch("/a/x").status == 200, "the plugin on a pipe answers")
        wait_for(lambda: hits(gateway, "plugin_lines") > 0, "its lines are counted")
        wait_for(lambda: gateway.fetch("/curious/x").status == 200, "the Python plugin answers")
        wait_for(lambda: hits(gateway, "plugin_questions") >= 10, "its questions are counted")
        lines = hits(gateway, "plugin_lines")
        wait_for(lambda: gateway.fetch("/quiet/x").status == 200, "the other one answers")
        wait_for(lambda: hits(gateway, "plugin_lines") > lines, "its notices are counted")
