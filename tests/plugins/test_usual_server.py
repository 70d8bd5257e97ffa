"""A server written as plugin servers for Tyk usually are, with all types of hooks, in front of one API."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import Start
from tests.plugins.plugin_site import ServerProcess, grpc_conf, plugged
from tests.support.gateway import ROOT, Gateway, Json, merge, wait_for
from tests.support.upstream import Upstream
from tests.support.wire import Response

DATE = "Tue, 01 Oct 2024 10:00:00 GMT"
EVENTS: Json = {"AuthFailure": [{"handler_name": "cp_dynamic_handler", "handler_meta": {"name": "failed"}}]}
# As in the API definitions that come with examples: every field is there, most are empty.
BLANK: Json = {"path": "", "require_session": True, "raw_body_only": False}
SECTION: Json = {"id_extractor": {"extract_from": "", "extract_with": "", "extractor_config": {}}}


class Dispatcher(ServerProcess):
    def command(self) -> list[str]:
        return [sys.executable, str(ROOT / "tests" / "plugins" / "servers" / "dispatcher.py"), self.address, str(self.record)]


@dataclass(slots=True)
class Stand:
    server: Dispatcher
    gateway: Gateway

    def ask(self, key: str, secret: bytes = b"c2VjcmV0") -> Response:
        """A signed request."""
        signature = base64.b64encode(hmac.new(secret, f"date: {DATE}".encode(), hashlib.sha256).digest()).decode()
        given = f'Authorization: Signature keyId="{key}",algorithm="hmac-sha256",signature="{signature}"'
        return self.gateway.fetch("/all/x?a=1", given, f"Date: {DATE}")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, start: Start, upstream: Upstream) -> Iterator[Stand]:
    server = Dispatcher(tmp_path_factory.mktemp("usual") / "server")
    definition: Json = {
        "use_keyless": False, "enable_coprocess_auth": True, "org_id": "default", "config_data": {"param": "<configured>"},
        "event_handlers": {"events": EVENTS},
    }  # fmt: skip
    hooks = {kind: {"name": f"My{kind}", **BLANK} for kind in ("pre", "auth_check", "post_key_auth", "post", "response")}
    try:
        server.start()
        api = merge(plugged("all", upstream.url, definition=definition, **hooks), {"custom_middleware": SECTION})
        yield Stand(server, start([api], grpc_conf(server)))
    finally:
        server.kill()


def test_a_request_goes_through_all_its_hooks(stand: Stand) -> None:
    answer = stand.ask("signed-key")
    assert answer.status == 200, answer.body
    seen = json.loads(answer.body)
    assert (seen["target"], seen["by"]) == ("/x?a=1", "Myresponse")
    assert ["X-Hmac", "True"] in seen["headers"]
    assert answer.get("Content-Length") == str(len(answer.body))
    notes = {note["kind"]: note["json"] for note in stand.server.notes() if "kind" in note}
    assert list(notes) == ["Pre", "CustomKeyCheck", "PostKeyAuth", "Post", "Response"]
    assert notes["CustomKeyCheck"]["request"]["params"] == {"a": "1", "new-param": "<configured>"}
    assert notes["Post"]["session"]["hmacEnabled"] is True
    assert notes["Post"]["metadata"]["token"] == "signed-key"
    assert stand.gateway.fetch("/tyk/keys/signed-key", "X-Tyk-Authorization: test-secret").status == 200


@pytest.mark.parametrize(("key", "secret"), [("signed-key", b"another"), ("another-key", b"c2VjcmV0")])
def test_who_has_not_signed_is_refused_with_the_plugins_words(stand: Stand, key: str, secret: bytes) -> None:
    answer = stand.ask(key, secret)
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "Custom middleware: Not authorized"})
    wait_for(lambda: [note for note in stand.server.notes() if "event" in note], "the event")
    event = [note["event"] for note in stand.server.notes() if "event" in note][-1]
    assert (event["handler_name"], event["message"]["Type"]) == ("failed", "AuthFailure")


def test_a_request_without_a_signature_is_bad(stand: Stand) -> None:
    answer = stand.gateway.fetch("/all/x")
    assert (answer.status, json.loads(answer.body)) == (400, {"error": "Custom middleware: Bad request"})
