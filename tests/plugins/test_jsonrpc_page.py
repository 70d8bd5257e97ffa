"""The configuration that PROTOCOL.md shows runs the examples, in a whole gateway."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import coprocess.jsonrpc
from tests.support.gateway import Gateway, Json, running, wait_for
from tests.support.upstream import Upstream

FOLDER = Path(coprocess.jsonrpc.__file__).parent
PAGE = (FOLDER / "PROTOCOL.md").read_text()
CONF, DEFINITION = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
KEY = "Authorization: let-me-in"
LANGUAGES = ["python", pytest.param("node", marks=pytest.mark.skipif(not shutil.which("node"), reason="node is not installed"))]


def definition(language: str, upstream: Upstream) -> Json:
    """The page's, for another of the examples."""
    made: Json = json.loads(json.dumps(DEFINITION).replace("python", language))
    made["proxy"]["target_url"] = upstream.url
    if language == "shell":
        made["use_keyless"] = True
        for name in ("auth_check", "response"):
            del made["custom_middleware"][name]
    return made


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("page") / "run"
    conf = {key: CONF[key] for key in ("coprocess_options", "preforge")}
    apis = [definition(language, upstream) for language in ("python", "node", "shell")]
    shutil.copytree(FOLDER / "examples", folder / "examples")
    with running(folder, apis, conf) as found:
        yield found


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_example_lets_in_who_has_the_token_and_marks_both_ways(gateway: Gateway, language: str) -> None:
    answer = gateway.fetch(f"/{language}/x", KEY)
    assert (answer.status, answer.get("X-Plugin-Response")) == (200, language)
    assert ["X-Plugin", language] in json.loads(answer.body)["headers"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_example_refuses_everybody_else_and_hears_of_it(gateway: Gateway, language: str) -> None:
    answer = gateway.fetch(f"/{language}/x")
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "a token is needed"})
    wait_for(lambda: f"{language}: event AuthFailure for OnFailure" in gateway.log(), "the event is logged")


def test_the_shell_example_sets_its_header(gateway: Gateway) -> None:
    answer = gateway.fetch("/shell/x")
    assert answer.status == 200
    assert ["X-Plugin", "shell"] in json.loads(answer.body)["headers"]


def test_the_table_of_limits_names_settings_with_their_defaults() -> None:
    defaults = coprocess.jsonrpc.JsonRpcSettings("it", "x")
    found: dict[str, float] = {}
    for names, values in re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", PAGE.partition("## Limits")[2], re.MULTILINE):
        numbers = [float(number) * (1 << 20 if unit else 1) for number, unit in re.findall(r"([0-9.]+)( MiB)?", values)]
        found.update(zip(re.findall(r"`(\w+)`", names), numbers, strict=True))
    assert len(found) >= 12
    assert {name: getattr(defaults, name) for name in found} == found
