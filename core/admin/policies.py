"""Policies that are listed, read, added, changed and removed (tyk-core 4.6). They count from the next reload on."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from core.admin import bodies, policy_files
from core.admin.context import AdminContext
from core.admin.replies import Refused, Reply, Request, modified, plain
from core.findings import Finding
from core.sessions.policies import PolicyData, checked
from core.sessions.policy_files import SAFE_ID, object_id

log = logging.getLogger("preforge.admin")

NOT_FOUND = "Policy not found"
MALFORMED = "Request malformed"
MISMATCH = "Request ID does not match that in policy! For Update operations these must match."
NO_ID = "Unable to create policy without id."
BAD_ID = "Invalid Policy ID: Allowed characters: a-z, A-Z, 0-9, ., _, -, ~"
SERVICE = "Due to enabled service policy source, please use the Dashboard API"
NO_PLACE = "Policies have no place: set policies.policy_path or policies.policy_record_name"
NOT_WRITTEN = "Failed to create file!"
MAX_ID = 200


async def list_all(context: AdminContext, request: Request) -> Reply:
    return Reply(200, [_output(policy) for policy in context.policies.all()])


async def get(context: AdminContext, request: Request) -> Reply:
    for policy in context.policies.all():
        if policy["id"] == request.params["policy"]:
            return Reply(200, _output(policy))
    raise Refused(404, NOT_FOUND)


def _output(policy: PolicyData) -> dict[str, Any]:
    found: dict[str, Any] = plain(policy)
    found["_id"] = object_id(policy["_id"])
    return found


async def add(context: AdminContext, request: Request) -> Reply:
    return await _write(context, request, "added")


async def change(context: AdminContext, request: Request) -> Reply:
    return await _write(context, request, "modified")


async def change_none(context: AdminContext, request: Request) -> Reply:
    raise Refused(400, "Must specify an apiID to update")


async def delete_none(context: AdminContext, request: Request) -> Reply:
    raise Refused(400, "Must specify an apiID to delete")


async def _write(context: AdminContext, request: Request, action: str) -> Reply:
    place = _place(context)
    document = bodies.document(request.body, 400, MALFORMED)
    findings: list[Finding] = []
    policy = checked(document, "body", "$", findings)
    if policy is None:
        # The loader would not take it.
        raise Refused(400, MALFORMED, bodies.details(findings))
    policy_id = policy["id"] or object_id(policy["_id"])
    if action == "modified" and policy["id"] and policy["id"] != request.params["policy"]:
        raise Refused(400, MISMATCH)
    if action == "modified":
        policy_id = request.params["policy"]
    if not policy_id:
        raise Refused(400, NO_ID)
    _check_id(policy_id)
    document[bodies.spelled(document, "id")] = policy_id
    try:
        await asyncio.to_thread(policy_files.write, place, policy_id, document)
    except OSError as error:
        log.error("policy %s cannot be written in %s: %s", policy_id, place.path, error.strerror or error)
        raise Refused(500, NOT_WRITTEN) from None
    return modified(policy_id, action)


async def delete(context: AdminContext, request: Request) -> Reply:
    place, policy_id = _place(context), request.params["policy"]
    _check_id(policy_id)
    try:
        removed = await asyncio.to_thread(policy_files.remove, place, policy_id)
    except OSError as error:
        log.error("policy %s in %s cannot be removed: %s", policy_id, place.path, error.strerror or error)
        removed = False
    if not removed:
        raise Refused(500, "Delete failed")
    return modified(policy_id, "deleted")


def _place(context: AdminContext) -> policy_files.Place:
    options = context.config.policies
    if options.policy_source in ("service", "rpc"):
        raise Refused(500, SERVICE)
    place = policy_files.place(options)
    if place is None:
        raise Refused(500, NO_PLACE)
    return place


def _check_id(policy_id: str) -> None:
    """An id is the name of a file, so that its characters are checked whatever allow_unsafe_policy_ids says."""
    if not SAFE_ID.match(policy_id) or policy_id.startswith(".") or len(policy_id) > MAX_ID:
        raise Refused(400, BAD_ID)
