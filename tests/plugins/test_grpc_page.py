"""The server and the configuration that SERVERS.md shows work together, and its table names the settings that there are."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from grpc_tools import protoc

import coprocess.grpc
from coprocess.grpc.settings import GrpcSettings
from core.obs.families import FAMILIES
from tests.docs.examples import read
from tests.support.gateway import ROOT, Gateway, free_port, running, wait_for
from tests.support.upstream import Upstream

PAGE = Path(coprocess.grpc.__file__).parent / "SERVERS.md"
DOCUMENT = read(PAGE)
PROTO = ROOT / "coprocess" / "proto"


@contextmanager
def serving(folder: Path, address: str) -> Iterator[Path]:
    """The page's server; what it prints is in the file that this gives."""
    sources = [str(path) for path in sorted(PROTO.glob("*.proto"))]
    assert protoc.main(["protoc", f"-I{PROTO}", f"--python_out={folder}", f"--grpc_python_out={folder}", *sources]) == 0
    (folder / "server.py").write_text(DOCUMENT.files["server.py"])
    said = folder / "said"
    with said.open("w") as output:
        process = subprocess.Popen([sys.executable, "server.py", address], cwd=folder, stdout=output, stderr=output)
    try:
        yield said
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving(tmp_path_factory.mktemp("server"), ADDRESS) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, said: Path) -> Iterator[Gateway]:
    conf = json.loads(DOCUMENT.files["tyk.conf"].replace("127.0.0.1:5555", ADDRESS))["coprocess_options"]
    (definition,) = DOCUMENT.definitions()
    definition["proxy"]["target_url"] = upstream.url
    with running(tmp_path_factory.mktemp("page") / "run", [definition], {"coprocess_options": conf}) as found:
        wait_for(lambda: found.fetch("/four/x").status != 403, f"the server answers: {said.read_text()}")
        yield found


ADDRESS = f"127.0.0.1:{free_port()}"


def test_the_server_lets_in_who_has_the_token_and_marks_both_ways(gateway: Gateway) -> None:
    answer = gateway.fetch("/four/x", "Authorization: let-me-in")
    assert (answer.status, answer.get("X-Plugin-Response")) == (200, "grpc")
    assert ["X-Plugin", "grpc"] in json.loads(answer.body)["headers"]


def test_the_server_refuses_everybody_else_and_hears_of_it(gateway: Gateway, said: Path) -> None:
    answer = gateway.fetch("/four/x")
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "a token is needed"})
    wait_for(lambda: '"handler_name":"OnFailure"' in said.read_text().replace(" ", ""), "the event is printed")


def test_the_table_of_settings_names_all_of_them_with_their_defaults() -> None:
    table = PAGE.read_text().partition("## Settings")[2].partition("## ")[0]
    found: dict[str, object] = {}
    for names, values in re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", table, re.MULTILINE):
        given = [None if value == "needed" else json.loads(value) for value in values.split(", ")]
        found.update(zip(re.findall(r"`(\w+)`", names), given, strict=True))
    fields = [one for one in dataclasses.fields(GrpcSettings) if one.name != "name"]
    assert found == {one.name: None if one.default is dataclasses.MISSING else one.default for one in fields}


def test_the_metrics_of_the_page_are_those_of_plugins() -> None:
    named = set(re.findall(r"`(preforge_plugins?_\w+)", PAGE.read_text()))
    assert named == {family.name for family in FAMILIES if re.match("preforge_plugins?_", family.name)}
