"""Definitions over the REST API: on disk old or new and never lost, live on every worker after a reload."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from core.apidef.compile import compile_definition
from core.apidef.decode import decode
from core.apidef.options import CompileOptions
from tests.admin.answers import error, json_of, reload
from tests.admin.everywhere import everywhere, managed
from tests.support.gateway import Gateway, Json, api, children
from tests.support.keys import call, keyed, session
from tests.support.site import Site, manage
from tests.support.wire import WireError


@pytest.fixture(scope="module")
def gateway(shared_site: Site) -> Gateway:
    return shared_site.gateway(keyed("a", shared_site.upstream.url), preforge={"workers": 2})


def on_disk(gateway: Gateway, name: str) -> Any:
    return json.loads((gateway.apps / f"{name}.json").read_bytes())


# -- from the first to the last day of a definition ----------------------------------------


def test_a_definition_is_live_everywhere_after_a_reload_and_not_before(gateway: Gateway, shared_site: Site) -> None:
    made = manage(gateway, "POST", "/tyk/apis", api("fresh", "/fresh/", shared_site.upstream.url))
    assert json_of(made) == {"key": "fresh", "status": "ok", "action": "added"}
    assert {answer.status for answer in everywhere(gateway, "/fresh/x")} == {404}
    assert manage(gateway, "GET", "/tyk/apis/fresh").status == 404
    reload(gateway)
    assert {answer.status for answer in everywhere(gateway, "/fresh/x")} == {200}
    for answer in managed(gateway, "/tyk/apis"):
        assert {one["api_id"] for one in json.loads(answer.body)} >= {"a", "fresh"}

    changed = api("fresh", "/moved/", shared_site.upstream.url)
    assert json_of(manage(gateway, "PUT", "/tyk/apis/fresh", changed))["action"] == "modified"
    assert {answer.status for answer in everywhere(gateway, "/fresh/x")} == {200}
    reload(gateway)
    assert {answer.status for answer in everywhere(gateway, "/moved/x")} == {200}
    assert {answer.status for answer in everywhere(gateway, "/fresh/x")} == {404}

    assert json_of(manage(gateway, "DELETE", "/tyk/apis/fresh")) == {"key": "fresh", "status": "ok", "action": "deleted"}
    assert not (gateway.apps / "fresh.json").exists()
    assert {answer.status for answer in everywhere(gateway, "/moved/x")} == {200}
    reload(gateway)
    assert {answer.status for answer in everywhere(gateway, "/moved/x")} == {404}
    assert {answer.status for answer in managed(gateway, "/tyk/apis/fresh")} == {404}


def test_definitions_without_an_id_get_one_of_their_own(gateway: Gateway, shared_site: Site) -> None:
    definition = api("", "/nameless/", shared_site.upstream.url)
    keys = {json_of(manage(gateway, "POST", "/tyk/apis", definition))["key"] for _ in range(2)}
    assert len(keys) == 2
    for key in keys:
        assert len(key) == 32
        assert on_disk(gateway, key)["api_id"] == key
        assert manage(gateway, "PUT", f"/tyk/apis/{key}", {**definition, "api_id": key}).status == 200
        assert manage(gateway, "DELETE", f"/tyk/apis/{key}").status == 200


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"active": False},
        {"internal": True, "tags": ["x"], "domain": "api.example"},
        {"use_keyless": False, "auth_configs": {"authToken": {"auth_header_name": "X-Key"}}, "strip_auth_data": True},
        {"CORS": {"enable": True, "allowed_origins": ["https://a.example"]}, "config_data": {"deep": [{"x": None}, 1.5]}},
        {"global_rate_limit": {"rate": 10, "per": 60}, "session_lifetime": 60, "disable_quota": True},
        {"version": {"use_extended_paths": True, "extended_paths": {"ignored": [{"path": "/i"}], "black_list": [
            {"path": "/b", "method_actions": {"GET": {"action": "reply", "code": 418, "data": "x", "headers": {"a": "b"}}}}]},
            "global_headers": {"X-A": "1"}, "global_headers_remove": ["X-B"], "expires": "2999-01-02 15:04"}},
        {"proxy": {"target_list": ["http://127.0.0.1:1", "http://127.0.0.1:2"], "enable_load_balancing": True,
                   "transport": {"ssl_insecure_skip_verify": True}}},
        {"upstream_certificates": {"*": "x.pem"}, "event_handlers": {"events": {"QuotaExceeded": [
            {"handler_name": "eh_log_handler", "handler_meta": {"prefix": "p"}}]}}},
        {"definition": {"location": "header", "key": "x-v"}, "version_data": {"not_versioned": False, "versions": {
            "one": {"name": "one", "override_target": "http://127.0.0.1:3"}, "two": {"name": "two"}}}},
    ],
    ids=str,
)  # fmt: skip
def test_what_get_shows_may_be_sent_back_and_means_the_same(gateway: Gateway, shared_site: Site, more: Json) -> None:
    definition = keyed("back", shared_site.upstream.url, **{"use_keyless": True, **more})
    gateway.write_api(definition)
    reload(gateway)
    shown = json_of(manage(gateway, "GET", "/tyk/apis/back"))
    assert json_of(manage(gateway, "PUT", "/tyk/apis/back", shown))["action"] == "modified"
    meanings = []
    for document in (definition, on_disk(gateway, "back")):
        found, _ = decode(json.dumps(document).encode(), "back.json")
        assert found is not None
        meanings.append(compile_definition(found, "back.json", CompileOptions(listen_port=gateway.port))[0])
    assert meanings[0] is not None
    assert meanings[0] == meanings[1]
    reload(gateway)
    assert json_of(manage(gateway, "GET", "/tyk/apis/back")) == shown
    (gateway.apps / "back.json").unlink()
    reload(gateway)


def test_unknown_definitions_are_not_found(gateway: Gateway, shared_site: Site) -> None:
    definition = api("absent", "/absent/", shared_site.upstream.url)
    assert error(manage(gateway, "PUT", "/tyk/apis/absent", definition)) == (404, "API not found")
    assert error(manage(gateway, "DELETE", "/tyk/apis/absent")) == (404, "API not found")
    assert error(manage(gateway, "GET", "/tyk/apis/absent/versions")) == (404, "API not found")
    mismatch = "Request APIID does not match that in Definition! For Update operations these must match."
    assert error(manage(gateway, "PUT", "/tyk/apis/a", definition)) == (400, mismatch)
    assert error(manage(gateway, "PUT", "/tyk/apis/a", {"name": "x"})) == (400, mismatch)


# -- what must not be written ---------------------------------------------------------------


@pytest.mark.parametrize(
    "api_id", ["../up", "a/b", "/etc/x", "..", ".", ".hidden", "a\0b", "a\\b", "a b", "x\n", "-", "é", "n" * 201, "a;b", "%2e"]
)
def test_ids_that_are_no_plain_file_names_are_refused(gateway: Gateway, shared_site: Site, api_id: str) -> None:
    before = sorted(path.name for path in gateway.directory.rglob("*"))
    answer = manage(gateway, "POST", "/tyk/apis", api(api_id, "/odd/", shared_site.upstream.url))
    assert error(answer) == (400, "Invalid API ID")
    assert sorted(path.name for path in gateway.directory.rglob("*")) == before


@pytest.mark.parametrize("name", ["..%2f..%2ftyk.conf", "%2e%2e", ".%2ehidden", "%00", "a%2500", "tyk.conf"])
def test_paths_reach_no_file_outside_the_definitions(gateway: Gateway, shared_site: Site, name: str) -> None:
    conf = gateway.conf_path.read_bytes()
    for method in ("DELETE", "PUT", "GET"):
        answer = manage(gateway, method, f"/tyk/apis/{name}", api(name, "/odd/", shared_site.upstream.url))
        assert answer.status in (301, 400, 404, 405), (method, answer)
    assert gateway.conf_path.read_bytes() == conf


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "Request malformed"),
        (b"{", "Request malformed"),
        (b"[]", "Request malformed"),
        (b"null", "Request malformed"),
        (b'{"api_id": 5}', "Request malformed"),
        (b'{"api_id": "w", "proxy": []}', "Request malformed"),
        (b'{"api_id": "w", "config_data": {"x": 1e999}}', "Request malformed"),
        (b'{"api_id": "w", "config_data": ' + b"[" * 300 + b"]" * 300 + b"}", "Request malformed"),
        (b'{"api_id": "w", "proxy": {"listen_path": "", "target_url": "http://a"}}', "Validation of API Definition failed"),
        (b'{"api_id": "w", "proxy": {"listen_path": "/a b/", "target_url": "http://a"}}', "Validation of API Definition"),
        (b'{"api_id": "w", "proxy": {"listen_path": "/w/", "target_url": "env://NO_SUCH"}}', "Validation of API Definition"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_the_loader_would_not_take_is_refused_and_the_file_stays(
    gateway: Gateway, shared_site: Site, body: bytes, text: str
) -> None:
    path = gateway.write_api(api("w", "/w/", shared_site.upstream.url))
    before = path.read_bytes()
    for method, target in (("POST", "/tyk/apis"), ("PUT", "/tyk/apis/w")):
        status, message = error(manage(gateway, method, target, body))
        assert status == 400
        assert method == "PUT" or message.startswith(text), message
    assert path.read_bytes() == before
    path.unlink()


def test_a_definition_that_the_loader_would_find_too_large_is_refused(gateway: Gateway, shared_site: Site) -> None:
    """Written with its indentation it is larger than it was sent."""
    definition = api("w", "/w/", shared_site.upstream.url, config_data={"x": [0] * 1_300_000})
    body = json.dumps(definition, separators=(",", ":")).encode()
    assert len(body) < 10 << 20
    answer = manage(gateway, "POST", "/tyk/apis", body)
    assert error(answer) == (400, "Request malformed")
    assert "at most" in json.loads(answer.body)["details"][0]
    assert not (gateway.apps / "w.json").exists()


def test_no_definition_takes_the_file_of_another(gateway: Gateway, shared_site: Site) -> None:
    path = gateway.apps / "plain.json"
    path.write_text(json.dumps(api("inside", "/inside/", shared_site.upstream.url)))
    before = path.read_bytes()
    answer = manage(gateway, "POST", "/tyk/apis", api("plain", "/plain/", shared_site.upstream.url))
    assert error(answer) == (400, "Invalid API ID")
    assert "'inside'" in json.loads(answer.body)["details"][0]
    assert error(manage(gateway, "DELETE", "/tyk/apis/plain")) == (404, "API not found")
    reload(gateway)
    assert error(manage(gateway, "DELETE", "/tyk/apis/plain")) == (404, "API not found")
    assert path.read_bytes() == before
    changed = api("inside", "/inside/", shared_site.upstream.url, name="renamed")
    assert manage(gateway, "PUT", "/tyk/apis/inside", changed).status == 200
    assert json.loads(path.read_bytes())["name"] == "renamed", "it is changed where it lies"
    assert not (gateway.apps / "inside.json").exists()
    # Somebody puts another definition there, which is not loaded yet.
    path.write_bytes(before.replace(b"inside", b"second"))
    assert manage(gateway, "PUT", "/tyk/apis/inside", changed).status == 400
    assert manage(gateway, "DELETE", "/tyk/apis/inside").status in (404, 500)
    assert json.loads(path.read_bytes())["api_id"] == "second"
    path.unlink()
    reload(gateway)


def test_links_in_the_directory_are_replaced_and_never_followed(gateway: Gateway, shared_site: Site) -> None:
    outside = gateway.directory / "outside.txt"
    outside.write_text(json.dumps(api("linked", "/linked/", shared_site.upstream.url)))
    before = outside.read_bytes()
    (gateway.apps / "linked.json").symlink_to(outside)
    reload(gateway)
    assert call(gateway, "/linked/x").status == 200
    changed = api("linked", "/linked/", shared_site.upstream.url, name="changed")
    assert manage(gateway, "PUT", "/tyk/apis/linked", changed).status == 200
    assert not (gateway.apps / "linked.json").is_symlink()
    assert outside.read_bytes() == before
    # What a writer would use for its work must not lead elsewhere either.
    (gateway.apps / ".linked.json.tmp").symlink_to(outside)
    manage(gateway, "PUT", "/tyk/apis/linked", changed)
    assert outside.read_bytes() == before
    (gateway.apps / "linked.json").unlink()
    (gateway.apps / "linked.json").symlink_to(outside)
    assert manage(gateway, "DELETE", "/tyk/apis/linked").status == 200
    assert outside.read_bytes() == before
    reload(gateway)


def test_a_named_pipe_in_the_directory_holds_up_nobody(gateway: Gateway, shared_site: Site) -> None:
    os.mkfifo(gateway.apps / "pipe.json")
    answer = manage(gateway, "POST", "/tyk/apis", api("pipe", "/pipe/", shared_site.upstream.url))
    assert error(answer) == (500, "file object creation failed, write error")
    assert manage(gateway, "POST", "/tyk/apis", api("next", "/next/", shared_site.upstream.url)).status == 200
    (gateway.apps / "pipe.json").unlink()
    (gateway.apps / "next.json").unlink()


# -- disks and crashes -------------------------------------------------------------------------


# prctl(PR_CAPBSET_DROP) of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what is executed next has them no more.
DROP = """
import ctypes, os, sys
for capability in (1, 2):
    if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):
        sys.exit("the capabilities of root cannot be dropped")
