"""Hooks on a data path of their own, with Python functions in the place of scripts."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from accel.endpoints import Endpoint, EndpointMatcher
from accel.headers import canonical
from accel.http1 import PathStep, Step, WaitStep
from core.access.rewrite import Loops
from core.apidef.endpoints import EndpointSpec
from core.apidef.scripts import HookSpec, VirtualSpec
from core.apidef.specs import PlanSpec, RouteSpec, TransportSpec
from core.edits.addresses import listen_end
from core.edits.headers import request_editor
from core.plugins.auth import CustomAuth
from core.scripts.context import Api, Returned, Worker
from core.scripts.hooks import AuthHook, RequestHook
from core.scripts.metadata import MetaData
from core.scripts.places import Places
from core.scripts.responses import ResponseHook
from core.scripts.session_text import EMPTY, SessionTexts
from core.scripts.virtual import Virtual
from jsvm_pool.steps import run_virtual
from tests.support.datapath import DataPath

CONFIG = {"APIID": "api", "OrgID": "org", "config_data": {"colour": "red"}}
Json = dict[str, Any]
Script = Callable[[Json], Any]
"""Called with the payload; returns what the script returns, or a Result."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a call of the pool leads to."""

    text: bytes | None = None
    error: str = ""
    kind: str = "ok"
    edits: bool = False


class FakeScript:
    """Runs `script` for every call, on the loop, after the call has returned."""

    def __init__(self) -> None:
        self.script: Script = unchanged
        self.calls: list[Json] = []
        self.at_once = False

    def run(self, hook: str, payload: bytes, done: Callable[[Returned], None]) -> None:
        given = expanded(json.loads(payload), hook)
        self.calls.append(copy.deepcopy(given))
        result = self.script(given)
        if isinstance(result, str):
            result = result.encode()
        if not isinstance(result, Result):
            result = Result(result if isinstance(result, bytes) else json.dumps(result).encode())
        if self.at_once:
            done(result)
        else:
            asyncio.get_running_loop().call_soon(done, result)


@dataclass(frozen=True, slots=True)
class Bound:
    """What one hook calls."""

    scripts: FakeScript
    hook: str

    def call(self, payload: bytes, done: Callable[[Returned], None], /) -> None:
        self.scripts.run(self.hook, payload, done)


def expanded(given: list[Any], hook: str) -> Json:
    """What the runtime makes of a payload (runtime/run.js: unpack), for any kind of hook."""
    secure, headers, body, url, params, method, uri, session, peer, client, request_id, version, path, variables = given[:14]
    request = {"Headers": headers, "Body": body, "URL": url or uri, "Params": params or {}}
    request["Scheme"] = "https" if secure else "http"
    if hook != "virtual":
        said = {"ResponseCode": 0, "ResponseError": "", "ResponseBody": "", "ResponseHeaders": None, "OverrideError": False}
        request |= {"SetHeaders": {}, "DeleteHeaders": [], "AddParams": {}, "ExtendedParams": {}, "DeleteParams": [],
                    "ReturnOverrides": said, "IgnoreBody": False, "Method": method, "RequestURI": uri}  # fmt: skip
    extra = {"RemoteAddr": peer, "ClientAddr": client or peer, "RequestID": request_id, "APIID": "api", "APIName": "An API",
             "Hook": hook, "Version": version, "Path": path, "PathParams": variables or {}}  # fmt: skip
    whole = {"request": request, "session": json.loads(EMPTY) if session == 0 else session, "config": CONFIG, "extra": extra}
    return {**whole, "response": given[14]} if len(given) > 14 else whole


def unchanged(payload: Json) -> Json:
    """What the runtime makes of a script that returns its request."""
    return {"$plain": True, "Request": payload["request"], "SessionMeta": (payload["session"] or {}).get("meta_data")}


def edited(**fields: Any) -> Script:
    """A script that sets fields of its request."""

    def script(payload: Json) -> Json:
        payload["request"].update(fields)
        return unchanged(payload)

    return script


def overriding(**fields: Any) -> Script:
    """A script that sets fields of ReturnOverrides."""

    def script(payload: Json) -> Json:
        payload["request"]["ReturnOverrides"].update(fields)
        return unchanged(payload)

    return script


def spec(*endpoints: EndpointSpec, listen_path: str = "/api/", **more: Any) -> PlanSpec:
    """An API with these path entries."""
    base: Json = {
        "file": "api.json", "api_id": "api", "name": "An API", "org_id": "org", "active": True, "internal": False,
        "keyless": True, "domain": "", "domain_pattern": None, "listen_path": listen_path,
        "route": RouteSpec(listen_path, None, 5, False), "strip_listen_path": True, "disable_strip_slash": False,
        "preserve_host_header": False, "targets": (), "load_balancing": False, "loop_target": "", "loop_path": "",
        "request_headers_remove": (), "request_headers_add": (), "response_headers_remove": (),
        "response_headers_add": (), "global_timeout": None, "tls": TransportSpec(False, 0, 0, (), ""), "refuse": (),
    }  # fmt: skip
    return PlanSpec(**{**base, "endpoints": endpoints, **more})


class HookSite:
    """A data path, and what makes hooks for it."""

    def __init__(self, path: DataPath, keyspace: Any = None) -> None:
        self.path = path
        self.pool: Any = FakeScript()
        self.loops = Loops()
        texts = SessionTexts()
        self.worker = Worker(self.loops, MetaData(keyspace, texts), texts)
        self.api = self.made(spec())

    def made(self, described: PlanSpec, problem: str = "") -> Api:
        return Api(
            self.worker,
            described.api_id,
            described.name,
            Places(described),
            listen_end(described.route),
            described.listen_path.encode(),
            canonical,
            request_editor(canonical),
            problem,
        )

    def bound(self, hook: str) -> Any:
        return None if self.pool is None else Bound(self.pool, hook)

    def hook(self, kind: str, *, session: bool = False, problem: str = "", keys: CustomAuth | None = None) -> Step:
        spec = HookSpec(kind, "mw", 0, session, problem)
        script = self.bound(kind)
        made = RequestHook(self.api, spec, script) if keys is None else AuthHook(self.api, spec, script, keys)
        return WaitStep(made, whole_body=True)

    def response(self, problem: str = "") -> Step:
        """A response hook."""
        spec = HookSpec("response", "mw", 0, False, problem)
        return WaitStep(ResponseHook(self.api, spec, self.bound("response")), whole_body=True)

    def virtual(self, script: Script, *before: Step, response: Iterable[Step] = (), **more: Any) -> None:
        """Serve a virtual endpoint at /v/{id}."""
        self.pool.script = script
        self.pool.calls.clear()
        described = VirtualSpec(**{"function": "v", "entry": 0, "use_session": False, "proxy_on_error": False, **more})
        entry = Endpoint("virtual", b"^/v/([^/]+)", data=Virtual(self.api, described, "/v/{id}", self.bound("virtual")))
        steps = [*before, PathStep("virtual", run_virtual)]
        self.path.plan(*steps, matcher=EndpointMatcher([entry]), response=response)

    def serve(self, script: Script, *kinds: str, **more: Any) -> None:
        """Run these hooks, all with one script."""
        self.pool.script = script
        self.pool.calls.clear()
        steps = [self.hook(kind) for kind in kinds or ("pre",)]
        self.path.plan(*steps, **more)
