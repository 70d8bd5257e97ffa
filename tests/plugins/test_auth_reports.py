"""What is said of clients that a plugin has let in or refused: records of analytics, and events."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import msgpack
import pytest

from tests.plugins.plugin_site import grpc_conf, plugged, plugin_server
from tests.plugins.test_auth_gateway import EXTRACTOR, extracted
from tests.support.gateway import Json, merge, wait_for
from tests.support.keys import ORG, call
from tests.support.site import Site

HOOKS = """
    import time

    def Auth(said):
        key = said.request.headers.get("Authorization", "")
        if key == "bad":
            said.request.return_overrides.response_code = 401
        said.session.id_extractor_deadline = int(time.time()) + 600
        said.session.alias = "of " + key
        said.session.quota_max, said.session.quota_renewal_rate = 2, 3600
        if key == "old":
            said.session.expires = 1
        said.metadata["token"] = key
"""
RECORDS = "analytics-tyk-system-analytics"
EVENTS = ("AuthFailure", "KeyExpired", "QuotaExceeded")


HANDLERS = {name: [{"handler_name": "cp_dynamic_handler", "handler_meta": {"name": "heard"}}] for name in EVENTS}
KEYED: Json = {"use_keyless": False, "org_id": ORG, "enable_coprocess_auth": True, "event_handlers": {"events": HANDLERS}}


@pytest.mark.parametrize("section", [{}, {"id_extractor": EXTRACTOR}], ids=["asked", "extracted"])
def test_records_and_events_name_the_key_that_the_session_is_kept_under(site: Site, section: Json) -> None:
    def key(name: str) -> str:
        return extracted(name) if section else name

    with ExitStack() as stack:
        server = stack.enter_context(plugin_server(site.directory / "plugin", HOOKS))
        made = plugged("api", site.upstream.url, definition=KEYED, auth_check="Auth")
        gateway = site.gateway(merge(made, {"custom_middleware": section}), **grpc_conf(server, enable_analytics=True))
        assert [call(gateway, "/api/x", "good").status for _ in range(3)] == [200, 200, 403]
        assert [call(gateway, "/api/x", name).status for name in ("old", "bad")] == [401, 401]
        wait_for(lambda: len(server.events("heard")) == 3, "three events")
        heard = server.events("heard")
        wait_for(lambda: int(site.store.ask("LLEN", RECORDS)) == 5, "five records")
    told = [(one["message"]["Type"], one["message"]["Meta"]["Key"]) for one in heard]
    assert sorted(told) == [("AuthFailure", "bad"), ("KeyExpired", key("old")), ("QuotaExceeded", key("good"))]
    records: list[Any] = [msgpack.unpackb(raw) for raw in site.store.ask("LRANGE", RECORDS, 0, -1)]
    assert [(one["ResponseCode"], one["APIKey"], one["Alias"]) for one in records] == [
        (200, key("good"), "of good"), (200, key("good"), "of good"), (403, key("good"), "of good"),
        (401, key("old"), "of old"), (401, "", ""),
    ]  # fmt: skip
