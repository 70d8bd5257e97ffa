"""Python plugins of bundles, in a whole gateway (tyk-plugins 5)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.python_support import bundle, conf_of
from tests.support.gateway import Gateway, api, children, wait_for
from tests.support.site import Site

CODE = """
from tyk.decorators import *
from gateway import TykGateway as tyk

@Hook
def before(request, session, metadata, spec):
    request.add_header("X-By", "VERSION " + spec["APIID"])
    tyk.store_data("seen", "yes", 60)
    return request, session, metadata

@Hook
def dies(request, session, metadata, spec):
    import os
    if request.get_header("X-Die"):
        os._exit(3)
    return request, session, metadata

@Hook
def after(request, response, session, metadata, spec):
    response.headers["X-Seen"] = tyk.get_data("seen").decode()
    return response
"""


def by(answer: Any) -> list[str]:
    return [value for name, value in json.loads(answer.body)["headers"] if name == "X-By"]


def test_hooks_of_a_bundle_run_and_change_with_it(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "served"
    bundle(folder, "one.zip", CODE.replace("VERSION", "one"), pre=[{"name": "before"}], response=[{"name": "after"}])
    bundle(folder, "two.zip", CODE.replace("VERSION", "two"), pre=[{"name": "before"}])
    bundle(folder, "dies.zip", CODE, pre=[{"name": "dies"}])
    url = site.upstream.url
    apis = [
        api("a", "/a/", url, custom_middleware_bundle="one.zip"),
        api("b", "/b/", url, custom_middleware_bundle="two.zip"),
        api("mortal", "/mortal/", url, custom_middleware_bundle="dies.zip"),
    ]
    gateway = site.gateway(*apis, **conf_of(tmp_path))
    wait_for(lambda: gateway.fetch("/a/x").status == 200, "the plugin")
    first = gateway.fetch("/a/x")
    assert by(first) == ["one a"]
    assert first.get("X-Seen") == "yes"
    assert site.store.ask("GET", "coprocess-data:seen") == b"yes"
    wait_for(lambda: by(gateway.fetch("/b/x")) == ["two b"], "the other plugin")

    wait_for(lambda: gateway.fetch("/mortal/x").status == 200, "the mortal plugin")
    assert gateway.fetch("/mortal/x", "X-Die: 1").status == 500
    assert by(gateway.fetch("/a/x")) == ["one a"]
    wait_for(lambda: gateway.fetch("/mortal/x").status == 200, "its return")

    gateway.write_api({**apis[0], "custom_middleware_bundle": "two.zip"})
    gateway.reload()
    wait_for(lambda: by(gateway.fetch("/a/x")) == ["two a"], "the new bundle")
    states = json.loads(gateway.fetch("/hello").body)["details"]
    assert sum(one["componentType"] == "plugin:python" for one in states.values()) == 2


TAMPERED = """
from tyk.decorators import *

@Hook
def before(request, session, spec):
    if request.get_header("X-Die"):
        import os
        os._exit(3)
    return request, session
"""


def test_code_that_changes_on_disk_while_the_gateway_runs_is_never_run(site: Site, tmp_path: Path) -> None:
    """A process that takes the place of another reads the files again, long after they were verified."""
    bundle(tmp_path / "served", "a.zip", TAMPERED, pre=[{"name": "before"}])
    gateway = site.gateway(api("a", "/a/", site.upstream.url, custom_middleware_bundle="a.zip"), **conf_of(tmp_path))
    wait_for(lambda: gateway.fetch("/a/x").status == 200, "the plugin")
    place = tmp_path / "middleware" / "bundles" / hashlib.md5(b"a.zip", usedforsecurity=False).hexdigest()
    middleware = place / "middleware.py"
    middleware.write_text(TAMPERED.replace("    return", "    request.add_header('X-By', 'evil')\n    return"))
    assert gateway.fetch("/a/x", "X-Die: 1").status == 500
    wait_for(lambda: "not what was verified" in gateway.log_path.read_text(), "what the log says")
    assert gateway.fetch("/a/x").status == 500
    middleware.write_text(TAMPERED)
    wait_for(lambda: gateway.fetch("/a/x").status == 200, "the code that was verified")


VENDORED = """
import json
import os
import sys

from tyk.decorators import *
from gateway import TykGateway as tyk

