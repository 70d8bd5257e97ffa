"""POST /tyk/debug: a request played through a definition that is not loaded (tyk-core 4.11)."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from core.admin import apis, bodies
from core.admin.context import AdminContext
from core.admin.replies import Refused, Reply, Request, go_json
from core.config.gojson import ListOf, MapOf, Obj, Str

MALFORMED = "Request malformed"
REQUEST = Obj({"method": Str(), "path": Str(), "body": Str(), "headers": MapOf(ListOf(Str()))})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_TARGET = re.compile(r"/[\x21-\x7e]*\Z")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")
_HOST = re.compile(r"[\x21-\x7e]*\Z")
_OURS = frozenset(("host", "content-length", "transfer-encoding", "connection"))


async def play(context: AdminContext, request: Request) -> Reply:
    document = bodies.document(request.body, 400, MALFORMED)
    spec, given = (document.get(bodies.spelled(document, name)) for name in ("spec", "request"))
    if not isinstance(spec, dict):
        raise Refused(400, "Spec field is missing")
    if not isinstance(given, dict):
        raise Refused(400, "Request field is missing")
    _, _, plan = apis.checked(context, go_json(spec))
    message = raw_request(bodies.typed(given, REQUEST, 400, MALFORMED), spec)
    try:
        response, logs = await context.trace(plan, message)
    except (OSError, TimeoutError) as error:
        raise Refused(500, f"the request could not be played: {error}") from None
    text = response.decode("utf-8", "replace")
    return Reply(200, {"message": "ok", "response": text, "logs": logs})


def raw_request(given: dict[str, Any], spec: dict[str, Any]) -> bytes:
    """An HTTP/1.1 message. Refused when it would not be one."""
    method: str = given["method"] or "GET"
    target: str = given["path"] or "/"
    host = "" if spec.get("domain_disabled") else str(spec.get("domain") or "")
    wrong = []
    if "://" in target:
        try:
            parts = urlsplit(target)
            host, target = parts.netloc or host, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        except ValueError as error:
            wrong.append(f"$.request.path: not a URL: {error}")
            target = "/"
    if not _TOKEN.match(method):
        wrong.append("$.request.method: expected a method such as GET")
    if not _TARGET.match(target):
        wrong.append('$.request.path: expected a path that begins with "/", in printable ASCII')
    lines: list[str] = []
    for name, values in given["headers"].items():
        if not _TOKEN.match(name) or not all(_VALUE.match(value) for value in values):
            wrong.append(f'$.request.headers["{name}"]: expected the name of a header with values of one line')
        elif name.lower() == "host":
            host = values[0] if values else host
        elif name.lower() not in _OURS:
            lines += [f"{name}: {value}" for value in values]
    if not _HOST.match(host):
        wrong.append(f"$.request.path, $.request.headers.Host or $.spec.domain: {host!r:.80} is not a host")
    if wrong:
        raise Refused(400, MALFORMED, wrong)
    size = len(given["body"].encode())
    length = [f"Content-Length: {size}"] if size else []
    head: list[str] = [f"{method} {target} HTTP/1.1", f"Host: {host or 'debug'}", "Connection: close", *length, *lines]
    message: str = "\r\n".join([*head, "", ""]) + given["body"]
    return message.encode()
