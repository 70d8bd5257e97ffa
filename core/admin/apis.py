"""API definitions that are listed, read, added, changed and removed (tyk-core 4.3). Nothing is live before a reload."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import Callable
from typing import Any

from core.admin import api_files, bodies
from core.admin.api_output import complete
from core.admin.context import AdminContext
from core.admin.replies import Refused, Reply, Request, go_json, modified
from core.admin.versions import Link
from core.apidef.compile import Report, compile_definition
from core.apidef.decode import Definition, decode, decode_thoroughly
from core.apidef.global_scripts import of_snapshot
from core.apidef.options import compile_options, from_config
from core.apidef.references import substitute
from core.apidef.specs import PlanSpec

log = logging.getLogger("preforge.admin")

NOT_FOUND = "API not found"
MALFORMED = "Request malformed"
MISMATCH = "Request APIID does not match that in Definition! For Update operations these must match."
IS_OAS = "the supplied API definition is in OAS format, please use the Tyk classic format for this API"
NOT_WRITTEN = "file object creation failed, write error"
SAFE_ID = re.compile(r"[A-Za-z0-9_~][A-Za-z0-9._~-]{0,199}\Z")
BREATH = 16     # definitions that are written out between two looks at other work


async def list_all(context: AdminContext, request: Request) -> Reply:
    parts: list[bytes] = []
    for index, api_id in enumerate(list(context.apis)):
        definition = context.apis.definition(api_id)
        if definition is not None:
            parts.append(go_json(complete(definition))[:-1])
        if index % BREATH == BREATH - 1:
            await asyncio.sleep(0)
    return Reply(200, b"[" + b",".join(parts) + b"]\n")


async def get(context: AdminContext, request: Request) -> Reply:
    definition = context.apis.definition(request.params["api"])
    if definition is None:
        raise Refused(404, NOT_FOUND)
    return Reply(200, complete(definition))


async def add(context: AdminContext, request: Request) -> Reply:
    """POST: a new definition, or another one in place of the one with the same id."""
    link = Link.of(context, request)
    document, definition = _read(context, request)
    api_id = definition.get("api_id", "")
    if not api_id:
        api_id = uuid.uuid4().hex
        document[bodies.spelled(document, "api_id")] = api_id
    if link is not None and link.base == api_id:
        raise Refused(400, f"{api_id} is not a valid Base API version", ["$.api_id: an API is no version of itself"])
    name = _file(context, api_id)
    bounds = _bounds(context)
    await _change(context, lambda: api_files.write(context.config.app_path, name, document, bounds, link, api_id))
    return modified(api_id, "added")


async def change(context: AdminContext, request: Request) -> Reply:
    """PUT: another definition in place of one that is loaded, or lies in its file."""
    api_id = request.params["api"]
    name = _file(context, api_id, NOT_FOUND)
    loaded = context.apis.definition(api_id)
    if loaded is None and not await _change(context, lambda: api_files.exists(context.config.app_path, name, api_id)):
        raise Refused(404, NOT_FOUND)
    document = bodies.document(request.body, 400, MALFORMED)
    if document.get(bodies.spelled(document, "api_id"), "") != api_id:
        raise Refused(400, MISMATCH)
    document, definition = _read(context, request)
    if definition.get("is_oas") or (loaded or {}).get("is_oas"):
        raise Refused(400, IS_OAS)
    bounds = _bounds(context)._replace(files=0)
    await _change(context, lambda: api_files.write(context.config.app_path, name, document, bounds, None, api_id))
    return modified(api_id, "modified")


async def delete(context: AdminContext, request: Request) -> Reply:
    """DELETE: the file goes; the API is served until a reload."""
    api_id = request.params["api"]
    name = _file(context, api_id, NOT_FOUND)
    try:
        removed = await asyncio.to_thread(api_files.remove, context.config.app_path, name, api_id)
    except OSError as error:
        log.error("API %s: %s in %s cannot be removed: %s", api_id, name, context.config.app_path, error.strerror)
        raise Refused(500, "Delete failed") from None
    if not removed:
        known = context.apis.get(api_id) is not None
        raise Refused(500 if known else 404, "Delete failed" if known else NOT_FOUND)
    return modified(api_id, "deleted")


def _file(context: AdminContext, api_id: str, unknown: str = "") -> str:
    """The file of an API: the one that it was loaded from, else one named after it."""
    entry = context.apis.get(api_id)
    if entry is not None:
        return entry.file
    if SAFE_ID.match(api_id):
        return f"{api_id}.json"
    if unknown:
        raise Refused(404, unknown)
    raise Refused(400, "Invalid API ID", ["$.api_id: allowed are a-z, A-Z, 0-9, ., _, -, ~, up to 200 of them"])


def _bounds(context: AdminContext) -> api_files.Bounds:
    options = from_config(context.config, context.environ)
    return api_files.Bounds(options.max_files, options.max_file_bytes)


async def _change(context: AdminContext, action: Callable[[], Any]) -> Any:
    try:
        return await asyncio.to_thread(action)
    except OSError as error:
        log.error("a definition in %s cannot be written: %s", context.config.app_path, error.strerror or error)
        raise Refused(500, NOT_WRITTEN) from None


def _read(context: AdminContext, request: Request) -> tuple[dict[str, Any], Definition]:
    document, definition, _ = checked(context, request.body)
    return document, definition


def checked(context: AdminContext, body: bytes) -> tuple[dict[str, Any], Definition, PlanSpec]:
    """The document in a body, what it means and what it becomes, as the loader will see it; else refused."""
    document = bodies.document(body, 400, MALFORMED)
    definition, findings = decode_thoroughly(body, "body")
    if definition is None:
        raise Refused(400, MALFORMED, bodies.details(findings))
    config = context.config
    text, findings = substitute(body, "body", context.environ, config.secrets)
    filled = None if findings else decode(text, "body")[0]
    if filled is not None:
        options = compile_options(config)
        added = of_snapshot(context.apis.snapshot, options, Report("tyk.conf"))
        spec, findings = compile_definition(filled, "body", options, added=added)
        if spec is not None:
            return document, definition, spec
    wrong = bodies.details(findings)
    reason = ", ".join(line.partition(": ")[2] for line in wrong)
    raise Refused(400, f"Validation of API Definition failed. Reason: {reason}.", wrong)
