"""`preforge js test` as a command: what it prints, how it ends, and that a gateway does the same."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from tests.cli.trials import MADE, edit, hook
from tests.conftest import Start
from tests.support.gateway import ROOT, api
from tests.support.upstream import Upstream

REQUEST = "POST /a?x=1 HTTP/1.1\nX-Old: 0\n\nhi"


Ran = subprocess.CompletedProcess[str]


def command(directory: Path, *arguments: str, **environ: str) -> Ran:
    """Run it with the request on standard input."""
    line = [sys.executable, "-m", "core", "js", "test", *arguments, "--request", "-"]
    known = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    return subprocess.run(
        line, input=REQUEST, capture_output=True, text=True, cwd=directory, env=known, timeout=60, check=False
    )


def js(
    capsys: pytest.CaptureFixture[str], directory: Path, script: str, *more: str, request: str = REQUEST
) -> tuple[int, str, str]:
    """The same in this process: exit status, output, errors."""
    (directory / "mw.js").write_text(script)
    (directory / "request").write_text(request)
    status = main(["js", "test", str(directory / "mw.js"), "--request", str(directory / "request"), *more])
    found = capsys.readouterr()
    return status, found.out, found.err


def test_a_diff_is_printed(tmp_path: Path) -> None:
    (tmp_path / "sample.js").write_text(edit('log("seen"); request.SetHeaders["X-New"] = "1"; request.AddParams.y = "2"'))
    found = command(tmp_path, "sample.js")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.split("\nTime: ")[0].split("\n") == [
        "pre mw of sample.js (the only NewMiddleware of the file)",
        "",
        "--- request before",
        "+++ request after",
        "-POST /a?x=1",
        "+POST /a?x=1&y=2",
        " Host: localhost",
        " X-Old: 0",
        " Content-Length: 2",
        "+X-New: 1",
        " ",
        " hi",
        "",
        "Log:",
        "  info    seen",
        "",
    ]


def test_a_failing_script_fails_the_command(tmp_path: Path) -> None:
    (tmp_path / "mw.js").write_text(f"{MADE}mw.NewProcessRequest(function() {{\n  null.x;\n}});")
    found = command(tmp_path, "mw.js", "--color", "always")
    assert found.returncode == 1
    message = "API js-test: pre hook mw: TypeError: Cannot read properties of null (reading 'x') (mw.js:3:8)\n"
    assert found.stderr.startswith(message)
    assert "500 Internal Server Error" in found.stdout


def test_wrong_arguments_are_told_from_failures(tmp_path: Path) -> None:
    found = command(tmp_path, "nowhere.js")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == "preforge: nowhere.js: the script cannot be read: No such file or directory\n"


def test_texts_of_scripts_cannot_break_a_terminal_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "mw.js").write_text(edit('log("\\u001b[2J\\u202e\\ud800 caf\\u00e9")'))
    found = command(tmp_path, "mw.js", PYTHONIOENCODING="ascii")
    assert (found.returncode, found.stderr) == (0, "")
    assert r"  info    \u001b[2J\u202e? caf\xe9" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--hook", "response"], "expected --response FILE with --hook response"),
        (["--response", "x"], "--response is only for --hook response"),
        (["--session", "x"], "--session: there is no session yet where pre scripts run"),
        (["--hook", "auth_check", "--session", "x"], "no session yet where auth_check scripts run"),
        (["--hook", "post", "--session", "nowhere"], "nowhere: it cannot be read"),
        (["--config-data", "nowhere"], "nowhere: it cannot be read"),
        (["--library", "nowhere"], "nowhere: expected the path of a script"),
        (["--conf", "nowhere"], "nowhere"),
        (["--name", "a b"], "does not name an object"),
    ],
)
def test_what_cannot_be_tried_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    status, out, err = js(capsys, tmp_path, edit("1"), *arguments)
    assert (status, out) == (2, "")
    assert said in err


@pytest.mark.parametrize("arguments", [["--repeat", "0"], ["--repeat", "x"], ["--repeat", "1000001"], ["--hook", "event"]])
def test_arguments_out_of_range_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        js(capsys, tmp_path, edit("1"), *arguments)
    assert ended.value.code == 2
    assert f"argument {arguments[0]}" in capsys.readouterr().err


def test_the_help_has_an_example_and_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["js", "test", "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert "| preforge js test middleware/sample.js --request -" in text
    assert "exit status: 0 done; 1 the script failed" in text


def test_json_says_all_that_the_text_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "session").write_text('{"meta_data": {"a": "1"}}')
    script = hook('log("x"); request.Body = "\\udcff"; return mw.ReturnData(request, {b: "2"})')
    more = ("--hook", "post", "--session", str(tmp_path / "session"), "--json", "--repeat", "3")
    status, out, _ = js(capsys, tmp_path, script, *more)
    found = json.loads(out)
    assert (status, found["ok"], found["errors"], found["name"], found["hook"]) == (0, True, [], "mw", "post")
    assert found["before"]["start"] == "POST /a?x=1"
    assert ["X-Old", "0"] in found["before"]["headers"]
    assert (found["before"]["body"], found["after"]["body_base64"]) == ("hi", "/w==")
    assert found["meta_data"] == {"before": {"a": "1"}, "after": {"b": "2"}}
    assert found["log"] == [{"level": "info", "message": "x", "script": True}]
    assert found["time"]["calls"] == 3
    assert found["time"]["median_ms"] <= found["time"]["p99_ms"]


def test_files_of_a_response_and_of_config_data_reach_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "response").write_text("HTTP/1.1 404 Not Found\nX-Up: 1\n\ngone")
    (tmp_path / "data").write_text('{"code": 410}')
    function = "response.StatusCode = config.config_data.code; return mw.ReturnResponseData(response, {})"
    script = hook(function, kind="Response", arguments="response, request, session, config")
    files = ("--response", str(tmp_path / "response"), "--config-data", str(tmp_path / "data"))
    status, out, err = js(capsys, tmp_path, script, "--hook", "response", *files)
    assert (status, err) == (0, "")
    assert "--- response before\n+++ response after\n-404 Not Found\n+410 Gone\n X-Up: 1\n" in out


def test_the_answer_of_a_virtual_endpoint_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = "function answer(request) { return TykJsResponse({Body: request.Body, Headers: {A: 'b'}, Code: 202}, {}); }"
    status, out, err = js(capsys, tmp_path, script, "--hook", "virtual")
    assert (status, err) == (0, "")
    assert "virtual answer of " in out
    assert "The client gets:\n  202 Accepted\n" in out
    assert "\n  A: b\n" in out


@pytest.mark.parametrize(("environ", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_terminal_gets_colours_unless_it_wants_none(tmp_path: Path, environ: dict[str, str], colored: bool) -> None:
    (tmp_path / "mw.js").write_text(edit('request.URL = "/b"'))
    (tmp_path / "request").write_text(REQUEST)
    mine, its = pty.openpty()
    line = [sys.executable, "-m", "core", "js", "test", "mw.js", "--request", "request"]
    known = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "NO_COLOR": "", **environ}
    try:
        status = subprocess.run(line, stdout=its, cwd=tmp_path, env=known, timeout=60, check=False).returncode
        shown = os.read(mine, 65536)
    finally:
        os.close(mine)
        os.close(its)
    assert (status, b"\x1b[31m-POST /a?x=1\x1b[0m" in shown) == (0, colored)


def test_a_failure_is_told_in_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = js(capsys, tmp_path, hook("throw new Error('no')"), "--json")
    found = json.loads(out)
    assert (status, found["ok"], found["failed_call"], found["after"]) == (1, False, 1, None)
    assert "Error: no" in found["errors"][0]


def test_a_request_is_changed_as_a_gateway_changes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], start: Start, upstream: Upstream
) -> None:
    script = edit("""request.SetHeaders["x-new"] = "caf\\u00e9"; request.SetHeaders["Content-Length"] = "1";
        request.DeleteHeaders.push("x-old"); request.AddParams["z &"] = "\\u00fc"; request.DeleteParams.push("y");
        request.Body = request.Body.toUpperCase()""")
    (tmp_path / "mw.js").write_text(script)
    hooks = {"driver": "otto", "pre": [{"name": "mw", "path": str(tmp_path / "mw.js")}]}
    gateway = start([api("one", "/", upstream.url, custom_middleware=hooks)], {"enable_jsvm": True})
    gateway.fetch("/p%20q?y=1&x=%41", "X-Old: 0", "X-Kept: a", "X-Kept: b", method="POST", body=b"body")
    served = upstream.seen("/p%20q")[-1]

    lines = ["POST /p%20q?y=1&x=%41 HTTP/1.1", "Host: h", "X-Old: 0", "X-Kept: a", "X-Kept: b", "", "body"]
    tried = after(capsys, tmp_path, script, "\r\n".join(lines))
    assert tried["start"] == f"{served.method} {served.target}"
    assert tried["body"] == served.body.decode() == "BODY"
    fields = [(name, value) for name, value in tried["headers"] if name != "Host"]
    raw = [(name, value.encode("latin-1").decode()) for name, value in served.headers]
    assert sorted(field for field in raw if field in fields) == sorted(fields)
    assert not served.all("X-Old")


def test_the_embedded_store_of_a_gateway_that_runs_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], start: Start
) -> None:
    gateway = start([], {"enable_jsvm": True})
    left = edit('TykStorageSet("left", "by a trial", 60)')
    found = edit('request.SetHeaders["X-Found"] = TykStorageGet("left")')
    conf = ("--conf", str(gateway.conf_path))
    assert js(capsys, tmp_path, left, *conf)[0] == 0
    assert ["X-Found", "by a trial"] in after(capsys, tmp_path, found, REQUEST, *conf)["headers"]


def after(capsys: pytest.CaptureFixture[str], directory: Path, script: str, request: str, *more: str) -> dict[str, Any]:
    """The request behind a script, as JSON tells it."""
    status, out, err = js(capsys, directory, script, "--json", *more, request=request)
    assert (status, err) == (0, "")
    found: dict[str, Any] = json.loads(out)["after"]
    return found
