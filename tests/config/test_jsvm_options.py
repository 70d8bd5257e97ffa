"""Options of JavaScript: bounds, and a time limit that may be negative as in Tyk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.config import ConfigError, load

GOOD: dict[str, Any] = {"listen_port": 8080, "app_path": "apps", "secret": "s"}


def written(folder: Path, **options: Any) -> str:
    path = folder / "tyk.conf"
    path.write_text(json.dumps({**GOOD, **options}))
    return str(path)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"max_contexts": 0, "contexts": 0}, "$.preforge.jsvm.max_contexts"),
        ({"memory_limit_mb": 0.5}, "$.preforge.jsvm.memory_limit_mb"),
        ({"max_requests": 0}, "$.preforge.jsvm.max_requests"),
        ({"contexts": 3, "max_contexts": 2}, "$.preforge.jsvm.contexts"),
        ({"max_queued": -1}, "$.preforge.jsvm.max_queued"),
        ({"blocked_networks": ["10.0.0.0/33"]}, "$.preforge.jsvm.blocked_networks[0]"),
    ],
)
def test_settings_with_which_no_script_could_run_are_refused(tmp_path: Path, options: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, preforge={"jsvm": options}), {})
    assert [finding.path for finding in caught.value.findings if finding.severity == "error"] == [place]


def test_negative_timeout_is_taken_as_in_tyk(tmp_path: Path) -> None:
    config = load(written(tmp_path, jsvm_timeout=-1), {"TYK_GW_ENABLEJSVM": "true"}).config
    assert (config.jsvm_timeout, config.enable_jsvm, config.middleware_path) == (-1, True, "middleware")
