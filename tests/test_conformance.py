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
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORPUS = Path(os.environ.get("PREFORGE_CONFORMANCE") or ROOT.parent / "shared" / "conformance")
DIFFERENCES = ROOT / "tests" / "conformance_differences.toml"

# "group::case" patterns; a group alone means all of its cases.
SCOPE = (
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
    "gateway_reload::definition-file-added",
    "gateway_reload::broken-definition-file",
    "ignore_endpoint_case::listen-path-case",
    "timeouts_breakers::hard-timeout*",
)

pytestmark = pytest.mark.skipif(
    not (CORPUS / "run.py").is_file(), reason=f"no conformance corpus in {CORPUS} (set PREFORGE_CONFORMANCE)"
)


def in_scope(name: str) -> bool:
    """Whether a "group::case" is in SCOPE."""
    return any(fnmatch.fnmatchcase(name, p if "::" in p else f"{p}::*") for p in SCOPE)


def listed() -> dict[str, str]:
    """Case -> why, from the list of differences; every entry must say what is answered instead, and why."""
    entries = tomllib.loads(DIFFERENCES.read_text(encoding="utf-8"))["difference"]
    for entry in entries:
        assert set(entry) == {"case", "answer", "why"}, entry
        assert all(isinstance(v, str) and v.strip() for v in entry.values()), entry
    names = [entry["case"] for entry in entries]
    assert len(set(names)) == len(names), "a case is listed twice"
    return {entry["case"]: entry["why"] for entry in entries}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Run the groups that hold cases in scope; "group::case" -> the runner's record."""
    files = sorted({str(CORPUS / "scenarios" / f"{p.partition('::')[0]}.json") for p in SCOPE})
    output = tmp_path_factory.mktemp("conformance") / "report.json"
    gateway = f"{sys.executable} -m core start --conf {{conf}}"
    command = [sys.executable, str(CORPUS / "run.py"), "--gateway", gateway, "--set", "storage=embedded"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [*command, "--json", str(output), *files], env=environ, capture_output=True, text=True, check=False, timeout=240
    )
    assert output.exists(), f"the runner wrote no report:\n{ran.stdout[-4000:]}\n{ran.stderr[-4000:]}"
    cases = json.loads(output.read_text(encoding="utf-8"))["cases"]
    return {f"{case['file']}::{case['case']}": case for case in cases}


@pytest.mark.timeout(300)
def test_cases_in_scope_pass_or_are_listed(report: dict[str, dict[str, Any]]) -> None:
    """Any other difference is a defect of ours, or has to be listed with its reason."""
    known = listed()
    wrong = {
        name: case["diffs"] or case["reason"]
        for name, case in report.items()
        if in_scope(name) and case["status"] != "passed" and name not in known
    }
    assert not wrong, json.dumps(wrong, indent=1)


@pytest.mark.timeout(300)
def test_listed_differences_still_differ(report: dict[str, dict[str, Any]]) -> None:
    """An entry whose case passes, or does not exist, is stale."""
    stale = {name: report.get(name, {}).get("status", "not run") for name in listed()}
    assert {name: status for name, status in stale.items() if status != "failed"} == {}


@pytest.mark.timeout(300)
def test_every_pattern_of_the_scope_matches(report: dict[str, dict[str, Any]]) -> None:
    """A group that was renamed must not leave the scope in silence."""
    for pattern in SCOPE:
        whole = pattern if "::" in pattern else f"{pattern}::*"
        assert fnmatch.filter(report, whole), pattern
