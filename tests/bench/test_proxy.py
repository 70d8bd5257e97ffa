"""The rows of bench.proxy that have a hook, each run for a moment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import nginx, proxy
from bench.load.drive import quantile
from bench.plugins.setups import Setup
from bench.processes import Child, free_port
from bench.rows import ROWS, Row
from tests.support.gateway import ROOT

HOOKED = ["js", "grpc", "grpc-unix", "jsonrpc", "python"]


@pytest.fixture
def binary(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = nginx.binary()
    if found is None:
        pytest.skip("there is no nginx")
    return found


def test_rows_with_a_hook_have_no_figures(binary: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    rows = ["small", *HOOKED]
    assert proxy.main(["--rows", ",".join(rows), "--seconds", "0.2", "--rounds", "1", "--json", str(file)]) == 0
    figures = {found["name"]: found for found in json.loads(file.read_text())["rows"]}
    assert list(figures) == [ROWS[name].name for name in rows]
    for name in rows:
        found = figures[ROWS[name].name]
        assert (found["error"], found["skipped"]) == ("", "")
        assert min(found[figure] for figure in ("nginx_us", "ours_us", "ratio", "nginx_rate", "ours_rate")) > 0
        assert 0 < found["latency"]["p50"] <= found["latency"]["p99"]
        if name in ("small", "js"):
            assert found["plugin_us"] is None
        else:
            assert found["plugin_us"] > 0
    printed = capsys.readouterr().out
    assert printed.count(f"| {ROWS['grpc'].name} |") == 2
    assert "| latency, 1 connection | p50 us | p99 us | req/s |" in printed
    assert proxy.PLUGIN_NOTE in printed


def one(binary: str, folder: Path, row: Row) -> proxy.Figures:
    """Measure one row, without latency."""
    port = free_port()
    upstream = Child("upstream", [binary, "-e", "stderr", "-c", str(nginx.static(folder, port))], folder)
    try:
        upstream.wait_port(port)
        return proxy.measure(row, 0, folder, binary, port, 0.1, 1)
    finally:
        upstream.end()


def test_a_hook_that_does_nothing_is_measured(binary: str, tmp_path: Path) -> None:
    found = one(binary, tmp_path, Row("idle", hook=lambda _folder, _cpus: Setup()))
    assert "the hook has not done what it has to" in found.error
    assert "not measured: the hook has not done" in proxy.table([found])
    assert proxy.latency_table([found]) == ""


def test_a_row_that_cannot_run_here_fails_or_says_nothing(binary: str, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    found = proxy.measure(ROWS["grpc-unix"], 0, folder, binary, 1, 0.1, 1)
    assert found.error == ""
    assert "longer than the path of a unix socket may be" in found.skipped
    assert f"| {found.name} | skipped: {found.skipped} |" in proxy.table([found])


def test_quantiles_are_off_by_more_than_the_buckets() -> None:
    def bucket(value: int) -> int:
        shift = max(0, value.bit_length() - 7)
        return shift * 64 + (value >> shift)

    for value in (0, 1, 63, 64, 127, 128, 129, 255, 256, 1000, 123_456):
        assert quantile({bucket(value): 5}, 0.5) == pytest.approx(value, rel=0.016)
    assert quantile({10: 98, 500: 2}, 0.5) == 10
    assert quantile({10: 98, 20: 2}, 0.99) == 20
    assert quantile({}, 0.5) == 0
