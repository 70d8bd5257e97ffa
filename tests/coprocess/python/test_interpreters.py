"""Interpreters other than the gateway's own: virtual environments, other versions, no interpreter at all."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import google.protobuf
import pytest

from tests.coprocess.python.hosting import hosted, on_loop, write_bundle

HOST = Path(__file__).parents[3] / "coprocess" / "python" / "host"
MINOR = "import sys; print(sys.version_info[1])"
CODE = """
    import sys, google.protobuf

    @Hook
    def Where(request, session, metadata, spec):
        request.add_header("Python", "%d.%d" % sys.version_info[:2])
        request.add_header("Prefix", sys.prefix)
        request.add_header("Protobuf", google.protobuf.__file__)
        try:
            import only_here
            request.add_header("Own", only_here.V)
        except ImportError:
            pass
        metadata["token"] = "t"
        session.access_rights["a"].api_id = "a"
        return request, session, metadata
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment that sees what is installed for its base interpreter, and has a package of its own."""
    home = tmp_path / "venv"
    venv.create(home, system_site_packages=True, with_pip=False, symlinks=True)
    (packages_of(home) / "only_here.py").write_text("V = 'own package'\n")
    return home


def packages_of(home: Path) -> Path:
    return next((home / "lib").glob("python3*")) / "site-packages"


@on_loop
async def test_a_virtual_environment_is_used(tmp_path: Path, environment: Path) -> None:
    """Its packages are there, and the gateway lends its protobuf where there is none, but nothing else."""
    async with hosted(write_bundle(tmp_path / "b", CODE), interpreter=str(environment / "bin" / "python")) as host:
        got = dict((await host.call("Where")).request.set_headers)
        assert (got["Prefix"], got["Own"]) == (str(environment), "own package")
        assert Path(got["Protobuf"]).name == "__init__.py"


@on_loop
async def test_the_environments_own_protobuf_comes_first(tmp_path: Path, environment: Path) -> None:
    """Even beside another package below `google`."""
    ours = Path(google.protobuf.__file__).parents[1]
    theirs = packages_of(environment) / "google"
    shutil.copytree(ours / "protobuf", theirs / "protobuf", ignore=shutil.ignore_patterns("__pycache__"))
    if (ours / "_upb").exists():
        shutil.copytree(ours / "_upb", theirs / "_upb")
    async with hosted(write_bundle(tmp_path / "b", CODE), interpreter=str(environment / "bin" / "python")) as host:
        got = dict((await host.call("Where")).request.set_headers)
        assert got["Protobuf"] == str(theirs / "protobuf" / "__init__.py")


@on_loop
async def test_protobuf_is_lent_beside_another_google_package(tmp_path: Path, environment: Path) -> None:
    """`google` is a namespace that many packages share."""
    (packages_of(environment) / "google" / "other").mkdir(parents=True)
    (packages_of(environment) / "google" / "other" / "__init__.py").write_text("V = 'other'\n")
    code = CODE.replace("import only_here", "from google import other").replace("only_here.V", "other.V")
    async with hosted(write_bundle(tmp_path / "b", code), interpreter=str(environment / "bin" / "python")) as host:
        assert (await host.call("Where")).request.set_headers["Own"] == "other"


@on_loop
async def test_a_protobuf_that_is_too_old_is_named(tmp_path: Path, environment: Path) -> None:
    """With what to install, and where."""
    old = packages_of(environment) / "google" / "protobuf"
    old.mkdir(parents=True)
    (old / "__init__.py").write_text("__version__ = '3.19.6'\n")
    interpreter = str(environment / "bin" / "python")
    async with hosted(write_bundle(tmp_path / "b", CODE), interpreter=interpreter) as host:
        assert f"protobuf 3.19.6 of {interpreter} is too old: install protobuf >= 3.20" in await host.down()


@pytest.mark.parametrize(
    ("interpreter", "expected"),
    [
        ("/nonexistent/python", "cannot be started: [Errno 2]"),
        ("no-such-python-in-path", "cannot be started: [Errno 2]"),
        ("/bin/true", "ended before it was ready: exited with status 0"),
        ("/bin/cat", "ended before it was ready"),
    ],
)
def test_what_is_no_python_is_named(tmp_path: Path, interpreter: str, expected: str) -> None:
    """The gateway starts all the same; calls are refused."""

    @on_loop
    async def check() -> None:
        async with hosted(write_bundle(tmp_path / "b", CODE), interpreter=interpreter) as host:
            assert expected in await host.down()
            assert (await host.failed("Where")).outcome == "away"

    check()


@on_loop
async def test_what_was_missing_may_come_later(tmp_path: Path, environment: Path) -> None:
    """Without a restart of the gateway."""
    bundle = write_bundle(tmp_path / "b", "import comes_later\n" + CODE.replace("\n    ", "\n"))
    async with hosted(bundle, interpreter=str(environment / "bin" / "python"), restart_delay_most=0.1) as host:
        assert "No module named 'comes_later'" in await host.down()
        (packages_of(environment) / "comes_later.py").write_text("")
        await host.up()
        assert host.driver.state().status == "up"
        assert (await host.call("Where")).request.set_headers["Own"] == "own package"


@on_loop
async def test_an_interpreter_that_vanishes_is_named_and_may_come_back(tmp_path: Path) -> None:
    """As when a virtual environment is made anew."""
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    code = CODE + """
    @Hook
    def End(request, session, spec):
        import os
        os._exit(0)
    """
    async with hosted(write_bundle(tmp_path / "b", code), interpreter=str(link), restart_delay_most=0.2) as host:
        await host.up()
        link.unlink()
        assert (await host.failed("End")).outcome == "error"
        assert "cannot be started: [Errno 2]" in await host.down()
        assert (await host.failed("Where")).outcome == "away"
        link.symlink_to(sys.executable)
        await host.up()
        assert (await host.call("Where")).session.metadata["token"] == "t"


@on_loop
async def test_a_bundle_that_does_not_finish_its_import_is_ended(tmp_path: Path) -> None:
    """And says so."""
    bundle = write_bundle(tmp_path / "b", "import time\ntime.sleep(600)\n")
    async with hosted(bundle, start_timeout=0.3) as host:
        assert "the bundle was not imported within 0.3 s" in await host.down()


def others() -> list[str]:
    """Other Python versions on this machine: in PATH, or beside the base of the one that runs."""
    beside = Path(sys.base_prefix).parent
    found = []
    for minor in range(7, 16):
        paths = [shutil.which(f"python3.{minor}"), *map(str, sorted(beside.glob(f"3.{minor}.*/bin/python")))]
        for path in filter(None, paths):
            asked = subprocess.run([path, "-c", MINOR], capture_output=True, text=True, check=False)
            if asked.stdout.strip() == str(minor) and minor != sys.version_info[1]:
                found.append(path)
                break
    return found


OTHERS = others()


@pytest.mark.skipif(not OTHERS, reason="no other Python on this machine")
@pytest.mark.parametrize("interpreter", OTHERS)
def test_other_versions_run_or_say_what_they_lack(tmp_path: Path, interpreter: str) -> None:
    """The host program itself runs from 3.8 on; the gateway's protobuf needs a newer one."""
    minor = int(subprocess.run([interpreter, "-c", MINOR], capture_output=True, text=True, check=True).stdout)
    own = subprocess.run([interpreter, "-c", "import google.protobuf"], capture_output=True, check=False).returncode == 0

    @on_loop
    async def check() -> None:
        async with hosted(write_bundle(tmp_path / "b", CODE), interpreter=interpreter) as host:
            if minor < 8:
                assert "Python 3.8 or later is needed" in await host.down()
            elif minor < 10 and not own:
                assert f"does not run on cpython 3.{minor}: install protobuf >= 3.20 for {interpreter}" in await host.down()
            else:
                got = await host.call("Where")
                assert got.request.set_headers["Python"] == f"3.{minor}"
                assert got.session.metadata["token"] == "t"

    check()


def test_the_host_program_is_written_for_python_3_8() -> None:
    """Also where no such interpreter is at hand."""
    files = sorted(HOST.rglob("*.py"))
    assert len(files) > 10
    for file in files:
        ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 8))


@on_loop
async def test_variables_of_the_gateway_do_not_reach_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its secrets nor an import path that is meant for another interpreter."""
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    monkeypatch.setenv("TYK_GW_SECRET", "secret")
    monkeypatch.setenv("PLUGIN_SETTING", "kept")
    code = """
        import os, sys

        @Hook
        def Environment(request, session, spec):
            seen = sorted(k for k, v in os.environ.items() if v and k.startswith(("TYK_", "PLUGIN")))
            request.add_header("Seen", ",".join(seen))
            request.add_header("Path", str("/somewhere/else" in sys.path))
            return request, session
    """
    async with hosted(write_bundle(tmp_path / "b", code)) as host:
        got = dict((await host.call("Environment")).request.set_headers)
        assert got == {"Seen": "PLUGIN_SETTING", "Path": "False"}
        assert os.environ["TYK_GW_SECRET"] == "secret"
