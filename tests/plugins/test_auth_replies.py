"""Whatever a program on a pipe answers to an auth_check: who is let in has a session and a token, and all else is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Start
from tests.plugins.plugin_site import plugged
from tests.plugins.test_auth_gateway import EXTRACTOR
from tests.support.gateway import Gateway, Json, merge, wait_for
from tests.support.keys import ORG, call
from tests.support.upstream import Upstream

# What stands in X-Do is run with `said`, the object, whose `session` and token would let the client in; `line`, a text, is
# written in the place of the answer.
PLUGIN = r"""
import json, os, sys

for raw in sys.stdin:
    asked = json.loads(raw)
    said, line = asked["params"], None
    said["session"] = {"rate": 0, "per": 0}
    said["metadata"] = {"token": said["request"]["headers"]["Authorization"]}
    names = {"said": said, "line": line, "id": asked["id"], "os": os, "json": json}
    exec(said["request"]["headers"].get("X-Do", ""), names)
    line = names["line"]
    if line is None:
        line = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": names["said"]})
    sys.stdout.write(line and line + "\n")
    sys.stdout.flush()
"""
NOT_AUTHORISED = (403, "Key not authorised")
FORBIDDEN = (403, "Forbidden")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, start: Start, upstream: Upstream) -> Gateway:
    program: Path = tmp_path_factory.mktemp("plugin") / "plugin.py"
    program.write_text(PLUGIN)
    server: Json = {
        "driver": "jsonrpc", "command": [sys.executable, str(program)],
        "start_timeout": 0.5, "backoff_min": 0.01, "backoff_max": 0.05,
    }  # fmt: skip
    definition: Json = {
        "use_keyless": False, "org_id": ORG, "enable_coprocess_auth": True,
        "preforge": {"plugins": {"server": "it", "deadline": 0.5}},
    }  # fmt: skip
    apis = [
        merge(plugged(name, upstream.url, driver="jsonrpc", auth_check="Auth"), {**definition, "custom_middleware": own})
        for name, own in (("asked", {}), ("extracted", {"id_extractor": EXTRACTOR}))
    ]
    return start(apis, {"coprocess_options": {"enable_coprocess": True}, "preforge": {"plugins": {"servers": {"it": server}}}})


@pytest.mark.parametrize("api", ["asked", "extracted"])
@pytest.mark.parametrize(
    ("do", "answer"),
    [
        ("line = 'hello'", NOT_AUTHORISED),
        ("line = ''", NOT_AUTHORISED),
        ("os._exit(0)", NOT_AUTHORISED),
        ("line = json.dumps({'jsonrpc': '2.0', 'id': id, 'error': {'code': 200, 'message': 'fine'}})", NOT_AUTHORISED),
        ("line = json.dumps({'jsonrpc': '2.0', 'id': id + 1, 'result': said})", NOT_AUTHORISED),
        ("line = json.dumps({'jsonrpc': '2.0', 'id': str(id), 'result': said})", NOT_AUTHORISED),
        ("line = json.dumps([{'jsonrpc': '2.0', 'id': id, 'result': said}])", NOT_AUTHORISED),
        ("line = json.dumps({'jsonrpc': '2.0', 'id': id, 'result': True})", NOT_AUTHORISED),
        ("said.clear()", NOT_AUTHORISED),
        ("del said['request']", NOT_AUTHORISED),
        ("said['request'] = None", NOT_AUTHORISED),
        ("del said['request']['return_overrides']", NOT_AUTHORISED),
        ("said['request']['return_overrides']['response_code'] = 99", NOT_AUTHORISED),
        ("said['request']['return_overrides']['response_code'] = '200'", NOT_AUTHORISED),
        ("del said['session']", FORBIDDEN),
        ("said['session'] = None", FORBIDDEN),
        ("said['session'] = []", NOT_AUTHORISED),
        ("said['session'] = 'x'", NOT_AUTHORISED),
        ("said['metadata'] = {}", FORBIDDEN),
        ("said['metadata'] = {'token': ''}", FORBIDDEN),
        ("said['metadata'] = {'token': None}", NOT_AUTHORISED),
        ("said['metadata'] = {'token': 5}", NOT_AUTHORISED),
        ("said['session']['rate'] = '5'", NOT_AUTHORISED),
        ("said['session']['rate'] = float('nan')", NOT_AUTHORISED),
        ("said['session']['expires'] = 'soon'", NOT_AUTHORISED),
        ("said['session']['expires'] = 2 ** 70", NOT_AUTHORISED),
        ("said['session']['id_extractor_deadline'] = 1e9 + 0.5", NOT_AUTHORISED),
        ("said['session']['apply_policies'] = 'gold'", NOT_AUTHORISED),
        ("said['session']['apply_policies'] = ['gone']", FORBIDDEN),
        ("said['session']['is_inactive'] = True", (403, "Key is inactive, please renew")),
        ("said['session']['access_rights'] = {'b': {'api_id': 'b'}}", (403, "Access to this API has been disallowed")),
        ("line = json.dumps({'jsonrpc': '2.0', 'id': id, 'result': said}).replace('key', chr(92) + 'ud800')", NOT_AUTHORISED),
    ],
)
def test_nobody_passes(gateway: Gateway, upstream: Upstream, api: str, do: str, answer: Any) -> None:
    wait_for(lambda: call(gateway, f"/{api}/warm", "warm").status == 200, "the plugin runs")
    found = call(gateway, f"/{api}/refused", f"key {do}", f"X-Do: {do}")
    assert (found.status, json.loads(found.body)["error"]) == answer
    assert not upstream.seen("/refused")


@pytest.mark.parametrize("api", ["asked", "extracted"])
def test_an_answer_instead_of_a_session_opens_nothing(gateway: Gateway, upstream: Upstream, api: str) -> None:
    wait_for(lambda: call(gateway, f"/{api}/warm", "warm").status == 200, "the plugin runs")
    do = "said['request']['return_overrides'].update(response_code=200, response_body='no')"
    found = call(gateway, f"/{api}/answered", "answered", f"X-Do: {do}")
    assert (found.status, found.body) == (200, b"no")
    assert not upstream.seen("/answered")
