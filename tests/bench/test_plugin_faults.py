"""The benchmark that kills plugins, run for a moment: it has to see what it is there to see."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench import gateway, plugin_faults
from bench.plugin_faults import Figures, Scene, judge
from bench.plugins.victims import VICTIMS, Victim
from bench.processes import StartError
from tests.support.gateway import ROOT


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_every_plugin_is_killed_and_heals_and_nothing_passes_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--rounds", "1", "--there", "0.2", "--away", "0.3", "--heal", "15", "--connections", "4"]
    status = plugin_faults.main(short)
    printed = capsys.readouterr().out
    assert (status, "FAILED" in printed) == (0, False), printed
    for title in ("gRPC server, pre hook", "gRPC server, auth_check"):
        assert f"{title:<26}away" in printed
    for title in ("JSON-RPC child, pre hook", "Python host, pre hook"):
        assert f"{title:<26}healing" in printed
    assert printed.rstrip().endswith("ok: nothing passed unasked, all failures were refusals, and the gateway healed by itself")


class Forgetful(Victim):
    """Instead of a kill, the gateway is told that there is no hook."""

    def __init__(self, folder: Path) -> None:
        inner = VICTIMS["grpc"](folder)
        super().__init__("forgetful", inner.api, inner.options, supervised=True)
        self._inner = inner
        self._apps = folder / "gateway" / "apps"

    def start(self) -> None:
        self._inner.start()

    def kill(self, gateway_pid: int) -> None:
        path = self._apps / "api.json"
        text = path.read_text().replace('"pre"', '"nothing"')
        path.write_text(text)
        os.kill(gateway_pid, signal.SIGHUP)

    def end(self) -> None:
        self._inner.end()


def test_requests_that_pass_unasked_are_found(tmp_path: Path) -> None:
    scene = Scene(Forgetful(tmp_path), tmp_path, 1, 4)
    try:
        figures = scene.run(1, 0.2, 0)
    finally:
        scene.end()
    assert figures.unasked > 0
    assert any("passed unasked" in problem for problem in judge(figures, 100))


def test_without_its_hook_nothing_is_measured(tmp_path: Path) -> None:
    made = VICTIMS["grpc"](tmp_path)
    made.api = gateway.keyed() | {"use_keyless": True}
    scene = Scene(made, tmp_path, 1, 4)
    try:
        with pytest.raises(StartError, match="does not mark"):
            scene.run(1, 0.1, 0.1)
    finally:
        scene.end()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"whole": [0.1, 2.1]}, "it took 2.10 s until all requests passed again; 2 s are allowed"),
        ({"unanswered": 1}, "the upstream got 1 requests that were not answered with 200"),
        ({"failed": {"wrong token": 2, "wrong body length": 1}}, "3 requests passed unasked"),
        ({"failed": {"timeout": 1}}, "failures: {'timeout': 1}"),
        ({"away": Counter({200: 3})}, "no request was refused while the plugin was away"),
        ({"there again": Counter({200: 3, 500: 1})}, "while the plugin was there again: {200: 3, 500: 1}"),
        ({"there": Counter()}, "while the plugin was there: {}"),
    ],
)
def test_what_must_not_happen_fails_the_run(change: dict[str, Any], problem: str | None) -> None:
    figures = Figures("it", 500, first=[0.1], whole=[0.1])
    figures.phases = {"there": Counter({200: 5}), "away": Counter({500: 5}), "there again": Counter({200: 5})}
    for name, value in change.items():
        if isinstance(value, Counter):
            figures.phases[name] = value
        else:
            setattr(figures, name, value)
    assert judge(figures) == ([] if problem is None else [f"it: {problem}"])
