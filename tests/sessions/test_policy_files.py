"""Policies come from files: what is wrong is said with file and field, and one broken file breaks one policy only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.sessions.policies import Policies
from core.sessions.policy_files import PolicyResult, object_id, read_policies

ORG = "c0ffee00c0ffee00c0ffee01"


def config(**more: Any) -> Any:
    options = {"policy_source": "", "policy_path": "", "policy_record_name": "", **more}
    return SimpleNamespace(
        policies=SimpleNamespace(**options), allow_unsafe_policy_ids=bool(options.pop("allow_unsafe_policy_ids", False))
    )


def write(file: Path, value: Any) -> Path:
    file.write_text(value if isinstance(value, str) else json.dumps(value))
    return file


def read(before: Policies | None = None, **more: Any) -> PolicyResult:
    return read_policies(config(**{name: str(value) for name, value in more.items()}), before or Policies())


def errors(result: PolicyResult) -> list[tuple[str, str]]:
    return [(finding.file, finding.path) for finding in result.findings if finding.severity == "error"]


def names(result: PolicyResult) -> list[str]:
    return [policy["id"] for policy in result.policies.all()]


def test_without_a_place_there_are_no_policies() -> None:
    assert read() == PolicyResult(Policies())


@pytest.mark.parametrize("source", ["service", "rpc"])
def test_policies_of_a_dashboard_are_refused_clearly(source: str, tmp_path: Path) -> None:
    write(tmp_path / "p.json", {"id": "p"})
    result = read(policy_source=source, policy_path=tmp_path)
    assert errors(result) == [("tyk.conf", "$.policies.policy_source")]
    assert source in result.findings[0].message
    assert names(result) == []


def test_unknown_source_is_said_and_files_are_read(tmp_path: Path) -> None:
    write(tmp_path / "p.json", {"id": "p"})
    result = read(policy_source="files", policy_path=tmp_path)
    assert [(finding.severity, finding.path) for finding in result.findings] == [("warning", "$.policies.policy_source")]
    assert names(result) == ["p"]


def test_key_in_the_one_file_is_the_id(tmp_path: Path) -> None:
    file = write(tmp_path / "policies.json", {"one": {"id": "other", "org_id": ORG, "rate": 5}, "two": {}})
    result = read(policy_source="file", policy_record_name=file)
    assert names(result) == ["one", "two"]
    assert errors(result) == []
    found = result.policies.find(ORG, "one")
    assert found is not None
    assert (found["rate"], found["partitions"]["acl"], found["access_rights"]) == (5, False, {})


def test_directory_beats_the_one_file_and_ignores_others(tmp_path: Path) -> None:
    record = write(tmp_path / "record.txt", {"no": {}})
    write(tmp_path / "b.json", {"id": "bee"})
    write(tmp_path / "a.json", {"_id": {"$oid": "5f000000000000000000000a"}})
    write(tmp_path / "c.json", {"_id": "cee", "id": ""})
    write(tmp_path / "d.json.bak", "not JSON")
    result = read(policy_path=tmp_path, policy_record_name=record)
    assert names(result) == ["5f000000000000000000000a", "bee", "cee"]
    assert errors(result) == []


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("", ""),
        ('{"id": "p", }', ""),
        ("[]", "$"),
        ('{"id": "p", "rate": "fast"}', "$.rate"),
        ('{"id": "p", "quota_max": 1.5}', "$.quota_max"),
        ('{"id": "p", "partitions": {"acl": 1}}', "$.partitions.acl"),
        ('{"id": "p", "access_rights": []}', "$.access_rights"),
        ('{"id": "p", "access_rights": {"a": {"versions": "x"}}}', "$.access_rights.a.versions"),
        ('{"id": "p", "access_rights": {"a": {"limit": {"smoothing": 1}}}}', '$.access_rights["a"].limit.smoothing'),
        ('{"id": "p", "smoothing": {"delay": "x"}}', "$.smoothing.delay"),
        ('{"id": "p", "meta_data": {"x": 1e999}}', ""),
        ('{"id": "p", "active": "yes"}', "$.active"),
        ('{"id": 7}', "$.id"),
        ('{"name": "no id"}', "$.id"),
        ('{"id": "a/b"}', "$.id"),
    ],
)
def test_broken_policy_is_named_and_the_others_are_read(tmp_path: Path, value: str, path: str) -> None:
    broken = write(tmp_path / "broken.json", value)
    write(tmp_path / "good.json", {"id": "good"})
    result = read(policy_path=tmp_path)
    assert errors(result) == [(str(broken), path)]
    assert names(result) == ["good"]


def test_broken_policy_of_the_one_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    file = write(tmp_path / "all.json", {"a": {"rate": "fast"}, "b": {}, "c": 7, "x y": {}})
    result = read(policy_record_name=file)
    assert errors(result) == [(str(file), "$.a.rate"), (str(file), "$.c"), (str(file), '$["x y"].id')]
    assert names(result) == ["b"]


def test_any_id_goes_when_it_is_allowed(tmp_path: Path) -> None:
    file = write(tmp_path / "all.json", {"x y/z": {}})
    result = read(policy_record_name=file, allow_unsafe_policy_ids="yes")
    assert (names(result), errors(result)) == (["x y/z"], [])


@pytest.mark.parametrize("option", ["policy_path", "policy_record_name"])
def test_place_that_is_not_there_is_an_error(tmp_path: Path, option: str) -> None:
    missing = tmp_path / "missing"
    result = read(**{option: missing})
    assert errors(result) == [(str(missing), "")]
    assert "No such file" in result.findings[0].message


def test_file_as_a_directory_and_the_other_way_round(tmp_path: Path) -> None:
    file = write(tmp_path / "file.json", {})
    assert errors(read(policy_path=file)) == [(str(file), "")]
    assert errors(read(policy_record_name=tmp_path)) == [(str(tmp_path), "")]


def test_same_policy_twice_is_said(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", {"id": "p", "rate": 1})
    second = write(tmp_path / "b.json", {"id": "p", "rate": 2})
    write(tmp_path / "c.json", {"id": "p", "org_id": ORG})
    result = read(policy_path=tmp_path)
    warning = [finding for finding in result.findings if "too" in finding.message]
    assert [(finding.file, finding.severity) for finding in warning] == [(str(second), "warning")]
    assert str(first) in warning[0].message
    assert len(result.policies.by_id) == 2
    assert result.policies.by_id["", "p"]["rate"] == 2


def test_unknown_and_misspelled_fields_are_warnings(tmp_path: Path) -> None:
    write(tmp_path / "a.json", {"id": "p", "quotamax": 1, "RATE": 5})
    result = read(policy_path=tmp_path)
    assert [(finding.severity, finding.path) for finding in result.findings] == [("warning", "$.quotamax")]
    assert result.policies.by_id["", "p"]["rate"] == 5


# -- a reload that finds something broken ----------------------------------------------------


def test_broken_file_keeps_its_policy_and_a_removed_one_goes(tmp_path: Path) -> None:
    write(tmp_path / "a.json", {"id": "first", "rate": 1})
    write(tmp_path / "b.json", {"id": "second"})
    before = read(policy_path=tmp_path).policies
    write(tmp_path / "a.json", '{"id": "first", "rate"')
    (tmp_path / "b.json").unlink()
    result = read(before, policy_path=tmp_path)
    assert names(result) == ["first"]
    assert result.policies.by_id["", "first"]["rate"] == 1
    write(tmp_path / "a.json", {"id": "renamed"})
    assert names(read(result.policies, policy_path=tmp_path)) == ["renamed"]


@pytest.mark.parametrize("value", ["", "{", "[]"])
def test_broken_file_of_all_policies_keeps_them(tmp_path: Path, value: str) -> None:
    file = write(tmp_path / "all.json", {"a": {"rate": 1}, "b": {}})
    before = read(policy_record_name=file).policies
    write(file, value)
    result = read(before, policy_record_name=file)
    assert names(result) == ["a", "b"]
    assert errors(result)
    assert names(read(result.policies, policy_record_name=file)) == ["a", "b"], "and once more"


def test_one_broken_policy_of_the_file_stays_what_it_was(tmp_path: Path) -> None:
    file = write(tmp_path / "all.json", {"a": {"rate": 1}, "b": {"rate": 1}, "gone": {}})
    before = read(policy_record_name=file).policies
    write(file, {"a": {"rate": "x"}, "b": {"rate": 2}})
    result = read(before, policy_record_name=file)
    assert {policy["id"]: policy["rate"] for policy in result.policies.all()} == {"a": 1, "b": 2}


def test_directory_that_cannot_be_listed_keeps_its_policies(tmp_path: Path) -> None:
    place = tmp_path / "policies"
    place.mkdir()
    write(place / "a.json", {"id": "a"})
    before = read(policy_path=place).policies
    place.rename(tmp_path / "moved")
    assert names(read(before, policy_path=place)) == ["a"]
    assert names(read(before, policy_path=tmp_path / "moved")) == ["a"]


def test_policies_of_another_place_do_not_come_back(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
    write(tmp_path / "one" / "a.json", {"id": "old"})
    before = read(policy_path=tmp_path / "one").policies
    write(tmp_path / "two" / "a.json", "{")
    assert names(read(before, policy_path=tmp_path / "two")) == []


def test_file_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    file.touch()
    os.truncate(file, 17 * 1024 * 1024)
    result = read(policy_path=tmp_path)
    assert errors(result) == [(str(file), "")]
    assert "at most" in result.findings[0].message


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), ("x", "x"), ({"$oid": "y"}, "y"), ({"$oid": 7}, ""), ({}, ""), (7, ""), ([], "")]
)
def test_object_ids(value: Any, text: str) -> None:
    assert object_id(value) == text
