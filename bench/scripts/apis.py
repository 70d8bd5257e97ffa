"""Definitions of APIs with scripts, and the scripts of the memory test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import gateway

MIXED = gateway.HOOKS / "mixed.js"
REALISTIC = gateway.HOOKS / "realistic.js"
VIRTUAL_ANSWER = 13     # bytes of what hooks/virtual.js answers
MIXED_ANSWER = 4        # bytes of what the functions of hooks/mixed.js answer

Fields = dict[str, Any]


def quick() -> Fields:
    """The ordinary pre hook, in front of an upstream."""
    return gateway.javascript_hook()


def both() -> Fields:
    """The ordinary pre hook, and the virtual endpoint /x: two calls for one request."""
    return {**gateway.javascript_hook(), **gateway.virtual_endpoint()}


def mixed(functions: tuple[str, ...], upstream: str, slow: str) -> Fields:
    """Functions of hooks/mixed.js as virtual endpoints of their names. upstream, slow: URLs without a path."""
    entries = [
        {
            "response_function_name": name,
            "function_source_type": "file",
            "function_source_uri": str(MIXED),
            "path": f"/{name}",
            "method": "GET",
            "use_session": False,
            "proxy_on_error": False,
        }
        for name in functions
    ]
    version = {"name": "Default", "use_extended_paths": True, "extended_paths": {"virtual": entries}}
    return {
        "config_data": {"upstream": upstream, "slow": slow},
        "version_data": {"not_versioned": True, "versions": {"Default": version}},
    }


def realistic(folder: Path, number: int) -> Fields:
    """A pre hook with a script of its own, 2 to 9 KB long, no two alike."""
    routes = "\n".join(
        f'  {{name: "route{number}-{i}", pattern: /^\\/r{number}\\/p{i}\\/[0-9a-f-]+$/, methods: ["GET", "POST"], port: {i}}},'
        for i in range(2 + number % 23)
    )
    rules = "\n".join(
        f'  "X-Field-{number}-{i}": {{required: {"true" if i % 2 else "false"}, pattern: /^[A-Z]{{{i + 1}}}[a-z0-9]*$/, '
        f'longest: {16 + i}, text: "field {i} of API {number} must be a capitalised word"}},'
        for i in range(2 + number % 17)
    )
    text = REALISTIC.read_text().replace("NUMBER", str(number)).replace("/* routes */", routes).replace("/* rules */", rules)
    path = folder / f"check{number}.js"
    path.write_text(text)
    hook = {"name": f"check{number}", "path": str(path), "require_session": False}
    return {"custom_middleware": {"driver": "otto", "pre": [hook]}}
