"""From the sections of manifests to the one of the API: paths joined, several bundles merged (tyk-plugins 7.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coprocess.bundles.manifest import LISTS, NAME, Manifest
from coprocess.bundles.names import safe_name
from coprocess.bundles.settings import BundleError

# Drivers whose hooks' paths name files of the bundle; others find their code by themselves (tyk-plugins 5.2).
_PATH_DRIVERS = frozenset(("", "otto", "javascript"))


@dataclass(frozen=True, slots=True)
class Part:
    """One bundle of those that an API names, and the directory that holds it."""

    name: str
    directory: str
    manifest: Manifest


def located(part: Part) -> dict[str, Any]:
    """Return the section of one bundle with its hooks' paths joined to its directory.

    Raises BundleError for a script that the manifest does not list: nothing else of a bundle is verified.
    """
    section = dict(part.manifest.custom_middleware)
    where = f"{part.name}: {NAME}: $.custom_middleware"
    strict = section.get("driver", "") in _PATH_DRIVERS
    for name in LISTS:
        if name in section:
            section[name] = [
                _hook(hook, part, f"{where}.{name}[{index}]", strict=strict) for index, hook in enumerate(section[name])
            ]
    for name in ("auth_check", "traffic_logs"):
        if name in section:
            section[name] = _hook(section[name], part, f"{where}.{name}", strict=strict and name == "auth_check")
    return section


def _hook(hook: dict[str, Any], part: Part, place: str, *, strict: bool) -> dict[str, Any]:
    given = hook.get("path", "")
    if not given:
        return hook
    try:
        safe = safe_name(given)
    except ValueError as error:
        if strict:
            raise BundleError(f"{place}.path: {given!r:.80}: {error}") from None
        return {**hook, "path": ""}
    if safe not in part.manifest.files:
        if strict and not hook.get("disabled") and not hook.get("code"):
            raise BundleError(f"{place}.path: {given!r:.80} is not in $.file_list, so it was not verified")
        return {**hook, "path": ""}
    return {**hook, "path": f"{part.directory}/{safe}"}


def merged(parts: Sequence[Part]) -> dict[str, Any]:
    """Return the section of several bundles: hooks in the order of the bundles.

    One driver, one auth_check; the first id_extractor and the first traffic_logs count. Python hooks come from one bundle: in
    one interpreter, files of the same name would take each other's place. Raises BundleError.
    """
    result: dict[str, Any] = {}
    driver, driver_of, auth_of = "", "", ""
    for part in parts:
        section = located(part)
        own = section.get("driver", "")
        if driver_of and own != driver:
            message = f"driver {own!r:.40} in {part.name}, but {driver!r:.40} in {driver_of}"
            raise BundleError(f"{part.name}: {NAME}: $.custom_middleware.driver: {message}; expected one driver")
        if own == "python":
            place = f"{part.name}: {NAME}: $.custom_middleware.driver"
            raise BundleError(f"{place}: one of {len(parts)} bundles; expected one bundle where the driver is python")
        driver, driver_of = own, driver_of or part.name
        for name in LISTS:
            if name in section:
                result[name] = result.get(name, []) + section[name]
        if section.get("auth_check", {}).get("name"):
            if auth_of:
                place = f"{part.name}: {NAME}: $.custom_middleware.auth_check"
                raise BundleError(f"{place}: {auth_of} defines one too; expected one bundle that does")
            auth_of, result["auth_check"] = part.name, section["auth_check"]
        if section.get("traffic_logs", {}).get("name"):
            result.setdefault("traffic_logs", section["traffic_logs"])
        if section.get("id_extractor", {}).get("extract_from"):
            result.setdefault("id_extractor", section["id_extractor"])
    result["driver"] = driver
    return result
