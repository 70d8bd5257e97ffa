"""A plugin over pipes with one hook: newline framing, one call after the other, the standard library's JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

HOOK = "benchPre"


def answer(call: dict[str, Any]) -> dict[str, Any]:
    """The hook: what pre.js does."""
    thing = call["params"]
    if thing["hook_name"] != HOOK:
        return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32601, "message": "there is no such hook"}}
    request = thing["request"]
    request["set_headers"]["X-Bench"] = "1"
    request["delete_headers"].append("User-Agent")
    request["add_params"]["bench"] = "1"
    return {"jsonrpc": "2.0", "id": call["id"], "result": thing}


def main() -> None:
    """One line, one call; the end of the input is the end of the plugin."""
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(answer(json.loads(line)), separators=(",", ":")) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
