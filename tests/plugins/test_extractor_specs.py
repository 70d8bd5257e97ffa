"""ID extractors in definitions: what cannot extract is said with its field, and opens nothing."""

from __future__ import annotations

from typing import Any

import pytest

from core.apidef.compile import compile_definition
from core.apidef.extractors import CustomAuthSpec, ExtractorSpec
from core.apidef.options import CompileOptions
from core.apidef.xpath import LONGEST, MOST_STEPS, XPathError, parse
from core.findings import Finding
from tests.support.gateway import api

Json = dict[str, Any]


def compiled(extractor: Json, **more: Any) -> tuple[CustomAuthSpec | None, list[Finding]]:
    section = {"driver": "otto", "auth_check": {"name": "mw", "path": "mw.js"}, "id_extractor": extractor}
    base: Json = {"use_keyless": False, "custom_plugin_auth_enabled": True, "custom_middleware": section}
    spec, findings = compile_definition(api("a", "/a/", "http://127.0.0.1:1/", **{**base, **more}), "a.json", CompileOptions())
    assert spec is not None, findings
    return spec.custom_auth, [finding for finding in findings if "id_extractor" in finding.path]


def extractor(source: str = "header", kind: str = "value", **config: Any) -> Json:
    return {"extract_from": source, "extract_with": kind, "extractor_config": config}


def read(section: Json) -> ExtractorSpec:
    auth, findings = compiled(section)
    assert findings == []
    assert auth is not None
    assert auth.extractor is not None
    assert not auth.extractor.problem
    return auth.extractor


def test_what_a_definition_says_is_read() -> None:
    assert read(extractor(header_name="X-Id")) == ExtractorSpec("header", "value", "X-Id")
    assert read(extractor("form", param_name="id")) == ExtractorSpec("form", "value", "id")
    assert read(extractor("querystring", param_name="id")) == ExtractorSpec("querystring", "value", "id")
    assert read(extractor("body")) == ExtractorSpec("body", "value")
    found = read(extractor("body", "regex", regex_expression="id=([0-9]+)", regex_match_index=2.0))
    assert (found.pattern, found.index) == (b"id=([0-9]+)", 2)
    assert read(extractor("body", "xpath", xpath_expression="//object/key")).path == parse("//object/key")


@pytest.mark.parametrize("section", [{}, {"disabled": True, **extractor()}, {"extractor_config": {"header_name": "X"}}])
def test_without_an_extractor_the_plugin_is_asked_about_every_request(section: Json) -> None:
    auth, findings = compiled(section)
    assert auth is not None
    assert (auth.extractor, findings) == (None, [])


def test_an_unknown_kind_is_an_error_and_the_plugin_is_asked_about_every_request() -> None:
    auth, (finding,) = compiled(extractor(kind="jsonpath", header_name="X-Id"))
    assert auth is not None
    assert auth.extractor is None
    assert (finding.severity, finding.file) == ("error", "a.json")
    assert finding.path == "$.custom_middleware.id_extractor.extract_with"
    assert "'jsonpath' is not a kind of extractor" in finding.message