here = os.path.abspath(os.path.dirname(__file__))
for lib in ("vendor", "vendor/lib/python3.6/site-packages/"):
    sys.path.append(os.path.join(here, lib))

import shipped
import shipped_deeper
with open(os.path.join(here, "key.json"), "r") as stream:
    key = json.load(stream)["key"]

@Hook
def before(request, session, spec):
    tyk.log("before: " + shipped.NAME, "info")
    request.object.set_headers["X-By"] = " ".join((shipped.NAME, shipped_deeper.sub.V, key, spec["APIID"]))
    return request, session
"""
ADDED = {
    "vendor/shipped.py": "NAME = 'shipped'\n", "vendor/__pycache__/shipped.cpython-37.pyc": "x",
    "vendor/lib/python3.6/site-packages/shipped_deeper/__init__.py": "from . import sub\n",
    "vendor/lib/python3.6/site-packages/shipped_deeper/sub.py": "V = 'deeper'\n", "key.json": '{"key": "k1"}',
}  # fmt: skip


@pytest.mark.parametrize("relative", [False, True])
def test_packages_that_were_added_to_the_archive_are_found(site: Site, tmp_path: Path, relative: bool) -> None:
    """As for Tyk: `tyk bundle build -y`, then `zip -r bundle.zip vendor key.json`. relative: middleware_path is."""
    bundle(tmp_path / "served", "v.zip", VENDORED, ADDED, pre=[{"name": "before"}])
    more = {"middleware_path": "middleware"} if relative else {}
    gateway = site.gateway(api("a", "/a/", site.upstream.url, custom_middleware_bundle="v.zip"), **conf_of(tmp_path, **more))
    wait_for(lambda: gateway.fetch("/a/x").status == 200, "the plugin")
    assert by(gateway.fetch("/a/x")) == ["shipped deeper k1 a"]
    log = gateway.log_path.read_text()
    assert "before: shipped" in log
    assert "4 files are not in $.file_list" in log


def hosts_of(gateway: Gateway) -> int:
    """How many processes its workers have started: those that run plugins."""
    return sum(len(children(worker)) for worker in children(gateway.pid))


def test_reloads_in_a_row_do_not_heap_up_processes(site: Site, tmp_path: Path) -> None:
    """Those of earlier bundles stay for requests that began before, but not without end."""
    code = CODE.replace("tyk.store_data", "(lambda *data: None)")
    for number in range(12):
        bundle(tmp_path / "served", f"{number}.zip", code.replace("VERSION", str(number)), pre=[{"name": "before"}])
    definition = api("a", "/a/", site.upstream.url, custom_middleware_bundle="0.zip")
    gateway = site.gateway(definition, **conf_of(tmp_path))
    wait_for(lambda: gateway.fetch("/a/x").status == 200, "the plugin")
    each, most = hosts_of(gateway), 0
    assert each > 0
    for number in range(1, 12):
        gateway.write_api({**definition, "custom_middleware_bundle": f"{number}.zip"})
        gateway.reload()
        wait_for(lambda number=number: by(gateway.fetch("/a/x")) == [f"{number} a"], "the new bundle")  # type: ignore[misc]
        most = max(most, hosts_of(gateway))
    assert most <= 7 * each
    assert gateway.fetch("/a/x").status == 200


def test_a_reload_goes_over_when_the_new_code_has_been_imported(site: Site, tmp_path: Path) -> None:
    """Which may take longer than a call may."""
    code = "import time\ntime.sleep(3)\n" + CODE.replace("tyk.store_data", "(lambda *data: None)")
    for name in ("one", "two"):
        bundle(tmp_path / "served", f"{name}.zip", code.replace("VERSION", name), pre=[{"name": "before"}])
    definition = api("a", "/a/", site.upstream.url, custom_middleware_bundle="one.zip")
    gateway = site.gateway(definition, **conf_of(tmp_path, preforge={"plugins": {"deadline": 2}}))
    assert by(gateway.fetch("/a/x")) == ["one a"]
    gateway.write_api({**definition, "custom_middleware_bundle": "two.zip"})
    gateway.reload()
    seen = []
    wait_for(lambda: seen.append(gateway.fetch("/a/x")) or by(seen[-1]) == ["two a"], "the new bundle")  # type: ignore[func-returns-value]
    assert {answer.status for answer in seen} == {200}
    assert {tuple(by(answer)) for answer in seen} == {("one a",), ("two a",)}
