"""Arguments and dispatch. Exit codes: 0 done, 1 failed or findings, 2 wrong arguments, 3 no gateway runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from core.cli import bundle, commands, js, start

EXIT_USAGE = 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="preforge",
        description="A multi-process API gateway that loads tyk.conf and the API definitions of Tyk users.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND")

    def verb(name: str, function: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        found = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        found.set_defaults(function=function)
        if name != "version":
            found.add_argument(
                "--conf", metavar="FILE", help="configuration; without it ./tyk.conf, then /etc/tyk/tyk.conf"
            )
            found.add_argument("--pid-file", metavar="FILE", help="instead of pid_file_location")
        return found

    for name, function, text in (
        ("start", start.start, "start the gateway, in the foreground unless --daemon is given"),
        (
            "preflight",
            start.preflight,
            "load configuration, definitions and bundles as a start would, and say what is wrong; exit code 0 and the format"
            " of what a running gateway hands over mean that it may become this code",
        ),
    ):
        found = verb(name, function, text)
        found.add_argument("--port", type=int, metavar="N", help="listen on this port instead of listen_port")
        found.add_argument(
            "--daemon", action="store_true", help="run in the background; return when it serves"
        )
        found.add_argument(
            "--log-file", metavar="FILE", help="with --daemon: where the log goes (default preforge.log beside the pid file)"
        )
        found.add_argument("--debug", action="store_true", help="log everything")
    verb("stop", commands.stop, "let a running gateway finish its requests and end")
    verb("reload", commands.reload, "read configuration and definitions anew, without dropping a connection")
    verb("upgrade", commands.upgrade, "replace code and workers one by one, without dropping a connection")
    status = verb("status", commands.status, "show a running gateway and its workers")
    status.add_argument("--json", action="store_true", help="print JSON")
    lint = verb("lint", commands.lint, "check the configuration and every definition; changes nothing")
    lint.add_argument("--json", action="store_true", help="print JSON")
    bundle.add_parser(verbs)
    js.add_parser(verbs)
    verb("version", commands.version, "show versions")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit code. No command means start."""
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0].startswith("--conf"):
        given = ["start", *given]
    options = build_parser().parse_args(given)
    if options.verb is None:
        build_parser().print_help()
        return EXIT_USAGE
    options.arguments = given[1:]
    result: int = options.function(options)
    return result
