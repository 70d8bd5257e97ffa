"""Scripts tried without a gateway: what becomes of requests, answers and sessions, and what the trial leaves alone."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from core.scripts.trial_case import Given, TrialError
from core.sessions.model import from_value
from tests.cli.trials import MADE, attempt, body, edit, header, hook, started
from tests.support.site import Site
from tests.support.upstream import Upstream, reply, sequence
from tests.support.wire import get

SESSION = from_value({"rate": 5, "meta_data": {"kept": "1", "gone": "2"}})


def storage(site: Site) -> dict[str, Any]:
    return {"type": "redis", "host": "127.0.0.1", "port": site.store.port}


def test_every_edit_of_a_request_shows(tmp_path: Path) -> None:
    edits = """request.SetHeaders["X-New"] = "1"; request.DeleteHeaders.push("X-Old"); request.AddParams.y = "a b";
        request.Body += "!"; request.URL = "/other?x=1" """
    found = attempt(tmp_path, edit(edits), request=get("/a/b?x=1", "h.test", "X-Old: 0", method="POST", body=b"hi"))
    assert (started(found.before), started(found.after)) == ("POST /a/b?x=1", "POST /other?x=1&y=a+b")
    assert (body(found.before), body(found.after)) == (b"hi", b"hi!")
    assert (header(found.before, "X-Old"), header(found.after, "X-Old")) == (["0"], [])
    assert (header(found.after, "X-New"), header(found.after, "Content-Length")) == (["1"], ["3"])
    assert (found.failures, found.answer, found.leads_to) == ([], None, "")


def test_binary_bodies_are_not_changed_on_the_way(tmp_path: Path) -> None:
    raw = bytes(range(256))
    found = attempt(tmp_path, edit('request.SetHeaders["X-A"] = "1"'), request=get("/", "h", method="PUT", body=raw))
    assert body(found.after) == raw


@pytest.mark.parametrize("secure", [False, True])
def test_scheme_and_config_data_reach_the_script(tmp_path: Path, secure: bool) -> None:
    script = edit('request.SetHeaders["X-A"] = request.Scheme + config.config_data.colour + config.APIID')
    found = attempt(tmp_path, script, secure=secure, config_data={"colour": "red"})
    assert header(found.after, "X-A") == [f"http{'s' if secure else ''}redjs-test"]


def test_an_override_shows_the_answer_and_no_request(tmp_path: Path) -> None:
    script = edit('request.ReturnOverrides = {ResponseCode: 403, ResponseError: "no"}')
    found = attempt(tmp_path, script)
    assert (found.after, started(found.answer)) == (None, "403 Forbidden")
    assert json.loads(body(found.answer)) == {"error": "no"}
    assert header(found.answer, "Date") == header(found.answer, "Connection") == []
    assert found.failures == []


@pytest.mark.parametrize(("url", "leads_to"), [("tyk://self/x?y=1", "tyk://self/x?y=1"), ("tyk://other/x", "tyk://other/x")])
def test_a_loop_is_told_and_not_followed(tmp_path: Path, url: str, leads_to: str) -> None:
    found = attempt(tmp_path, edit(f'log("ran"); request.URL = "{url}"'))
    assert (found.leads_to, found.answer, len(found.seconds)) == (leads_to, None, 1)
    assert [line.text for line in found.logs] == ["ran"]


def test_an_answer_that_redirects_to_a_loop_is_told(tmp_path: Path) -> None:
    overrides = '{ResponseCode: 302, ResponseHeaders: {Location: "tyk://other/y"}}'
    found = attempt(tmp_path, edit(f"request.ReturnOverrides = {overrides}"))
    assert (found.leads_to, found.answer) == ("tyk://other/y", None)


def test_meta_data_that_a_post_hook_returns_shows(tmp_path: Path) -> None:
    script = hook('return mw.ReturnData(request, {kept: session.meta_data.kept, added: "3"});')
    found = attempt(tmp_path, script, "post", session=SESSION)
    assert found.meta == ({"kept": "1", "gone": "2"}, {"kept": "1", "added": "3"})
    assert SESSION["meta_data"] == {"kept": "1", "gone": "2"}


def test_a_hook_without_session_is_given_an_empty_one(tmp_path: Path) -> None:
    found = attempt(tmp_path, edit('request.SetHeaders["X-A"] = String(session.meta_data) + session.rate'), "post_key_auth")
    assert header(found.after, "X-A") == ["null0"]
    assert found.meta == ({}, {})


def test_a_name_that_ends_with_session_asks_for_one(tmp_path: Path) -> None:
    script = edit('request.SetHeaders["X-A"] = JSON.stringify(session.meta_data)').replace("mw", "mw_with_session")
    found = attempt(tmp_path, script, "post", name="mw_with_session")
    assert header(found.after, "X-A") == ["{}"]


def test_the_session_of_an_auth_hook_shows_and_reaches_no_store(tmp_path: Path, site: Site) -> None:
    conf = tmp_path / "tyk.conf"
    conf.write_text(json.dumps({"listen_port": 1, "app_path": str(tmp_path), "storage": storage(site)}))
    script = hook('return {Request: request, Session: {rate: 7, meta_data: {a: "b"}}, AuthValue: "the-key"};')
    found = attempt(tmp_path, script, "auth_check", conf=conf, calls=2)
    assert found.failures == []
    assert found.auth is not None
    assert (found.auth.token, found.auth.session["rate"], found.auth.session["meta_data"]) == ("the-key", 7, {"a": "b"})
    assert site.store.ask("KEYS", "*") == []
    assert not any("store" in line.text for line in found.logs)


def test_a_virtual_endpoint_answers(tmp_path: Path) -> None:
    script = """function v(request, session) {
        return TykJsResponse({Body: "hi " + request.Params.x[0], Headers: {"X-A": "1"}, Code: 201}, {n: session.rate}); }"""
    found = attempt(tmp_path, script, "virtual", name="v", session=SESSION)
    assert started(found.answer) == "201 Created"
    assert body(found.answer) == b"hi 1"
    assert header(found.answer, "X-A") == ["1"]
    assert found.meta == ({"kept": "1", "gone": "2"}, {"n": 5})


def test_a_response_hook_changes_the_response_that_is_given(tmp_path: Path) -> None:
    script = hook(
        """response.SetHeaders["X-New"] = request.Method; response.DeleteHeaders.push("X-Old"); response.StatusCode = 203;
        response.Body = response.Body.toUpperCase(); return mw.ReturnResponseData(response, session.meta_data);""",
        kind="Response", arguments="response, request, session, config",
    )  # fmt: skip
    given = Given(200, ((b"X-Old", b"1"), (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")), b"hello")
    found = attempt(tmp_path, script, "response", response=given)
    assert (started(found.before), body(found.before)) == ("200 OK", b"hello")
    assert (started(found.after).split()[0], body(found.after)) == ("203", b"HELLO")
    assert header(found.before, "Set-Cookie") == header(found.after, "Set-Cookie") == ["a=1", "b=2"]
    assert (header(found.after, "X-Old"), header(found.after, "X-New")) == ([], ["GET"])
    assert found.answer is None


def test_async_hooks_and_required_modules_work(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "two.js").write_text("exports.two = async () => 2;")
    script = f"""const two = require("./lib/two");\n{MADE}
        mw.NewProcessRequest(async (request) => {{ request.SetHeaders["X-A"] = `${{await two.two()}}`;
        return mw.ReturnData(request, {{}}); }});"""
    assert header(attempt(tmp_path, script).after, "X-A") == ["2"]


def test_the_library_is_loaded_first(tmp_path: Path) -> None:
    (tmp_path / "library.js").write_text("function shared() { return 'from the library'; }")
    script = edit('request.SetHeaders["X-A"] = shared()')
    found = attempt(tmp_path, script, library=str(tmp_path / "library.js"))
    assert header(found.after, "X-A") == ["from the library"]


def test_a_failure_is_told_as_the_gateway_logs_it(tmp_path: Path) -> None:
    found = attempt(tmp_path, f"{MADE}function deep() {{\n  null.x;\n}}\nmw.NewProcessRequest(function() {{ deep(); }});")
    where = f"{tmp_path}/mw.js:3:8"
    first, *frames = found.failures[0].split("\n")
    assert first == f"API js-test: pre hook mw: TypeError: Cannot read properties of null (reading 'x') ({where})"
    assert frames[0] == f"    at deep ({where})"
    assert (found.after, started(found.answer), found.failed_call) == (None, "500 Internal Server Error", 1)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("request.SetHeaders.a = 1; return mw.ReturnData(request, {})", 'Request.SetHeaders["a"]'),
        ("request.ReturnOverrides.ResponseCode = 99; return mw.ReturnData(request, {})", "99 is not the status"),
        ("return undefined", "pre hook mw"),
    ],
)
def test_what_cannot_be_used_is_a_failure(tmp_path: Path, function: str, said: str) -> None:
    found = attempt(tmp_path, hook(function))
    assert len(found.failures) == 1
    assert said in found.failures[0]
    assert started(found.answer).startswith("500")


def test_a_script_that_does_not_load_is_a_failure(tmp_path: Path) -> None:
    found = attempt(tmp_path, "var mw = {;")
    place = f"{tmp_path}/mw.js"
    assert found.failures[0] == f"Failed to load JS middleware: {place}: SyntaxError: Unexpected token ';' ({place}:1)"


def test_a_part_that_does_not_load_is_a_failure_although_the_hook_works(tmp_path: Path) -> None:
    found = attempt(tmp_path, edit("1") + "throw new Error('late');")
    assert started(found.after) == "GET /a/b?x=1"
    assert ["late" in failure for failure in found.failures] == [True]
    assert found.failed_call == 0


def test_an_endless_loop_ends_with_the_time_of_the_configuration(tmp_path: Path) -> None:
    conf = tmp_path / "tyk.conf"
    conf.write_text(json.dumps({"listen_port": 1, "app_path": str(tmp_path), "jsvm_timeout": 1, "enable_jsvm": True}))
    found = attempt(tmp_path, hook("while (true) {}"), conf=conf)
    assert found.failures == ["API js-test: pre hook mw: timed out after 1s"]


def test_calls_share_no_state(tmp_path: Path) -> None:
    script = "var count = 0;\n" + edit("count++; implicit = (this.implicit || 0) + 1; log(count + '/' + implicit)")
    found = attempt(tmp_path, script, calls=5)
    assert (len(found.seconds), found.failures) == (5, [])
    failing = script.replace("log(", "if (count > 1 || implicit > 1) throw new Error('shared'); log(")
    assert attempt(tmp_path, failing, calls=5).failures == []


def test_the_first_call_that_fails_is_told(tmp_path: Path, upstream: Upstream) -> None:
    answers = [reply(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()) for status in (200, 200, 500, 200)]
    upstream.on("/flaky", sequence(answers))
    ask = json.dumps({"Method": "GET", "Domain": upstream.url, "Resource": "/flaky"})
    code = f"JSON.parse(TykMakeHttpRequest({json.dumps(ask)})).Code"
    script = edit(f"var code = {code}; if (code != 200) throw new Error('' + code)")
    found = attempt(tmp_path, script, calls=4)
    assert (found.failed_call, len(found.seconds)) == (3, 3)
    assert "Error: 500" in found.failures[0]
    assert started(found.after) == "GET /a/b?x=1"


def test_host_functions_that_fail_do_not_fail_the_script(tmp_path: Path) -> None:
    script = edit("log(typeof TykMakeHttpRequest('{}'))")
    found = attempt(tmp_path, script)
    assert found.failures == []
    assert [line.text for line in found.logs if line.script] == ["undefined"]
    assert [line.level for line in found.logs if not line.script] == ["error"]


def test_without_a_configuration_there_is_no_store(tmp_path: Path) -> None:
    script = edit("log(TykGetKeyData('a', 'b')); try { TykStorageGet('a'); } catch (error) { log(error.message); }")
    texts = [line.text for line in attempt(tmp_path, script).logs]
    assert "there is no store here" in json.loads(texts[0])["message"]
    assert texts[1] == "TykStorageGet: there is no store here; name a tyk.conf that has one with --conf"


def test_the_store_of_a_configuration_is_used(tmp_path: Path, site: Site) -> None:
    conf = tmp_path / "tyk.conf"
    options = {"listen_port": 1, "app_path": str(tmp_path), "allow_master_keys": True, "storage": storage(site)}
    conf.write_text(json.dumps(options))
    site.put("abc", {"rate": 3})
    script = edit("""TykStorageSet('a', 'from the script', 60); log(TykStorageGet('a'));
        log(JSON.parse(TykGetKeyData('abc', 'none')).rate); TykSetKeyData('made', '{"rate": 4}', '1')""")
    found = attempt(tmp_path, script, conf=conf)
    assert found.failures == []
    assert [line.text for line in found.logs if line.script] == ["from the script", "3"]
    assert [line.level for line in found.logs if not line.script] == ["warning"]   # enable_jsvm is off there
    assert site.store.ask("GET", "jsvm-store:a") == b"from the script"
    assert json.loads(site.store.ask("GET", "apikey-made"))["rate"] == 4


def test_an_embedded_store_that_does_not_run_is_said(tmp_path: Path) -> None:
    conf = tmp_path / "tyk.conf"
    conf.write_text(json.dumps({"listen_port": 1, "app_path": str(tmp_path), "storage": {"type": "embedded"}}))
    script = edit("try { TykStorageGet('a'); } catch (error) { log(error.message); }")
    found = attempt(tmp_path, script, conf=conf)
    assert "runs only while its gateway does" in found.logs[-1].text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mw.js", "tyk.conf"]


def test_a_flood_of_lines_is_bounded(tmp_path: Path) -> None:
    found = attempt(tmp_path, edit("for (var i = 0; i < 3000; i++) log('x')"))
    assert len(found.logs) == 1000
    # The runtime cuts the output of a call too: each line costs 64 bytes more than its text.
    assert found.logs_left_out == 65536 // 65 + 1 - 1000


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: nope\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_a_request_that_the_gateway_refuses_is_no_trial(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(TrialError, match=r"refuses this request|not whole"):
        attempt(tmp_path, edit("1"), request=raw)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"name": "a b"}, "does not name an object"),
        ({"name": "return"}, "a word of the language"),
        ({"library": "nowhere.js"}, "nowhere.js: expected the path of a script"),
        ({"file": "nowhere.js"}, "nowhere.js: expected the path of a script"),
    ],
)
def test_a_case_that_cannot_be_is_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(TrialError, match=said):
        attempt(tmp_path, edit("1"), **more)


def test_logging_is_afterwards_as_it_was(tmp_path: Path) -> None:
    log = logging.getLogger("preforge")
    before = log.level, log.propagate, list(log.handlers)
    attempt(tmp_path, edit("log('x')"))
    assert (log.level, log.propagate, list(log.handlers)) == before
