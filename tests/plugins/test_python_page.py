"""The plugin that PLUGINS.md shows works, built and run as the page says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import coprocess.python
from tests.docs.examples import read
from tests.support.gateway import ROOT, Gateway, running, wait_for
from tests.support.upstream import Upstream

PAGE = Path(coprocess.python.__file__).parent / "PLUGINS.md"
DOCUMENT = read(PAGE)
BUILD = "preforge bundle build --skip-signing --output ../bundles/five.zip"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("page") / "run"
    DOCUMENT.put(folder, "")
    (folder / "bundles").mkdir()
    assert f"(cd plugin && {BUILD})" in PAGE.read_text()
    command = [sys.executable, "-m", "core", *BUILD.split()[1:]]
    subprocess.run(command, cwd=folder / "plugin", env={"PYTHONPATH": str(ROOT)}, check=True, stdout=subprocess.DEVNULL)
    given = json.loads(DOCUMENT.files["tyk.conf"])
    conf = {key: given[key] for key in ("enable_bundle_downloader", "bundle_base_url", "coprocess_options")}
    (definition,) = DOCUMENT.definitions()
    definition["proxy"]["target_url"] = upstream.url
    with running(folder, [definition], conf) as found:
        wait_for(lambda: found.fetch("/five/x").status == 401, "the plugin runs")
        yield found


def test_the_plugin_lets_in_who_has_the_token_and_marks_both_ways(gateway: Gateway) -> None:
    answer = gateway.fetch("/five/x", "Authorization: let-me-in")
    assert (answer.status, answer.get("X-Plugin-Response")) == (200, "python")
    assert ["X-Plugin", "python"] in json.loads(answer.body)["headers"]


def test_the_plugin_refuses_everybody_else_and_says_so(gateway: Gateway) -> None:
    answer = gateway.fetch("/five/x")
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "a token is needed"})
    wait_for(lambda: "five: an unknown token" in gateway.log(), "the hook's line is logged")
    wait_for(lambda: bool(re.search(r"five: AuthFailure", gateway.log())), "the handler's line is logged")
