"""Generated files: OPTIONS.md (the reference) and tyk.conf.example. `python -m core.config.render [--check]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from core.config.table import Option, options

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "core" / "config" / "OPTIONS.md"
EXAMPLE = ROOT / "tyk.conf.example"
EXAMPLE_VALUES: dict[str, Any] = {
    "listen_address": "127.0.0.1",
    "listen_port": 8080,
    "secret": "change-me",
    "app_path": "bench/tour/apps",
    "template_path": "",
    "pid_file_location": ".run/preforge.pid",
    "log_level": "info",
    "hide_generator_header": False,
    "enable_custom_domains": True,
    "http_server_options.enable_strict_routes": True,
    "http_server_options.enable_path_prefix_matching": True,
    "http_server_options.enable_path_suffix_matching": True,
    "http_server_options.enable_websockets": True,
    "max_idle_connections_per_host": 500,
    "proxy_default_timeout": 30,
    "access_logs.enabled": False,
    "storage.type": "embedded",
}


def reference() -> str:
    """The reference of all options as Markdown."""
    lines = [
        "# Options of tyk.conf",
        "",
        "Generated from the table in core/config by `make docs`. Keys match without regard to case; environment variables",
        "win over the file. *At reload*: a change takes effect with `preforge reload`; *at restart*: the gateway has to be",
        "started anew. *accepted*: read, without effect in this version. *ignored*: obsolete, or of a commercial component.",
        "",
        "| option | type | default | environment | takes effect | support | what it does |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(option) for option in options().values()]
    return "\n".join(lines) + "\n"


def _row(option: Option) -> str:
    kind = option.type + (f": {', '.join(c or '(empty)' for c in option.choices)}" if option.choices else "")
    default = "" if option.default in (None, "", [], {}) else f"`{json.dumps(option.default)}`"
    when = "at reload" if option.effect == "swap" else "at restart"
    doc = option.doc.replace("|", "\\|")
    return f"| `{option.path}` | {kind} | {default} | `{option.environment}` | {when} | {option.support} | {doc} |"


def example() -> str:
    """A configuration that `make run` serves: Tyk's usual keys, and every option of ours with its default."""
    document: dict[str, Any] = {}
    values = dict(EXAMPLE_VALUES)
    values |= {path: option.default for path, option in options().items() if path.startswith("preforge.")}
    for path, value in values.items():
        names = path.split(".")
        place = document
        for name in names[:-1]:
            place = place.setdefault(name, {})
        place[names[-1]] = int(value) if isinstance(value, float) and value.is_integer() else value
    return json.dumps(document, indent=2) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with --check say which are stale (exit code 1)."""
    parser = argparse.ArgumentParser(prog="python -m core.config.render", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit code 1 if a file is stale")
    check = parser.parse_args(arguments).check
    stale = 0
    for path, text in ((REFERENCE, reference()), (EXAMPLE, example())):
        if path.exists() and path.read_text() == text:
            continue
        stale = 1
        if check:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run make docs\n")
        else:
            path.write_text(text)
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(main())