@pytest.mark.parametrize(
    ("section", "field"),
    [
        (extractor("cookie", param_name="id"), "extract_from"),
        (extractor(""), "extract_from"),
        (extractor(), "extractor_config.header_name"),
        (extractor(header_name=5), "extractor_config.header_name"),
        (extractor(header_name=""), "extractor_config.header_name"),
        (extractor("form"), "extractor_config.param_name"),
        (extractor("querystring", header_name="X"), "extractor_config.param_name"),
        (extractor("body", "regex"), "extractor_config.regex_expression"),
        (extractor("body", "regex", regex_expression="("), "extractor_config.regex_expression"),
        (extractor("body", "regex", regex_expression="(?=a)"), "extractor_config.regex_expression"),
        (extractor("body", "regex", regex_expression=r"(a)\1"), "extractor_config.regex_expression"),
        (extractor("body", "regex", regex_expression="a{9999}"), "extractor_config.regex_expression"),
        (extractor("body", "regex", regex_expression="a", regex_match_index=-1), "extractor_config.regex_match_index"),
        (extractor("body", "regex", regex_expression="a", regex_match_index=16), "extractor_config.regex_match_index"),
        (extractor("body", "regex", regex_expression="a", regex_match_index=1.5), "extractor_config.regex_match_index"),
        (extractor("body", "regex", regex_expression="a", regex_match_index="1"), "extractor_config.regex_match_index"),
        (extractor("body", "xpath"), "extractor_config.xpath_expression"),
        (extractor("body", "xpath", xpath_expression="count(//a)"), "extractor_config.xpath_expression"),
    ],
)
def test_an_extractor_that_cannot_work_names_its_field(section: Json, field: str) -> None:
    auth, (finding,) = compiled(section)
    assert auth is not None
    assert auth.extractor is not None
    assert auth.extractor.problem
    assert (finding.severity, finding.file) == ("error", "a.json")
    assert finding.path == f"$.custom_middleware.id_extractor.{field}"
    assert "every request is answered with 400" in finding.message


@pytest.mark.parametrize(
    "expression",
    [
        # Each of them would find something else than in Go, and so might take two clients for one.
        "(?s:id=.*)", "(?m)^id=.*$", "a(?s).", "(?-s:.)", "(?U)a+", "(?x)a b", "(?#c)a", r"[^\W]+", r"[\D]",
        r"\xe9+", r"[\xe9]", r"\351", r"\é+", "[é-ü]", "[^é]", "[[:alpha:]]", "(?i)é", "(?i:a)é", r"\pL", r"\Qa.c\E",
    ],
)  # fmt: skip
def test_an_expression_that_would_mean_something_else_than_in_go_is_refused(expression: str) -> None:
    auth, (finding,) = compiled(extractor("body", "regex", regex_expression=expression))
    assert auth is not None
    assert auth.extractor is not None
    assert auth.extractor.problem
    assert finding.path == "$.custom_middleware.id_extractor.extractor_config.regex_expression"
    assert finding.message.startswith("it does not compile: ")


def test_custom_authentication_is_only_where_it_was_asked_for() -> None:
    assert compiled(extractor(header_name="X"), use_keyless=True)[0] is None
    assert compiled(extractor(header_name="X"), custom_plugin_auth_enabled=False)[0] is None
    auth, _ = compiled(
        {}, session_lifetime=30, session_lifetime_respects_key_expiration=True, base_identity_provided_by="auth_token",
        auth_configs={"coprocess": {"auth_header_name": "X-Key"}},
    )  # fmt: skip
    assert auth is not None
    assert (auth.lifetime, auth.respects_expiration, auth.gives_identity) == (30, True, False)
    assert (auth.credential.header, auth.credential.param) == ("X-Key", "")


@pytest.mark.parametrize(
    "text", ["/a/b", "a/b", "//a", "a//b[2]", "a[@id='x']/text()", "//@id", "*[last()]", "a[b='1'][@c]", "s:a"]
)
def test_expressions_of_the_subset_are_taken(text: str) -> None:
    found = parse(text)
    assert found.steps or found.deep


@pytest.mark.parametrize(
    "text",
    [
        "", "  ", "/", "//", "a/", "a[", "a[]", "a[0]", "a[b>1]", "a[position()=1]", "a|b", "..", "a/..", "ancestor::a",
        "count(a)", "text()", "@id", "a/text()/b", "a/@id/b", "a[contains(b,'x')]", "$v",
        "a[text()]", "a['b']", "id('x')", "a b",
        "/a" * (MOST_STEPS + 1), "a" * (LONGEST + 1),
    ],
)  # fmt: skip
def test_other_expressions_are_refused_when_they_are_read(text: str) -> None:
    with pytest.raises(XPathError, match=r"expect|support"):
        parse(text)
