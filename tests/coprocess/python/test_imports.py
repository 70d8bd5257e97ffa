"""Which file runs, under which name, and what it can import (tyk-plugins 5.2)."""

from __future__ import annotations

import importlib
import os
import py_compile
import shutil
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from tests.coprocess.python.hosting import hosted, on_loop, write_bundle

HELPED = '''
    from helper import VALUE
    import package.inner as inner
    import shapes

    @Hook
    def Early(request, session, spec):
        request.add_header("V", VALUE + inner.VALUE + shapes.square(3))
        return request, session

    @Hook
    def Late(request, session, spec):
        import lazy
        from package.deep import leaf
        request.add_header("V", lazy.value() + leaf.VALUE)
        return request, session

    @Hook
    def Names(request, session, spec):
        import os, sys, middleware
        assert sys.modules[__name__] is middleware
        request.add_header("Name", __name__)
        request.add_header("File", __file__)
        request.add_header("Beside", open(os.path.join(os.path.dirname(__file__), "data.txt")).read())
        return request, session
'''
FILES = {
    "helper.py": "VALUE = 'helper '\n",
    "lazy.py": "def value():\n    import helper\n    return 'lazy ' + helper.VALUE\n",
    "shapes.py": "def square(n):\n    import middleware\n    return str(n * n)\n",
    "package/__init__.py": "",
    "package/inner.py": "VALUE = 'inner '\n",
    "package/deep/leaf.py": "VALUE = 'leaf'\n",
    "data.txt": "data",
}


@on_loop
async def test_siblings_and_packages_resolve_early_and_late(tmp_path: Path) -> None:
    """At import, inside functions long after, in sub-packages, and back to the entry module."""
    bundle = write_bundle(tmp_path / "a1b2c3", HELPED, FILES)
    async with hosted(bundle) as host:
        assert (await host.call("Early")).request.set_headers["V"] == "helper inner 9"
        assert (await host.call("Late")).request.set_headers["V"] == "lazy helper leaf"
        got = dict((await host.call("Names")).request.set_headers)
        assert got == {"Name": "a1b2c3", "File": str(bundle / "middleware.py"), "Beside": "data"}
    assert [path for path in bundle.rglob("*") if path.suffix == ".pyc"] == [], "a bundle's directory is not written to"


@on_loop
async def test_two_bundles_do_not_see_each_other(tmp_path: Path) -> None:
    """Both own a helper.py."""
    code = """
        import helper

        @Hook
        def H(request, session, spec):
            request.add_header("V", helper.V)
            return request, session
    """
    one = write_bundle(tmp_path / "one", code, {"helper.py": "V = '1'\n"})
    two = write_bundle(tmp_path / "two", code, {"helper.py": "V = '2'\n"})
    async with hosted(one) as first:
        await first.up()
        async with hosted(two) as second:
            await second.up()
            assert (await first.call("H")).request.set_headers["V"] == "1"
            assert (await second.call("H")).request.set_headers["V"] == "2"


@on_loop
async def test_a_single_file_needs_no_certain_name(tmp_path: Path) -> None:
    """It is the entry, whatever it is called."""
    code = "from tyk.decorators import *\n@Hook\ndef H(request, session, spec):\n    return request, session\n"
    async with hosted(write_bundle(tmp_path / "b", files={"plug-in.py": code})) as host:
        assert (await host.call("H")).hook_name == "H"


