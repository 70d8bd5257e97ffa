"""The files of app_path, changed under its lock. All functions block, and raise OSError having changed nothing."""

from __future__ import annotations

import json
from typing import Any

from core.admin.bodies import spelled
from core.admin.files import Directory, indented, locked
from core.admin.replies import Refused
from core.admin.versions import Link
from core.apidef.options import MAX_FILES
from core.apidef.read import is_companion

COMPANION = "-oas.json"

__all__ = ["MAX_FILES", "exists", "remove", "write"]


def write(app_path: str, name: str, document: dict[str, Any], limit: int, link: Link | None, api_id: str) -> None:
    """Write a definition. limit: files that the directory may hold, 0 for any; link: the API that it is a version of."""
    text = indented(document)
    with locked(app_path) as directory:
        before = directory.read(name)
        names = directory.names()
        if limit and before is None and len(names) >= limit:
            raise Refused(400, f"app_path holds {limit} definitions already, more are not loaded")
        holder = _holder(before, api_id)
        if holder != api_id:
            raise Refused(400, "Invalid API ID", [f"$.api_id: {name} holds another API already, {holder!r:.80}"])
        if is_companion(name, text, set(names)):
            raise Refused(400, "Invalid API ID", [f"$.api_id: {name} would count as a part of another definition"])
        if link is None:
            directory.write(name, text)
            return
        base = _linked(directory, link, api_id)
        directory.write(name, text)
        try:
            directory.write(link.file, base)
        except OSError:
            if before is None:
                directory.remove(name)
            else:
                directory.write(name, before)
            raise


def _linked(directory: Directory, link: Link, api_id: str) -> bytes:
    """The text of the base API with one more version."""
    raw = directory.read(link.file)
    try:
        document = json.loads(raw or b"")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Refused(400, f"{link.base} is not a valid Base API version")
    link.add_to(document, api_id)
    return indented(document)


def _holder(raw: bytes | None, api_id: str) -> str:
    """The API that a file defines; `api_id` if it is not there, cannot be read or takes its id from elsewhere."""
    try:
        document = json.loads(raw or b"")
        held = document[spelled(document, "api_id")]
    except (ValueError, KeyError, TypeError, RecursionError):
        return api_id
    return held if isinstance(held, str) and held and "://" not in held else api_id


def exists(app_path: str, name: str, api_id: str) -> bool:
    """Whether a file is there and does not define another API."""
    with locked(app_path) as directory:
        raw = directory.read(name)
        return raw is not None and _holder(raw, api_id) == api_id


def remove(app_path: str, name: str, api_id: str) -> bool:
    """Remove a definition with its companion; False if there is no such file, or it defines another API."""
    with locked(app_path) as directory:
        if _holder(directory.read(name), api_id) != api_id:
            return False
        companion = name.removesuffix(".json") + COMPANION
        raw = directory.read(companion)
        if raw is not None and is_companion(companion, raw, {name}):
            directory.remove(companion)
        return directory.remove(name)
