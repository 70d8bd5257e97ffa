"""The recorded behaviour of Tyk, where the corpus with its runner is at hand.

The corpus lies in the folder named by PREFORGE_CONFORMANCE, else in ../shared/conformance beside the repository.
Cases in scope must pass, except those that conformance_differences.toml lists; a listed case that passes fails too.
"""

from __future__ import annotations

import fnmatch
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.store.embedded import find_program

ROOT = Path(__file__).resolve().parents[1]
CORPUS = Path(os.environ.get("PREFORGE_CONFORMANCE") or ROOT.parent / "shared" / "conformance")
DIFFERENCES = ROOT / "tests" / "conformance_differences.toml"

# "group::case" patterns; a group alone means all of its cases. What needs no store runs once, the rest on both stores.
PLAIN = (
    "proxy",
    "proxy_raw_paths",
    "routing",
    "routing_plain",
    "timeouts_default",
    "health_endpoint_name",
    "error_templates::xml-with-charset",
    "error_templates::per-status-*",
    "error_templates::proxy-error-xml",
    "error_templates::not-found-uses-no-template",
    "error_templates::generator-header",
    "grpc_down",
    "ignore_endpoint_case",
    "ip_lists",
    "js_disabled",
    "js_library",
    "js_no_blobs",
    "js_pre",
    "paths_transforms::global-*",
    "paths_transforms::headers-*",
    "paths_transforms::injector-*",
    "paths_transforms::response-headers*",
    "timeouts_breakers",
    "url_rewrite",
)
STORED = (
    "auth_token",
    "cache",
    "error_overrides",
    "event_scripts",
    "event_system",
    "event_webhooks",
    "gateway_api",
    "gateway_reload",
    "grpc_off",
    "grpc_plugins",
    "health_checks",
    "js_auth",
    "js_helpers",
    "js_post",
    "js_post_key_auth",
    "js_virtual",
    "key_api",
    "key_api_hash_function",
    "key_api_hashed",
    "key_api_strict",
    "paths_lists",
    "policies",
    "rate_limit_quota",
    "rate_limit_rolling",
    "versioning",
    "versioning_header",
)
SCOPE = {"embedded": PLAIN + STORED, "redis": STORED}
PARTS = 2       # processes for each kind of store

pytestmark = pytest.mark.skipif(
    not (CORPUS / "run.py").is_file(), reason=f"no conformance corpus in {CORPUS} (set PREFORGE_CONFORMANCE)"
)


def in_scope(name: str, scope: tuple[str, ...]) -> bool:
    """Whether a "group::case" is in a scope."""
    return any(fnmatch.fnmatchcase(name, p if "::" in p else f"{p}::*") for p in scope)


def listed() -> dict[str, str]:
    """Case -> why, from the list of differences; every entry must say what is answered instead, and why."""
    entries = tomllib.loads(DIFFERENCES.read_text(encoding="utf-8"))["difference"]
    for entry in entries:
        assert set(entry) == {"case", "answer", "why"}, entry
        assert all(isinstance(v, str) and v.strip() for v in entry.values()), entry
    names = [entry["case"] for entry in entries]
    assert len(set(names)) == len(names), "a case is listed twice"
    return {entry["case"]: entry["why"] for entry in entries}


@dataclass(slots=True)
class Report:
    """What the runner recorded on one kind of store: "group::case" -> its record."""

    scope: tuple[str, ...]
    cases: dict[str, dict[str, Any]]


@dataclass(slots=True)
class Run:
    """A process of the runner with some of the groups."""

    process: subprocess.Popen[str]
    report: Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Run]]]:
    """The groups that hold cases in scope, by kind of store. They mostly wait, so several processes run at the same time."""
    started = {store: [start(store, part, tmp_path_factory) for part in range(PARTS)] for store in SCOPE}
    yield started
    for run in (run for many in started.values() for run in many):
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def start(store: str, part: int, tmp_path_factory: pytest.TempPathFactory) -> Run:
    files = sorted({str(CORPUS / "scenarios" / f"{p.partition('::')[0]}.json") for p in SCOPE[store]})
    folder = tmp_path_factory.mktemp("conformance")
    gateway = f"{sys.executable} -m core start --conf {{conf}}"
    storage = ["--redis", "spawn"] if store == "redis" else ["--set", "storage=embedded"]
    command = [sys.executable, str(CORPUS / "run.py"), "--gateway", gateway, *storage, "--json", str(folder / "report.json")]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "REDIS_SERVER": find_program("")}
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [*command, *files[part::PARTS]], env=environ, stdout=output, stderr=subprocess.STDOUT, text=True
        )
    return Run(process, folder / "report.json")


@pytest.fixture(scope="module", params=sorted(SCOPE))
def report(request: pytest.FixtureRequest, runs: dict[str, list[Run]]) -> Report:
    """What the runner recorded on one kind of store."""
    cases: dict[str, dict[str, Any]] = {}
    for run in runs[request.param]:
        run.process.wait(timeout=400)
        said = run.report.with_name("output").read_text(encoding="utf-8")
        assert run.report.exists(), f"the runner wrote no report:\n{said[-4000:]}"
        for case in json.loads(run.report.read_text(encoding="utf-8"))["cases"]:
            cases[f"{case['file']}::{case['case']}"] = case
    return Report(SCOPE[request.param], cases)


@pytest.mark.timeout(420)
def test_cases_in_scope_pass_or_are_listed(report: Report) -> None:
    """Any other difference is a defect of ours, or has to be listed with its reason."""
    known = listed()
    wrong = {
        name: case["diffs"] or case["reason"]
        for name, case in report.cases.items()
        if in_scope(name, report.scope) and case["status"] != "passed" and name not in known
    }
    assert not wrong, json.dumps(wrong, indent=1)


@pytest.mark.timeout(420)
def test_listed_differences_still_differ(report: Report) -> None:
    """An entry whose case passes, or does not exist, is stale."""
    stale = {name: report.cases.get(name, {}).get("status", "not run") for name in listed() if in_scope(name, report.scope)}
    assert {name: status for name, status in stale.items() if status != "failed"} == {}


def test_listed_differences_are_in_scope() -> None:
    """An entry that no run looks at says nothing."""
    assert [name for name in listed() if not in_scope(name, SCOPE["embedded"])] == []


@pytest.mark.timeout(420)
def test_every_pattern_of_the_scope_matches(report: Report) -> None:
    """A group that was renamed must not leave the scope in silence."""
    for pattern in report.scope:
        whole = pattern if "::" in pattern else f"{pattern}::*"
        assert fnmatch.filter(report.cases, whole), pattern