@pytest.mark.parametrize(
    ("files", "manifest", "expected"),
    [
        ({"a.py": "", "b.py": ""}, None, "has no middleware.py and 2 files; expected middleware.py, or one file alone"),
        ({}, None, "has no middleware.py and 0 files"),
        ({"middleware.py": "import nothing_of_this_name\n"}, None, "No module named 'nothing_of_this_name'"),
        ({"middleware.py": "def (:\n"}, None, "SyntaxError"),
        ({"middleware.py": "1 / 0\n"}, None, "ZeroDivisionError: division by zero"),
        ({"middleware.py": "raise SystemExit('stop')\n"}, None, "SystemExit: stop"),
        ({"middleware.py": "import os; os._exit(3)\n"}, None, "ended before it was ready: exited with status 3"),
        ({"middleware.py": "import os; os.abort()\n"}, None, "ended before it was ready: ended by SIGABRT"),
        ({"middleware.py": ""}, "{", "manifest.json: "),
        ({"middleware.py": ""}, '{"file_list": "x"}', "manifest.json: $.file_list: expected a list of file names"),
        ({}, '{"file_list": ["gone.py"]}', "gone.py: no such file, though the manifest lists it"),
    ],
)
def test_a_bundle_that_cannot_run_says_why(tmp_path: Path, files: dict[str, str], manifest: str | None, expected: str) -> None:
    """State and log name the file; calls are refused at once."""

    @on_loop
    async def check() -> None:
        bundle = write_bundle(tmp_path / "b", files=files)
        if manifest is not None:
            (bundle / "manifest.json").write_text(manifest)
        async with hosted(bundle) as host:
            detail = await host.down()
            assert expected in detail
            assert expected.rpartition("ready: ")[2] in host.log
            reply = await host.failed("H")
            assert (reply.outcome, reply.detail) == ("away", host.driver.state().detail)

    check()


@pytest.mark.parametrize(
    ("code", "line"), [("x = 1\n1 / 0\n", 2), ("x = 1\n\ndef f(:\n", 3), ("def f():\n    raise ValueError('a\\nb')\nf()\n", 2)]
)
@on_loop
async def test_the_state_is_one_line_that_leads_to_the_fault(tmp_path: Path, code: str, line: int) -> None:
    """Everybody can read /hello; the traceback is for the log."""
    bundle = write_bundle(tmp_path / "b", files={"middleware.py": code})
    async with hosted(bundle) as host:
        detail = await host.down()
        assert "\n" not in detail
        assert detail.endswith(f"({bundle}/middleware.py, line {line})")
        assert "Traceback" in host.log


@on_loop
async def test_a_bundle_without_manifest_runs_its_middleware(tmp_path: Path) -> None:
    """As in a directory that someone works in."""
    bundle = write_bundle(tmp_path / "b", HELPED, FILES)
    (bundle / "manifest.json").unlink()
    async with hosted(bundle) as host:
        assert (await host.call("Early")).request.set_headers["V"] == "helper inner 9"


@on_loop
async def test_code_that_nobody_verified_is_not_imported(tmp_path: Path) -> None:
    """Neither a file that was not there then, nor bytecode beside one that was."""
    code = """
        import helper
        @Hook
        def Helped(request, session, spec):
            request.add_header("V", helper.V)
            return request, session

        @Hook
        def Unlisted(request, session, spec):
            import unlisted
            return request, session

        @Hook
        def Bytecode(request, session, spec):
            import only_bytecode
            return request, session
    """
    bundle = write_bundle(tmp_path / "b", code, {"helper.py": "V = 'evil'\n"})
    helper = bundle / "helper.py"
    py_compile.compile(str(helper), doraise=True)
    at = helper.stat()
    helper.write_text("V = 'good'\n")
    os.utime(helper, ns=(at.st_atime_ns, at.st_mtime_ns))
    (bundle / "unlisted.py").write_text("")
    py_compile.compile(str(bundle / "unlisted.py"), cfile=str(bundle / "only_bytecode.pyc"), doraise=True)
    sums = {name: sha256((bundle / name).read_bytes()).hexdigest() for name in ("middleware.py", "helper.py")}
    async with hosted(bundle, verified=sums) as host:
        assert (await host.call("Helped")).request.set_headers["V"] == "good"
        reply = await host.failed("Unlisted")
        assert "unlisted.py: not part of the bundle as it was verified" in reply.detail
        assert "No module named 'only_bytecode'" in (await host.failed("Bytecode")).detail


@on_loop
async def test_the_path_of_the_settings_comes_first(tmp_path: Path) -> None:
    """And the modules of the host program are not on it."""
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "extra.py").write_text("V = 'extra'\n")
    code = """
        import extra
        @Hook
        def H(request, session, spec):
            import importlib.util, sys
            found = [n for n in ("serve", "registry", "channel", "host") if importlib.util.find_spec(n)]
            request.add_header("V", extra.V + str(found))
            return request, session
    """
    async with hosted(write_bundle(tmp_path / "b", code), python_path=(str(tmp_path / "libs"),)) as host:
        assert (await host.call("H")).request.set_headers["V"] == "extra[]"


