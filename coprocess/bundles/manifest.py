"""Reading manifest.json (tyk-plugins 7.1). Names of members are taken without regard to case, as Go takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from coprocess.bundles.names import safe_name
from coprocess.bundles.settings import BundleError

NAME = "manifest.json"
MAX_BYTES = 1024 * 1024
LISTS = ("pre", "post", "post_key_auth", "response")
_HOOK: Mapping[str, Any] = {
    "disabled": bool,
    "name": str,
    "path": str,
    "code": str,
    "require_session": bool,
    "raw_body_only": bool,
}
_SECTION: Mapping[str, Any] = {
    **{name: [_HOOK] for name in LISTS},
    "auth_check": _HOOK,
    "traffic_logs": _HOOK,
    "driver": str,
    "id_extractor": {"disabled": bool, "extract_from": str, "extract_with": str, "extractor_config": dict},
}
_MANIFEST: Mapping[str, Any] = {
    "file_list": [str],
    "custom_middleware": _SECTION,
    "checksum": str,
    "checksum_sha256": str,
    "signature": str,
}
_KINDS = {str: "a string", bool: "true or false", dict: "an object", list: "a list"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """``files``: safe names in the order of ``file_list``; ``custom_middleware``: known members only."""

    files: tuple[str, ...]
    custom_middleware: dict[str, Any]
    checksum: str
    checksum_sha256: str
    signature: str

    @property
    def driver(self) -> str:
        found: str = self.custom_middleware.get("driver", "")
        return found

    @property
    def problem(self) -> str:
        """Why the hooks cannot run, as far as the manifest says; "" if they can (tyk-plugins 5.2)."""
        if self.driver != "python" or "middleware.py" in self.files or len(self.files) == 1:
            return ""
        return f"$.file_list: {len(self.files)} files without middleware.py; Python hooks need it, or one file alone"


def decode(raw: bytes, where: str, max_files: int) -> Manifest:
    """Decode a manifest. ``where`` names it in messages. Raises BundleError with the path of the wrong field."""
    if len(raw) > MAX_BYTES:
        raise BundleError(f"{where}: larger than {MAX_BYTES} bytes")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BundleError(f"{where}: not valid JSON: {error}") from None
    value = _walk(document, _MANIFEST, where, "$")
    listed: list[str] = value.get("file_list", [])
    if len(listed) > max_files:
        raise BundleError(f"{where}: $.file_list: {len(listed)} files, at most {max_files} are allowed")
    files = [_listed(name, f"{where}: $.file_list[{index}]") for index, name in enumerate(listed)]
    seen: set[str] = set()
    for index, name in enumerate(files):
        if name in seen:
            raise BundleError(f"{where}: $.file_list[{index}]: {name!r} stands there twice")
        seen.add(name)
    if "custom_middleware" not in value:
        raise BundleError(f"{where}: $.custom_middleware: missing; expected the section with the bundle's hooks")
    return Manifest(
        tuple(files),
        value["custom_middleware"],
        value.get("checksum", ""),
        value.get("checksum_sha256", ""),
        value.get("signature", ""),
    )


def _listed(name: str, place: str) -> str:
    try:
        safe = safe_name(name)
    except ValueError as error:
        raise BundleError(f"{place}: {name!r:.80}: {error}") from None
    if safe == NAME:
        raise BundleError(f"{place}: the manifest cannot list itself")
    return safe


def _walk(value: Any, shape: Any, where: str, path: str) -> Any:
    if isinstance(shape, Mapping):
        _expect(value, dict, where, path)
        found: dict[str, Any] = {}
        for key, one in value.items():
            name = key if key in shape else key.lower()
            if name not in shape or one is None:
                continue
            if name in found:
                raise BundleError(f"{where}: {path}.{name}: stands there twice")
            found[name] = _walk(one, shape[name], where, f"{path}.{name}")
        return found
    if isinstance(shape, list):
        _expect(value, list, where, path)
        return [_walk(one, shape[0], where, f"{path}[{index}]") for index, one in enumerate(value)]
    _expect(value, shape, where, path)
    return value


def _expect(value: Any, kind: type, where: str, path: str) -> None:
    if type(value) is not kind:
        got = "null" if value is None else "a number" if type(value) in (int, float) else _KINDS[type(value)]
        raise BundleError(f"{where}: {path}: expected {_KINDS[kind]}, got {got}")
