"""The documentation's examples, run as a reader would: they print what the documents say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from accel import shm
from core.config.table import options
from core.obs.families import FAMILIES
from tests.docs.examples import Document, Shell, read, untimed
from tests.support.gateway import ROOT, Gateway

DOCUMENTS = ("README.md", "jsvm_pool/SCRIPTS.md")
OWN = ("listen_port", "listen_address", "app_path", "secret", "pid_file_location")    # the test's, not the document's


@contextmanager
def opened(document: Document, directory: Path) -> Iterator[Shell]:
    """A shell beside a gateway with the document's definitions and files."""
    conf = json.loads(document.files.get("tyk.conf", "{}"))
    gateway = Gateway(directory, document.definitions(), {key: value for key, value in conf.items() if key not in OWN})
    address = f"{gateway.host}:{gateway.port}"
    document.put(directory, address)
    (directory / "preforge.log").symlink_to(gateway.log_path)
    gateway.start()
    try:
        yield Shell(directory, address)
    finally:
        gateway.stop()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the documents use curl")
@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_example_prints_something_else(name: str, tmp_path: Path) -> None:
    document = read(ROOT / name)
    assert document.commands, f"{name} has no examples any more"
    with opened(document, tmp_path / "gateway") as shell:
        for command in document.commands:
            assert shell.printed(command) == untimed(command.printed), f"{name}:{command.at}: {command.text}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_option_or_a_metric_does_not_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    known = set(options())
    sections = {option.rpartition(".")[0] for option in known}
    named = set(re.findall(r"`(preforge\.[a-z_.]+[a-z_])`", text))
    assert named
    assert named <= known | sections
    counted = set(re.findall(r"`(preforge_[a-z_]+)", text)) - {
        "preforge_api_cache_total", "preforge_hook_calls_total", "preforge_hook_duration_seconds",
    }  # fmt: skip
    assert counted <= {family.name for family in FAMILIES} | {"preforge_limit_hits_total"}
    limits = {word.removeprefix("B_").lower() for word in shm.word_numbers() if word.startswith("B_")}
    assert set(re.findall(r'(?:limit=|\|)"(\w+)"', text)) <= limits


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_link_leads_nowhere(name: str) -> None:
    place = ROOT / name
    links = re.findall(r"\]\((?!https?:)([^)\s]*)\)", place.read_text())
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        target = place.parent / path if path else place
        assert target.is_file(), f"{name}: {link}"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{name}: {link}"


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as they are made of their text."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
