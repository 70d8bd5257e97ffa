"""The hooks of node/hooks.js and go/hooks.go, for plugin_server.py, which runs this text with `messages` at hand."""

from __future__ import annotations

import time
from typing import Any


def _overrides(o: Any, code: int, **headers: str) -> Any:
    made = o.request.return_overrides
    made.response_code = code
    made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return made


def nothing(o: Any) -> None:
    """Let it pass."""


def headers(o: Any) -> None:
    o.request.set_headers.update({"X-Set": "by the plugin", "X-Both": "set", "X-Text": "Grüße"})
    o.request.delete_headers.extend(["X-Both", "x-gone"])


def params(o: Any) -> None:
    o.request.add_params.update({"added": "a b&c", "both": "set"})
    o.request.delete_params.extend(["gone", "both"])


def url(o: Any) -> None:
    o.request.url = o.request.url.replace("/x", "/rewritten")


def method(o: Any) -> None:
    o.request.method = "PUT"


def reverse(o: Any) -> None:
    o.request.raw_body = o.request.raw_body[::-1]


def refuse(o: Any) -> None:
    _overrides(o, 403, X_Why="a whim").response_error = "not today"


def answer(o: Any) -> None:
    made = _overrides(o, 418, X_Why="a teapot", Content_Type="text/x-pot")
    made.response_body = "short and stout\n"
    made.override_error = True


def fails(o: Any) -> None:
    raise ValueError("böse\n100%")


def slow(o: Any) -> None:
    time.sleep(float(o.request.headers["X-Sleep"]))


def auth(o: Any) -> None:
    key = o.request.headers.get("Authorization", "")
    if not key.startswith("good"):
        _overrides(o, 401).response_error = "who are you"
        return
    s = o.session
    s.rate, s.per, s.quota_max, s.quota_renewal_rate, s.alias = 100, 1, 50, 3600, "of a plugin"
    s.tags.extend(["one", "two"])
    s.access_rights["auth"].api_id = s.access_rights["auth"].api_name = "auth"
    s.access_rights["auth"].versions.append("Default")
    s.metadata.update({"token": key, "colour": "blue"})


def session(o: Any) -> None:
    s = o.session
    o.request.set_headers["X-Session"] = f"{s.alias} {s.rate:g}/{s.per:g} {','.join(s.tags)} {s.metadata['colour']}"
    o.request.set_headers["X-Metadata"] = ",".join(sorted(o.metadata))


def post(o: Any) -> None:
    o.request.set_headers["X-Post"] = f"{messages.coprocess__common__pb2.HookType.Name(o.hook_type)} {o.request.url}"  # type: ignore[name-defined]  # noqa: F821


def response(o: Any) -> None:
    o.response.status_code = 202
    o.response.raw_body = o.response.raw_body[::-1]
    o.response.headers["X-First"] = "changed"
    o.response.headers["X-Many"] = "1"
    o.response.multivalue_headers.add(key="X-Many", values=["1", "2"])
    o.response.headers.pop("X-Gone", None)
