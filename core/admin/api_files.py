"""The files of app_path, changed under its lock. All functions block, and raise OSError having changed nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
        if limit and before is None and directory.count() >= limit:
            raise Refused(400, f"app_path holds {limit} definitions already, more are not loaded")
        names = {path.name for path in Path(app_path).glob("*.json")} if name.endswith("-oas.json") else set()
        if is_companion(name, text, names):
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


def exists(app_path: str, name: str) -> bool:
    with locked(app_path) as directory:
        return directory.read(name) is not None


def remove(app_path: str, name: str) -> bool:
    """Remove a definition with its companion; False if there is no such file."""
    with locked(app_path) as directory:
        companion = name.removesuffix(".json") + COMPANION
        raw = directory.read(companion)
        if raw is not None and is_companion(companion, raw, {name}):
            directory.remove(companion)
        return directory.remove(name)