@on_loop
async def test_a_file_that_changed_since_it_was_verified_is_not_run(tmp_path: Path) -> None:
    """Nor one that is listed but was not verified."""
    bundle = write_bundle(tmp_path / "b", HELPED, FILES)
    sums = {name: sha256((bundle / name).read_bytes()).hexdigest() for name in ("middleware.py", *FILES)}
    async with hosted(bundle, verified=sums) as host:
        assert (await host.call("Early")).request.set_headers["V"] == "helper inner 9"
        (bundle / "lazy.py").write_text("evil = 1\n")
        assert "lazy.py: not what was verified when the bundle was loaded" in (await host.failed("Late")).detail
    (bundle / "middleware.py").write_text("evil = 1\n")
    async with hosted(bundle, verified=sums) as host:
        assert f"{bundle}/middleware.py: not what was verified" in await host.down()
    del sums["helper.py"]
    async with hosted(write_bundle(bundle, HELPED, FILES), verified=sums) as host:
        assert "helper.py: not part of the bundle as it was verified" in await host.down()


@on_loop
async def test_an_extension_module_is_verified_too(tmp_path: Path) -> None:
    """A real one, of the interpreter's own library, under the bundle's roof."""
    module = importlib.import_module("_heapq" if "_heapq" not in sys.builtin_module_names else "_json")
    if module.__spec__ is None or not (module.__file__ or "").endswith(".so"):
        pytest.skip("this interpreter has no extension module in a file of its own")
    code = """
        @Hook
        def H(request, session, spec):
            import sys
            sys.modules.pop("EXT", None)
            sys.path.insert(0, __file__.rpartition("/")[0])
            import EXT
            request.add_header("File", EXT.__file__)
            return request, session
    """.replace("EXT", module.__name__)
    assert module.__file__ is not None
    name = Path(module.__file__).name
    bundle = write_bundle(tmp_path / "b", code)
    shutil.copy(module.__file__, bundle / name)
    sums = {n: sha256((bundle / n).read_bytes()).hexdigest() for n in ("middleware.py", name)}
    async with hosted(bundle, verified=sums) as host:
        assert (await host.call("H")).request.set_headers["File"] == str(bundle / name)
    async with hosted(bundle, verified=sums | {name: "0" * 64}) as host:
        assert "not what was verified" in (await host.failed("H")).detail


@on_loop
async def test_archives_on_the_path_are_verified_too(tmp_path: Path) -> None:
    """A zip file of modules in the bundle."""
    code = """
        import os, sys
        sys.path.insert(0, os.path.join(os.path.dirname(__file__), "libs.zip"))
        import zipped.inner

        @Hook
        def H(request, session, spec):
            request.add_header("V", zipped.inner.V)
            return request, session
    """
    bundle = write_bundle(tmp_path / "b", code)
    with zipfile.ZipFile(bundle / "libs.zip", "w") as archive:
        archive.writestr("zipped/__init__.py", "")
        archive.writestr("zipped/inner.py", "V = 'z'")
    sums = {name: sha256((bundle / name).read_bytes()).hexdigest() for name in ("middleware.py", "libs.zip")}
    async with hosted(bundle, verified=sums) as host:
        assert (await host.call("H")).request.set_headers["V"] == "z"
    for other in (sums | {"libs.zip": "0" * 64}, {"middleware.py": sums["middleware.py"]}):
        async with hosted(bundle, verified=other) as host:
            assert "No module named 'zipped'" in await host.down()


@on_loop
async def test_vendored_packages_are_found(tmp_path: Path) -> None:
    """A directory of the bundle that the plugin puts on its path."""
    code = """
        import os, sys
        sys.path.append(os.path.join(os.path.abspath(os.path.dirname(__file__)), "vendor/lib/"))
        import vendored

        @Hook
        def H(request, session, spec):
            request.add_header("V", vendored.V)
            return request, session
    """
    async with hosted(write_bundle(tmp_path / "b", code, {"vendor/lib/vendored/__init__.py": "V = 'v'\n"})) as host:
        assert (await host.call("H")).request.set_headers["V"] == "v"
