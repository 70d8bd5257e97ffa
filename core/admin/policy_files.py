"""Where policies lie: a directory with one file each, or one file with all of them (tyk-core 4.6, 5.7).

The functions block and raise OSError, and then have changed nothing.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.admin.bodies import spelled
from core.admin.files import Directory, indented, locked
from core.admin.replies import Refused
from core.sessions.policy_files import MAX_BYTES, object_id


@dataclass(frozen=True, slots=True)
class Place:
    """path: the directory; record: the name of the file with all policies, "" with one file each."""

    path: Path
    record: str = ""


def place(options: Any) -> Place | None:
    """Where tyk.conf puts policies; None if it does not say."""
    if options.policy_path:
        return Place(Path(options.policy_path))
    if options.policy_record_name:
        record = Path(options.policy_record_name)
        return Place(record.parent, record.name)
    return None


def write(where: Place, policy_id: str, document: dict[str, Any]) -> None:
    """Add a policy, or put another in its place."""
    with locked(where.path) as directory:
        if not where.record:
            directory.write(_file(directory, policy_id) or f"{policy_id}.json", _fitting(document))
            return
        record = _record(directory, where.record)
        directory.write(where.record, _fitting({**record, policy_id: document}))


def _fitting(document: dict[str, Any]) -> bytes:
    """The text of a file that will be loaded."""
    text = indented(document)
    if len(text) > MAX_BYTES:
        problem = f"$: the file would have {len(text)} bytes, at most {MAX_BYTES} are read"
        raise Refused(400, "Request malformed", [problem])
    return text


def remove(where: Place, policy_id: str) -> bool:
    """Remove a policy; False if it is not there."""
    with locked(where.path) as directory:
        if not where.record:
            name = _file(directory, policy_id)
            return name is not None and directory.remove(name)
        record = _record(directory, where.record)
        if record.pop(policy_id, None) is None:
            return False
        directory.write(where.record, indented(record))
        return True


def _record(directory: Directory, name: str) -> dict[str, Any]:
    """All policies of the one file. It is never written anew from a text that could not be read."""
    raw = directory.read(name)
    if raw is None:
        return {}
    try:
        value = json.loads(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refused(500, f"{directory.path / name} is not a JSON object; it has to be repaired first")
    return value


def _file(directory: Directory, policy_id: str) -> str | None:
    """The file of a policy: named after it, else the one that has its id. Refused if the name is another policy's."""
    own = f"{policy_id}.json"
    raw = directory.read(own)
    if raw is not None:
        held = _held(raw) or policy_id
        if held != policy_id:
            raise Refused(400, "Invalid Policy ID", [f"$.id: {own} holds another policy already, {held!r:.80}"])
        return own
    for name in directory.names():
        with contextlib.suppress(OSError):
            if _held(directory.read(name) or b"") == policy_id:
                return name
    return None


def _held(raw: bytes) -> str:
    """The id of the policy in a file, "" if it does not say."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(value, dict):
        return ""
    held = value.get(spelled(value, "id")) or object_id(value.get("_id"))
    return held if isinstance(held, str) else ""
