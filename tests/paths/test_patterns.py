"""An expression written for Go must not match less here: a black list would open, or an allowed URL close."""

from __future__ import annotations

import re

import pytest

from accel.endpoints import Pattern
from core.apidef.compile import Report
from core.apidef.endpoints import endpoints
from core.apidef.options import CompileOptions
from core.apidef.patterns import path_pattern, translated
from tests.paths.support import no_virtual

PLAIN = CompileOptions()
STRICT = CompileOptions(enable_path_prefix_matching=True, enable_path_suffix_matching=True)


def matches(path: str, text: str, options: CompileOptions = PLAIN, *, fold: bool = False) -> bool:
    return Pattern(path_pattern(path, options, fold).encode()).search(text.encode())


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("/a$", "/a", True),
        ("/a$", "/a\n", False),
        (r"/a\$", "/a$b", True),
        ("/[$]", "/$x", True),
        ("/[]$]b", "/$b", True),
        (r"/a\z", "/b/a", True),
        ("/a/*", "/a/\n", True),
        ("^/a.c$", "/a\nc", True),
        ("/{id}/x", "/7/x", True),
        ("/{id}/x", "/7/8/x", True),
        ("^/{id}/x$", "/7/8/x", False),
        ("/[0-9]{3}$", "/12", False),
        ("/[0-9]{3}$", "/123", True),
        ("(?i)/Admin", "/aDMIN", True),
        ("(?i:/Admin)/x", "/aDMIN/X", False),
        ("/é", "/é", True),
        ("/a|/b", "/b", True),
    ],
)
def test_go_expression_keeps_its_meaning(path: str, text: str, expected: bool) -> None:
    assert matches(path, text) is expected


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("/a/*", "/a/b\nc", True),
        ("/a/*", "/x/a/b", False),
        ("/a/{id}", "/a/b\nc", True),
        ("/a/{id}", "/a/b/c", False),
        ("/a", "/a\n", False),
        ("a", "/b/a", True),
    ],
)
def test_strict_options_anchor_both_ends(path: str, text: str, expected: bool) -> None:
    assert matches(path, text, STRICT) is expected


def test_case_is_folded_for_the_whole_path() -> None:
    assert matches("/Admin/[a-z]+$", "/aDmIn/XYZ", fold=True)
    assert not matches("/Admin/[a-z]+$", "/admin/XYZ")


@pytest.mark.parametrize(
    "path",
    ["/(?!a)", "/(?<=a)b", r"/(a)\1", "/(?P<x>a)(?P=x)", "/a++", "/(?>a)", "/(a", "/[a", r"/\pL", "/[[:alpha:]]", "/[é]",
     "(?m)^/a$", "/(?m:a$)", "/(?U)a+", "/x**", "/" + "(" * 500, "/(a{1000}){1000}"],
)  # fmt: skip
def test_expression_that_go_has_not_or_reads_otherwise_is_refused(path: str) -> None:
    with pytest.raises(re.error):
        translated(path)


def test_path_that_does_not_compile_is_an_error_of_the_definition() -> None:
    report = Report("a.json")
    info = {"use_extended_paths": True, "extended_paths": {"black_list": [{"path": "/ok"}, {"path": "/(", "method": "GET"}]}}
    endpoints(info, "$.v", PLAIN, report, no_virtual)
    assert report.fatal
    (finding,) = report.findings
    assert (finding.path, finding.severity) == ("$.v.extended_paths.black_list[1].path", "error")


def test_entry_without_a_method_that_needs_one_is_pointed_out_and_left_out() -> None:
    report = Report("a.json")
    info = {"use_extended_paths": True, "extended_paths": {"internal": [{"path": "/x"}], "mock_response": [{"path": "/y"}]}}
    assert endpoints(info, "$.v", PLAIN, report, no_virtual) == ()
    assert [finding.path for finding in report.findings] == [
        "$.v.extended_paths.mock_response[0].method", "$.v.extended_paths.internal[0].method"
    ]  # fmt: skip
