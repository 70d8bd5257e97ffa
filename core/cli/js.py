"""`preforge js test`: a script tried on a request, without a gateway that runs."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.scripts.trial_case import Case

HOOKS = ("pre", "auth_check", "post_key_auth", "post", "response", "virtual")
MOST_CALLS = 1_000_000
_USAGE = 2
_TEXT = """Run a middleware file on a request and show what it makes of it: the request before and after as a diff, or the
answer that the client gets, what was logged, meta data of the key, the session that an auth_check hook returns, and the time
that the script took. Arguments and results of the script are handled by the same code as in the gateway. Functions such as
TykMakeHttpRequest work; those for keys and storage work with --conf, on the store of that configuration."""
_END = """The request is an HTTP message as text (lines may end with LF; Host and Content-Length may be left out), or JSON:
  {"method": "POST", "url": "/a?b=c", "headers": {"X-A": "1", "X-B": ["2", "3"]}, "body": "text"}
with "body_base64" in place of "body" for other bytes, and "scheme": "https" for a request over TLS. A response is
the same with "HTTP/1.1 200 OK" as its first line, or "status" in place of "method" and "url".

example:
  printf 'GET /widgets?id=1 HTTP/1.1\\nX-Key: a\\n\\n' | preforge js test middleware/sample.js --request -

exit status: 0 done; 1 the script failed, or what it returned cannot be used; 2 wrong arguments or files"""


def add_parser(verbs: Any) -> None:
    """Add the verb to the parser of all verbs."""
    scripts = verbs.add_parser("js", help="try JavaScript middleware", description="JavaScript middleware.")
    actions = scripts.add_subparsers(dest="action", metavar="COMMAND", required=True)
    found = actions.add_parser(
        "test",
        help="run a middleware file on a request",
        description=_TEXT,
        epilog=_END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("file", metavar="FILE", help="the script")
    add("--request", metavar="FILE", required=True, help='the request; "-" is standard input')
    add("--hook", choices=HOOKS, default="pre", help="how the script is called (default pre)")
    add("--name", help="object or function of the script; without it what is called as the file, else the only one of the file")
    add("--session", metavar="FILE", help="session of the client's key, JSON as GET /tyk/keys/{key} shows it; "
        "the hook then has require_session")  # fmt: skip
    add("--response", metavar="FILE", help="the upstream's response, for --hook response")
    add("--config-data", metavar="FILE", help="config_data of the API, a JSON object")
    add("--conf", metavar="FILE", help="tyk.conf whose limits and store are used; without it the defaults, and no store")
    add("--library", metavar="FILE", help="script that is loaded first, in place of tyk_js_path")
    add("--repeat", metavar="N", type=_calls, default=1, help="call the script N times, and show how long that took")
    add("--json", action="store_true", help="print JSON")
    add("--color", choices=("auto", "always", "never"), default="auto", help="colours (default auto: on a terminal)")
    found.set_defaults(function=test)


def _calls(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_CALLS:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {MOST_CALLS}, got {text!r:.40}")
    return int(text)


def test(options: argparse.Namespace) -> int:
    """Try the script; 1 if it fails, 2 if it cannot be tried."""
    import uvloop  # noqa: PLC0415  # other verbs start faster without all this

    from core.cli import js_report  # noqa: PLC0415
    from core.cli.js_files import FileError  # noqa: PLC0415
    from core.config import ConfigError  # noqa: PLC0415
    from core.scripts.trial import try_script  # noqa: PLC0415
    from core.scripts.trial_case import TrialError  # noqa: PLC0415

    try:
        case, why = _case(options)
        outcome = uvloop.run(try_script(case, _config(options.conf), options.conf or "", options.repeat))
    except (ConfigError, FileError, TrialError) as error:
        sys.stderr.write(f"preforge: {error}\n")
        return _USAGE
    if options.json:
        _write(js_report.as_json(case, why, outcome))
    else:
        _write(js_report.as_text(case, why, outcome, color=_colored(options.color)))
        sys.stdout.flush()
        sys.stderr.write(js_report.failures(outcome))
    return int(js_report.failed(outcome))


def _case(options: argparse.Namespace) -> tuple[Case, str]:
    """The case, and how the name was found, "" if it was given. Raises FileError, TrialError."""
    from core.cli.js_files import FileError, read_config_data, read_request, read_response, read_session  # noqa: PLC0415
    from core.scripts.trial_api import find_name  # noqa: PLC0415
    from core.scripts.trial_case import Case  # noqa: PLC0415

    if (options.hook == "response") != bool(options.response):
        expected = "expected --response FILE with" if options.hook == "response" else "--response is only for"
        raise FileError(f"{expected} --hook response")
    if options.session and options.hook in ("pre", "auth_check"):
        raise FileError(f"--session: there is no session yet where {options.hook} scripts run")
    name, why = (options.name, "") if options.name else find_name(options.file, options.hook)
    request, secure = read_request(options.request)
    return Case(
        file=options.file,
        hook=options.hook,
        name=name,
        request=request,
        secure=secure,
        response=read_response(options.response) if options.response else None,
        session=read_session(options.session) if options.session else None,
        config_data=read_config_data(options.config_data) if options.config_data else None,
        library=options.library or "",
    ), why


def _config(path: str | None) -> Any:
    """The configuration, or one of defaults only. Raises ConfigError."""
    from core.config import load  # noqa: PLC0415

    if path:
        return load(path, os.environ).config
    # A gateway cannot do without these two; nothing listens here and no definition is read.
    return load("defaults", {"TYK_GW_OMITCONFIGFILE": "true", "TYK_GW_APPPATH": os.curdir}, port=8080).config


def _colored(choice: str) -> bool:
    if choice != "auto":
        return choice == "always"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _write(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
