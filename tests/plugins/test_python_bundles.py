"""Python plugins of bundles, in a whole gateway (tyk-plugins 5)."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from tests.support.gateway import Json, api, wait_for
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


def bundle(folder: Path, name: str, code: str, **section: Any) -> None:
    """Write a bundle as `preforge bundle build` does."""
    manifest = {
        "file_list": ["middleware.py"], "custom_middleware": {"driver": "python", **section},
        "checksum": hashlib.md5(code.encode(), usedforsecurity=False).hexdigest(), "signature": "",
    }  # fmt: skip
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("middleware.py", code)


def by(answer: Any) -> list[str]:
    return [value for name, value in json.loads(answer.body)["headers"] if name == "X-By"]


def test_hooks_of_a_bundle_run_and_change_with_it(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "served"
    folder.mkdir()
    bundle(folder, "one.zip", CODE.replace("VERSION", "one"), pre=[{"name": "before"}], response=[{"name": "after"}])
    bundle(folder, "two.zip", CODE.replace("VERSION", "two"), pre=[{"name": "before"}])
    bundle(folder, "dies.zip", CODE, pre=[{"name": "dies"}])
    conf: Json = {
        "coprocess_options": {"enable_coprocess": True}, "enable_bundle_downloader": True,
        "bundle_base_url": f"file://{folder}", "middleware_path": str(tmp_path / "middleware"),
    }  # fmt: skip
    url = site.upstream.url
    apis = [
        api("a", "/a/", url, custom_middleware_bundle="one.zip"),
        api("b", "/b/", url, custom_middleware_bundle="two.zip"),
        api("mortal", "/mortal/", url, custom_middleware_bundle="dies.zip"),
    ]
    gateway = site.gateway(*apis, **conf)
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
