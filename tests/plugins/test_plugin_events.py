"""Events for plugins: cp_dynamic_handler (tyk-plugins 9)."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

from tests.plugins.plugin_site import grpc_conf, plugged, plugin_server
from tests.support.gateway import Json, api, merge, running, wait_for
from tests.support.keys import ORG
from tests.support.upstream import Upstream

KEYED: Json = {"use_keyless": False, "org_id": ORG}
RECORDER = """
import json, sys
for line in sys.stdin:
    said = json.loads(line)
    for one in said if isinstance(said, list) else [said]:
        open(sys.argv[1], "a").write(json.dumps(one) + "\\n")
"""


def on_failure(*names: str, **meta: object) -> Json:
    """Handlers of AuthFailure."""
    handlers = [{"handler_name": "cp_dynamic_handler", "handler_meta": {"name": name, **meta}} for name in names]
    return {**KEYED, "event_handlers": {"events": {"AuthFailure": handlers}}}


def test_every_handler_is_sent_the_event_with_its_name_and_api(tmp_path: Path, upstream: Upstream) -> None:
    with plugin_server(tmp_path / "plugin", "") as server:
        apis = [
            plugged("two", upstream.url, definition=on_failure("first", "second")),
            plugged("off", upstream.url, definition=on_failure("never", disabled=True)),
        ]
        with running(tmp_path / "gateway", apis, grpc_conf(server)) as gateway:
            assert gateway.fetch("/off/x", "Authorization: nobody").status == 403
            assert gateway.fetch("/two/x?q=1", "Authorization: nobody").status == 403
            (first,) = wait_for(lambda: server.events("first"), "the first handler")
            (second,) = wait_for(lambda: server.events("second"), "the second handler")
            wait_for(lambda: gateway.metrics()["preforge_plugin_events_total"] == 2, "the count")
            assert server.events("never") == []
    assert first["spec"] == {"APIID": "two", "OrgID": ORG}
    assert first["message"] == second["message"]
    meta = first["message"]["Meta"]
    assert first["message"]["Type"] == "AuthFailure"
    assert (meta["Key"], meta["Path"], meta["Origin"]) == ("nobody", "/two/x", "127.0.0.1")
    assert base64.b64decode(meta["OriginatingRequest"]).startswith(b"GET /two/x?q=1 HTTP/1.1\r\n")


def test_children_get_events_as_notifications(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "plugin.py").write_text(RECORDER)
    record = tmp_path / "record"
    record.touch()
    server: Json = {"driver": "jsonrpc", "command": [sys.executable, str(tmp_path / "plugin.py"), str(record)]}
    conf: Json = {"coprocess_options": {"enable_coprocess": True}, "preforge": {"plugins": {"servers": {"it": server}}}}
    definition = merge(on_failure("handler"), {"preforge": {"plugins": {"server": "it"}}})
    with running(tmp_path / "gateway", [api("api", "/api/", upstream.url, **definition)], conf) as gateway:
        assert gateway.fetch("/api/x", "Authorization: nobody").status == 403
        (line,) = wait_for(lambda: record.read_text().splitlines(), "the notification")
    said = json.loads(line)
    assert "id" not in said
    assert said["params"]["handler_name"] == "handler"


def test_a_server_that_is_away_costs_the_event_and_nothing_else(tmp_path: Path, upstream: Upstream) -> None:
    conf: Json = {"coprocess_options": {"enable_coprocess": True, "coprocess_grpc_server": "tcp://127.0.0.1:9"}}
    with running(tmp_path / "gateway", [plugged("api", upstream.url, definition=on_failure("h"))], conf) as gateway:
        for _ in range(3):
            assert gateway.fetch("/api/x", "Authorization: nobody").status == 403
        lost = ("preforge_plugin_events_failed_total", 'preforge_limit_hits_total{limit="plugin_events"}')
        wait_for(lambda: sum(gateway.metrics()[name] for name in lost) == 3, "the loss")


def test_a_handler_without_a_plugin_driver_is_named_when_it_is_loaded(tmp_path: Path, upstream: Upstream) -> None:
    conf: Json = {"coprocess_options": {"enable_coprocess": True, "coprocess_grpc_server": "tcp://127.0.0.1:9"}}
    definition = on_failure("h")
    with running(tmp_path / "gateway", [api("api", "/api/", upstream.url, **definition)], conf) as gateway:
        assert gateway.fetch("/api/x", "Authorization: nobody").status == 403
        assert "$.event_handlers.events['AuthFailure'][0].handler_name: error: no plugin driver is available" in gateway.log()
