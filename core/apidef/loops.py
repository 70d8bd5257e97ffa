"""Resolving ``tyk://`` targets among the APIs of one snapshot (tyk-core 3.8)."""

from __future__ import annotations

import dataclasses
import re

from core.apidef.rewrites import SELF, RewriteSpec
from core.apidef.specs import PlanSpec
from core.apidef.versions import unsupported


def slug(name: str) -> str:
    """Return the form in which ``tyk://`` compares names: no " #category", other characters as "-"."""
    return re.sub(r"[^0-9A-Za-z]", "-", name.partition(" #")[0]).lower()


def resolve_loops(specs: list[PlanSpec]) -> list[PlanSpec]:
    """Turn each ``loop_target`` into an api_id; a missing one, or a circle, refuses every request."""
    if not any(spec.loop_target or spec.versions for spec in specs):
        return specs
    ids = {spec.api_id: spec for spec in specs if spec.api_id}
    names = {slug(spec.name): spec for spec in specs if spec.name}
    next_of: dict[str, str] = {}
    found: dict[str, PlanSpec] = {}
    for spec in specs:
        if not spec.loop_target:
            continue
        target = ids.get(spec.loop_target) or names.get(slug(spec.loop_target))
        if target is not None and target.api_id:
            found[spec.file] = target
            next_of[spec.file] = ids[target.api_id].file
    circles = _circles(next_of)
    result = []
    for spec in specs:
        changed = spec
        if spec.loop_target:
            target = found.get(spec.file)
            if target is None:
                reason = f"no API has the id or name {spec.loop_target!r:.80}"
                changed = _refused(spec, reason)
            elif spec.file in circles:
                changed = _refused(spec, "the tyk:// targets lead in a circle")
            else:
                changed = dataclasses.replace(spec, loop_target=target.api_id)
        if spec.versions:
            inner = tuple((key, _resolved(version, ids, names)) for key, version in spec.versions)
            changed = dataclasses.replace(changed, versions=inner)
        result.append(changed)
    return result


def rewrite_loops(spec: PlanSpec) -> set[str]:
    """Ids and names that the url_rewrites of an API lead to, as they are written; without "self"."""
    every = (spec, *(version for _, version in spec.versions))
    return {
        destination.loop
        for version in every
        for entry in version.endpoints
        if isinstance(entry.data, RewriteSpec)
        for destination in entry.data.destinations
        if destination.loop not in ("", SELF)
    }


def _resolved(version: PlanSpec, ids: dict[str, PlanSpec], names: dict[str, PlanSpec]) -> PlanSpec:
    """The version of an API with its loop; circles among versions end at the limit of loops per request."""
    if not version.loop_target:
        return version
    target = ids.get(version.loop_target) or names.get(slug(version.loop_target))
    if target is None or not target.api_id:
        return _refused(version, f"no API has the id or name {version.loop_target!r:.80}")
    return dataclasses.replace(version, loop_target=target.api_id)


def _refused(spec: PlanSpec, reason: str) -> PlanSpec:
    return dataclasses.replace(spec, loop_target="", refuse=(*spec.refuse, unsupported(reason)))


def _circles(next_of: dict[str, str]) -> set[str]:
    """Return the files whose chain of targets never ends."""
    ends: dict[str, bool] = {}
    for start in next_of:
        chain: list[str] = []
        seen: set[str] = set()
        at: str | None = start
        while at is not None and at not in seen and at not in ends:
            chain.append(at)
            seen.add(at)
            at = next_of.get(at)
        good = at is None or ends.get(at, False)
        ends.update(dict.fromkeys(chain, good))
    return {file for file, good in ends.items() if not good}
