#!/usr/bin/env python3
"""A plugin of the JSON-RPC driver with every kind of hook. Python's standard library only; newline framing.

Hooks: AddHeader (pre), CheckToken (auth_check), MarkResponse (response). Events are written to the gateway's log.
"""

import json
import sys
from typing import Any

Json = dict[str, Any]

TOKENS = {"let-me-in": "alice"}


def add_header(thing: Json) -> Json:
    """Give the upstream a header."""
    thing["request"]["set_headers"]["X-Plugin"] = "python"
    return thing


def check_token(thing: Json) -> Json:
    """Let in who has a token; a session without limits of its own is all that is needed."""
    token = thing["request"]["headers"].get("Authorization", "")
    if token not in TOKENS:
        thing["request"]["return_overrides"]["response_code"] = 401
        thing["request"]["return_overrides"]["response_error"] = "a token is needed"
        return thing
    thing["session"] = {"rate": 0, "per": 0, "quota_max": -1, "metadata": {"user": TOKENS[token]}}
    thing["metadata"] = {"token": token}
    return thing


def mark_response(thing: Json) -> Json:
    """Give the client a header; one that is new stands in `headers`, and that is enough."""
    thing["response"]["headers"]["X-Plugin-Response"] = "python"
    return thing


HOOKS = {"AddHeader": add_header, "CheckToken": check_token, "MarkResponse": mark_response}


def log(text: str) -> None:
    """Standard error goes to the gateway's log."""
    sys.stderr.write(text + "\n")


def answer(request: Json) -> Json:
    """What is sent back for one request."""
    reply: Json = {"jsonrpc": "2.0", "id": request["id"]}
    thing = request["params"]
    hook = HOOKS.get(thing["hook_name"])
    if request["method"] != "Dispatch" or hook is None:
        return reply | {"error": {"code": -32601, "message": f"there is no hook {thing['hook_name']!r}"}}
    try:
        return reply | {"result": hook(thing)}
    except Exception as error:
        log(f"{thing['hook_name']}: {error!r}")
        return reply | {"error": {"code": -32603, "message": "the hook failed"}}


def main() -> None:
    """One line, one message; the end of the input is the end of the plugin."""
    output = sys.stdout
    sys.stdout = sys.stderr  # what a library prints must not get between the answers
    for line in sys.stdin.buffer:  # bytes: JSON is UTF-8, whatever the locale says
        message = json.loads(line)
        for one in message if isinstance(message, list) else [message]:
            if "id" in one:
                output.write(json.dumps(answer(one), separators=(",", ":")) + "\n")
                output.flush()
            elif one["method"] == "DispatchEvent":
                event = one["params"]
                log(f"event {event['message']['Type']} for {event['handler_name']}")


if __name__ == "__main__":
    main()