os.execv(sys.argv[1], sys.argv[1:])
"""


class Unprivileged(Gateway):
    """A gateway for which the permissions of files count even if the tests run as root."""

    def command(self) -> list[str]:
        if os.geteuid() != 0:
            return super().command()
        return [sys.executable, "-c", DROP, *super().command()]


def test_a_directory_that_cannot_be_written_is_a_clear_error_and_nothing_is_lost(tmp_path: Path, site: Site) -> None:
    storage = {"storage": {"type": "redis", "host": "127.0.0.1", "port": site.store.port}}
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "p.json").write_text('{"id": "p"}')
    conf = {**storage, "policies": {"policy_source": "file", "policy_path": str(policies)}}
    gateway = Unprivileged(tmp_path / "readonly", [keyed("a", site.upstream.url)], conf)
    site.gateways.append(gateway)
    gateway.start()
    before = (gateway.apps / "a.json").read_bytes()
    for folder in (gateway.apps, policies):
        folder.chmod(0o555)
    written = "file object creation failed, write error"
    changed = keyed("a", site.upstream.url, name="changed")
    assert error(manage(gateway, "PUT", "/tyk/apis/a", changed)) == (500, written)
    assert error(manage(gateway, "POST", "/tyk/apis", keyed("b", site.upstream.url))) == (500, written)
    assert error(manage(gateway, "DELETE", "/tyk/apis/a")) == (500, "Delete failed")
    assert error(manage(gateway, "PUT", "/tyk/policies/p", {"id": "p"})) == (500, "Failed to create file!")
    assert error(manage(gateway, "DELETE", "/tyk/policies/p")) == (500, "Delete failed")
    assert (gateway.apps / "a.json").read_bytes() == before
    assert (policies / "p.json").read_text() == '{"id": "p"}'
    assert f"a definition in {gateway.apps} cannot be written: Permission denied" in gateway.log()
    for folder in (gateway.apps, policies):
        folder.chmod(0o755)
    assert manage(gateway, "PUT", "/tyk/apis/a", changed).status == 200
    shutil.rmtree(gateway.apps)
    assert error(manage(gateway, "PUT", "/tyk/apis/a", changed)) == (500, written)


def test_a_write_that_ends_half_way_leaves_the_old_definition(site: Site) -> None:
    """As on a disk that is full: no file of the worker may become larger than this."""
    gateway = site.gateway(api("a", "/a/", site.upstream.url))
    before = (gateway.apps / "a.json").read_bytes()
    worker = next(pid for pid in gateway.workers() if b"python" in Path(f"/proc/{pid}/cmdline").read_bytes())
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    large = api("a", "/a/", site.upstream.url, config_data={"x": "y" * 200_000})
    for method, target in (("PUT", "/tyk/apis/a"), ("POST", "/tyk/apis")):
        assert error(manage(gateway, method, target, large)) == (500, "file object creation failed, write error")
    assert error(manage(gateway, "POST", "/tyk/apis", {**large, "api_id": "b"}))[0] == 500
    assert (gateway.apps / "a.json").read_bytes() == before
    assert [path.name for path in gateway.apps.iterdir()] == ["a.json"]
    assert manage(gateway, "PUT", "/tyk/apis/a", api("a", "/a/", site.upstream.url, name="small")).status == 200


def test_kill_9_during_writes_leaves_the_old_or_the_new_definition(site: Site) -> None:
    padding = {"config_data": {"padding": "x" * 200_000}}
    texts = [{"api_id": "big", **api("big", "/big/", site.upstream.url, name=name, **padding)} for name in ("old", "new")]
    whole = [json.dumps(text, indent=2, ensure_ascii=False).encode() + b"\n" for text in texts]
    gateway = site.gateway(texts[0], preforge={"workers": 2})
    path = gateway.apps / "big.json"
    path.write_bytes(whole[0])
    chance = random.Random(5)
    for _ in range(3):
        stop = threading.Event()
        written = [0]

        def write(stop: threading.Event = stop, written: list[int] = written) -> None:
            turn = 0
            while not stop.is_set():
                turn += 1
                try:
                    written[0] += manage(gateway, "PUT", "/tyk/apis/big", texts[turn % 2]).status == 200
                except (OSError, WireError):
                    return

        threads = [threading.Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        while written[0] < 2:
            time.sleep(0.005)
        time.sleep(chance.random() * 0.1)
        assert gateway.process is not None
        for pid in [gateway.pid, *children(gateway.pid)]:
            os.kill(pid, signal.SIGKILL)
        gateway.process.wait()
        gateway.process = None
        stop.set()
        for thread in threads:
            thread.join()
        assert path.read_bytes() in whole
        gateway.start()
        assert call(gateway, "/big/x").status == 200
        assert manage(gateway, "PUT", "/tyk/apis/big", texts[1]).status == 200
    assert sorted(path.name for path in gateway.apps.iterdir()) == ["big.json"], "no rest of an interrupted write"


# -- several writers ------------------------------------------------------------------------------


def test_two_nodes_that_write_one_directory_lose_nothing(site: Site) -> None:
    base = api("base", "/base/", site.upstream.url, definition={"name": "v0", "location": "header", "key": "x-v"})
    first = site.gateway(base, preforge={"workers": 2})
    second = site.gateway(app_path=str(first.apps))
    failed: list[Any] = []

    def write(node: Gateway, side: str) -> None:
        for turn in range(10):
            name = f"{side}{turn}"
            target = f"/tyk/apis?base_api_id=base&new_version_name={name}"
            answer = manage(node, "POST", target, api(name, f"/{name}/", site.upstream.url))
            again = manage(node, "PUT", f"/tyk/apis/{name}", api(name, f"/{name}/", site.upstream.url, name="again"))
            if (answer.status, again.status) != (200, 200):
                failed.append((name, answer, again))

    threads = [threading.Thread(target=write, args=(node, side)) for node, side in ((first, "l"), (second, "r"), (first, "m"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    names = {f"{side}{turn}" for side in "lrm" for turn in range(10)}
    assert on_disk(first, "base")["definition"]["versions"] == {name: name for name in names}
    assert {path.stem for path in first.apps.glob("*.json")} == names | {"base"}
    for node in (first, second):
        reload(node)
        assert json.loads(call(node, "/base/x", "", "x-v: r7").body)["target"] == "/x"
        assert len(json_of(manage(node, "GET", "/tyk/apis/base/versions"))["apis"]) == 31


def test_new_versions_are_linked_and_called(gateway: Gateway, shared_site: Site) -> None:
    url = shared_site.upstream.url
    gateway.write_api(keyed("base", url))
    reload(gateway)
    child = keyed("child", url + "/child")
    target = "/tyk/apis?base_api_id=base"
    assert error(manage(gateway, "POST", target, child)) == (422, "The new version name is required")
    target += "&new_version_name=v2"
    unnamed = "you need to provide a version name for the new Base API: base"
    assert error(manage(gateway, "POST", target, child)) == (400, unnamed)
    nowhere = "/tyk/apis?base_api_id=nowhere&new_version_name=v2"
    assert error(manage(gateway, "POST", nowhere, child)) == (400, "nowhere is not a valid Base API version")
    itself = f"{target}&base_api_version_name=v1"
    assert error(manage(gateway, "POST", itself, keyed("base", url))) == (400, "base is not a valid Base API version")
    assert not (gateway.apps / "child.json").exists()
    assert "versions" not in on_disk(gateway, "base").get("definition", {})

    assert manage(gateway, "POST", f"{target}&base_api_version_name=v1", child).status == 200
    linked = on_disk(gateway, "base")["definition"]
    assert linked == {
        "versions": {"v2": "child"},
        "enabled": True,
        "location": "header",
        "key": "x-api-version",
        "name": "v1",
        "default": "self",
    }
    reload(gateway)
    key = json_of(manage(gateway, "POST", "/tyk/keys/create", session("base", "child")))["key"]

    def target_of(*lines: str) -> str:
        return str(json.loads(call(gateway, "/base/x", key, *lines).body)["target"])

    assert (target_of(), target_of("x-api-version: v2")) == ("/x", "/child/x")
    shown = json_of(manage(gateway, "GET", "/tyk/apis/base/versions"))["apis"]
    assert [(one["id"], one["versionName"], one["isDefaultVersion"]) for one in shown] == [
        ("base", "v1", True), ("child", "v2", False),
    ]  # fmt: skip
    assert manage(gateway, "POST", f"{target}&set_default=true", child).status == 200
    reload(gateway)
    assert target_of() == "/child/x"
    for name in ("base", "child"):
        assert manage(gateway, "DELETE", f"/tyk/apis/{name}").status == 200
    reload(gateway)
