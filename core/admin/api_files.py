"""The files of app_path, changed under its lock. All functions block, and raise OSError having changed nothing."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from core.admin.bodies import spelled
from core.admin.files import Directory, indented, locked
from core.admin.replies import Refused
from core.admin.versions import Link
from core.apidef.read import is_companion

COMPANION = "-oas.json"


class Bounds(NamedTuple):
    """What the loader takes: files in the directory (0: not checked) and bytes of one."""

    files: int
    size: int


def write(app_path: str, name: str, document: dict[str, Any], bounds: Bounds, link: Link | None, api_id: str) -> None:
    """Write a definition. link: the API that it is a version of."""
    text = _fitting(document, bounds)
    with locked(app_path) as directory:
        before = directory.read(name)
        names = directory.names()
        if bounds.files and before is None and len(names) >= bounds.files:
            raise Refused(400, f"app_path holds {bounds.files} definitions already, more are not loaded")
        holder = _holder(before, api_id)
        if holder != api_id:
            raise Refused(400, "Invalid API ID", [f"$.api_id: {name} holds another API already, {holder!r:.80}"])
        if is_companion(name, text, set(names)):
            raise Refused(400, "Invalid API ID", [f"$.api_id: {name} would count as a part of another definition"])
        if link is None:
            directory.write(name, text)
            return
        base = _linked(directory, link, api_id, bounds)
        directory.write(name, text)
        try:
            directory.write(link.file, base)
        except OSError:
            if before is None:
                directory.remove(name)
            else:
                directory.write(name, before)
            raise


def _fitting(document: dict[str, Any], bounds: Bounds) -> bytes:
    """The text of a file that the loader will take."""
    text = indented(document)
    if len(text) > bounds.size:
        problem = f"$: the file would have {len(text)} bytes, at most {bounds.size} are loaded (preforge.limits)"
        raise Refused(400, "Request malformed", [problem])
    return text


def _linked(directory: Directory, link: Link, api_id: str, bounds: Bounds) -> bytes:
    """The text of the base API with one more version."""
    raw = directory.read(link.file)
    try:
        document = json.loads(raw or b"")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Refused(400, f"{link.base} is not a valid Base API version")
    link.add_to(document, api_id)
    return _fitting(document, bounds)


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
