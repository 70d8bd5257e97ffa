"""The tables of PLUGINS.md say what there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import coprocess.python
from accel import shm
from coprocess.python.settings import PythonSettings

PAGE = (Path(coprocess.python.__file__).parent / "PLUGINS.md").read_text()
IN_WORDS = {"bundle", "interpreter", "python_path"}     # their defaults are no numbers
UNITS = {"": 1, "bytes": 1, "s": 1, "MiB": 1 << 20, "GiB": 1 << 30}


def table(heading: str) -> list[tuple[list[str], str]]:
    """(names, second column) of the rows below a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", section, re.MULTILINE)
    return [(re.findall(r"`(\w+)`", names), rest) for names, rest in rows]


def test_the_table_of_settings_names_all_of_them_with_their_defaults() -> None:
    found: dict[str, object] = {}
    for names, values in table("Settings"):
        read = [re.fullmatch(r"([0-9.]+) ?(\w*)", value) for value in values.split(", ")]
        found.update(zip(names, [one and float(one[1]) * UNITS[one[2]] for one in read], strict=True))
    fields = [one for one in dataclasses.fields(PythonSettings) if not one.metadata.get("given")]
    assert found == {one.name: None if one.name in IN_WORDS else one.default for one in fields}


def test_the_table_of_counters_names_limits_that_there_are() -> None:
    named = {name for names, _ in table("Counters") for name in names if name != "limit"}
    assert named
    assert named <= {word.removeprefix("B_").lower() for word in shm.word_numbers() if word.startswith("B_")}
