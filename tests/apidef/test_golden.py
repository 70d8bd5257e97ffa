"""Definitions and the plans they become, one file each under golden/.

A file holds the definition, a line of dashes, and the expected plan or findings. To add a case, write a
file with the first two parts; this writes (or rewrites) the expectations of all files:

    PREFORGE_REGENERATE=1 python -m pytest tests/apidef/test_golden.py
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from core.apidef.compile import plan_specs
from core.apidef.options import CompileOptions, ReadOptions
from core.apidef.read import read_directory
from core.apidef.specs import PlanSpec

GOLDEN = sorted(Path(__file__).with_name("golden").glob("*.txt"))
LINE = "-" * 70 + "\n"
OPTIONS = CompileOptions(enable_custom_domains=True)


def render(spec: PlanSpec) -> str:
    """Return one line per field that has a value."""
    lines: list[str] = []
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if isinstance(value, tuple):
            lines.extend(f"{field.name}: {item}" for item in value)
        elif value not in ("", None):
            lines.append(f"{field.name}: {value}")
    return "\n".join(lines) + "\n"


def actual(text: str, folder: Path) -> str:
    """Read the definition from a directory of its own; return plans and findings as text."""
    (folder / "api.json").write_text(text)
    result = read_directory(str(folder), ReadOptions(compile=OPTIONS, environ={}), None)
    plans = "".join(render(spec) for spec in plan_specs(result.snapshot, OPTIONS))
    return plans + "".join(finding.render() + "\n" for finding in result.findings)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_definition_becomes_exactly_this_plan(path: Path, tmp_path: Path) -> None:
    definition, line, expected = path.read_text().partition(LINE)
    assert line, f"{path.name} has no line of dashes"
    got = actual(definition, tmp_path)
    assert got
    if os.environ.get("PREFORGE_REGENERATE"):
        path.write_text(definition + LINE + got)
    else:
        assert got == expected


def test_there_are_golden_files() -> None:
    assert len(GOLDEN) >= 10
