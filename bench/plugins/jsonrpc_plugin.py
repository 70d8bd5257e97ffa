"""A plugin over pipes with two hooks: newline framing, one call after the other, the standard library's JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

HOOK, MARK = "benchPre", "mark"


def answer(call: dict[str, Any]) -> dict[str, Any]:
    """What pre.js does, or a mark that tells the upstream what the plugin was asked about."""
    thing = call["params"]
    request = thing["request"]
    if thing["hook_name"] == HOOK:
        request["set_headers"]["X-Bench"] = "1"
        request["delete_headers"].append("User-Agent")
        request["add_params"]["bench"] = "1"
    elif thing["hook_name"] == MARK:
        request["set_headers"]["X-Token"] = request["url"].rpartition("/")[2]
    else:
        return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32601, "message": "there is no such hook"}}
    return {"jsonrpc": "2.0", "id": call["id"], "result": thing}


def main() -> None:
    """One line, one call; the end of the input is the end of the plugin."""
    for line in sys.stdin.buffer:
        sys.stdout.write(json.dumps(answer(json.loads(line)), separators=(",", ":")) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
