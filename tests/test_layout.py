"""The shape of the repository: import direction, file sizes, and what must not stand in any file."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"accel", "jsvm_pool", "coprocess", "core", "bench"}
MAY_IMPORT = {
    "accel": {"accel"},
    "jsvm_pool": {"jsvm_pool", "accel"},
    "coprocess": {"coprocess", "accel"},
    "core": {"core", "jsvm_pool", "coprocess", "accel"},
    "bench": PACKAGES,
}
TOP_LEVEL = (
    "pyproject.toml", "setup.py", "README.md", "CHANGELOG.md", "LICENSE", "Makefile", ".gitignore",
    "core", "accel", "jsvm_pool", "coprocess", "bench", "tests", "tyk.conf.example",
)  # fmt: skip
MOST_LINES = 600
# path -> why it may be longer than MOST_LINES
LONG: dict[str, str] = {}
CIMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\b|c?import\s+([\w.]+)|include\s+\"([\w./]+)\")", re.MULTILINE)
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
REGISTRY = re.compile(r"(?:files\.pythonhosted\.org|pypi\.org/simple|--(?:extra-)?index-url\s|registry\.npmjs\.org)")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|home/\w+|Users/\w+)/")


def tracked() -> list[Path]:
    """Files under version control; without git, every file that no tool made."""
    if shutil.which("git"):
        ran = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
        if ran.returncode == 0 and ran.stdout:
            return [p for name in ran.stdout.decode().split("\0") if name and (p := ROOT / name).is_file()]
    made = re.compile(r"(?:^|/)(?:\.(?!ci/)[^/]*|build|__pycache__|[^/]*\.egg-info)/|\.(?:so|c|pyc|o)$")
    return [p for p in ROOT.rglob("*") if p.is_file() and not made.search(p.relative_to(ROOT).as_posix())]


FILES = tracked()


def of_kind(*suffixes: str) -> list[Path]:
    """The files with one of these suffixes."""
    return [p for p in FILES if p.suffix in suffixes]


def name_of(path: Path) -> str:
    """The path inside the repository, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Top-level names of the modules that a file imports, at any depth, type checking included."""
    text = path.read_text(encoding="utf-8")
    if path.suffix in {".py", ".pyi"}:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                yield (node.module or "").partition(".")[0]
    else:
        for match in CIMPORT.finditer(text):
            yield (match[1] or match[2] or "").partition(".")[0]


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_imports_go_one_way(package: str) -> None:
    """accel <- jsvm_pool, coprocess <- core <- bench; nothing imports tests."""
    files = [p for p in of_kind(".py", ".pyi", ".pyx", ".pxd", ".pxi") if p.relative_to(ROOT).parts[0] == package]
    assert files, f"{package} is empty"
    wrong = {
        f"{name_of(path)} imports {name}"
        for path in files
        for name in imported(path)
        if name in (PACKAGES | {"tests"}) - MAY_IMPORT[package]
    }
    assert not wrong


def test_import_check_sees_cython_imports(tmp_path: Path) -> None:
    """The check above is worth nothing if it misses a cimport."""
    source = tmp_path / "x.pyx"
    source.write_text("cimport core.a\nfrom bench.b cimport c\nimport tests.d\n  from coprocess import e\n")
    assert list(imported(source)) == ["core", "bench", "tests", "coprocess"]


def test_files_stay_small() -> None:
    """A file over 600 lines needs a reason, and a reason needs such a file."""
    sizes = {name_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in of_kind(".py", ".pyx", ".pxi", ".pyi")}
    long = {name: size for name, size in sizes.items() if size > MOST_LINES}
    assert long.keys() == LONG.keys(), long


def texts() -> Iterator[tuple[str, str]]:
    """(name, text) of every text file but this one and the corpora, which quote what attackers send."""
    for path in FILES:
        name = name_of(path)
        if name == "tests/test_layout.py" or name.startswith("tests/corpus/"):
            continue
        try:
            yield name, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


@pytest.mark.parametrize("pattern", [UNFINISHED, REGISTRY, MACHINE_PATH], ids=["unfinished", "registry", "machine-path"])
def test_no_file_holds(pattern: re.Pattern[str]) -> None:
    """Nothing half done, no address of a package registry, no path of one machine."""
    found = [f"{name}: {match[0]}" for name, text in texts() for match in pattern.finditer(text)]
    assert not found


def test_top_level_is_fixed() -> None:
    """What the documentation and the build rely on."""
    missing = [name for name in TOP_LEVEL if not (ROOT / name).exists()]
    assert not missing


def test_packages_have_nothing_built_under_version_control() -> None:
    """Extensions and generated C are made by the build."""
    assert [name_of(p) for p in of_kind(".so", ".c", ".pyc", ".o")] == []


def test_every_test_module_tests_something() -> None:
    """A test without an assertion is a defect; `raises` counts, and so do checks of the test client."""
    checks = re.compile(r"assert\b|pytest\.raises|expect_\w+\(|check_\w+\(|wait_for\(|until\(|call_and_validate\(")
    empty = []
    for path in of_kind(".py"):
        if not path.name.startswith("test_"):
            continue
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and node.name.startswith("test_")
                and not checks.search(ast.get_source_segment(source, node) or "")
            ):
                empty.append(f"{name_of(path)}::{node.name}")
    assert not empty
