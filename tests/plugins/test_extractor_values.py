"""What ID extractors make of requests: no two clients become one, and no text that a client chose costs more than its size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.http1 import Exchange, PyStep
from core.access.custom_keys import Extraction
from core.apidef.extractors import ExtractorSpec, _pattern
from core.apidef.xpath import parse
from core.plugins.extractor import Extractor
from core.plugins.extractor_xml import MOST_LEVELS, first
from tests.support.datapath import DataPath
from tests.support.upstream import Upstream

FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def path(upstream: Upstream) -> Iterator[DataPath]:
    with DataPath(upstream) as found:
        yield found


class Request:
    """Sends one request and says what an extractor makes of it."""

    def __init__(self, path: DataPath) -> None:
        self.path = path
        self.most = 1000
        self.counts = Extraction()
        self.extractor: Extractor

    def __call__(
        self, spec: ExtractorSpec, target: str = "/api/x", *lines: str, method: str = "GET", body: bytes = b""
    ) -> bytes:
        values: list[bytes] = []
        self.extractor = Extractor(spec, lambda: self.most, self.counts)

        def look(x: Exchange) -> None:
            values.append(self.extractor(x))

        self.path.plan(PyStep(look, whole_body=True))
        head = [f"{method} {target} HTTP/1.1", "Host: g", *lines, f"Content-Length: {len(body)}", "", ""]
        with self.path.connect() as client:
            client.send("\r\n".join(head).encode("latin-1") + body)
            assert client.read().status == 200
        (value,) = values
        return value


@pytest.fixture
def ask(path: DataPath) -> Request:
    return Request(path)


def regex(expression: str, index: int = 0, source: str = "body") -> ExtractorSpec:
    return ExtractorSpec(source, "regex", "id", _pattern(expression), index)


def xpath(expression: str, source: str = "body") -> ExtractorSpec:
    return ExtractorSpec(source, "xpath", "id", path=parse(expression))


HEADER = ExtractorSpec("header", "value", "X-Id")
FORM_VALUE = ExtractorSpec("form", "value", "id")
QUERY = ExtractorSpec("querystring", "value", "id")


def test_a_header_gives_its_first_value(ask: Request) -> None:
    assert ask(HEADER, "/api/x", "X-Id: one", "X-Id: two") == b"one"
    assert ask(HEADER, "/api/x", "x-id: caf\xe9") == b"caf\xe9"
    assert ask(HEADER, "/api/x", "X-Id:") == b""
    assert ask(HEADER) == b""


def test_a_query_gives_clients_their_own_identities(ask: Request) -> None:
    assert ask(QUERY, "/api/x?a=1&id=one") == b"one"
    assert ask(QUERY, "/api/x?id=a%20b+c") == b"a b c"
    assert [ask(QUERY, target) for target in ("/api/x", "/api/x?id=", "/api/x?ID=one", "/api/x?id=%zz")] == [b""] * 4
    assert ask(QUERY, "/api/x?id=%ff%00") == b"\xff\x00"


def test_a_body_gives_clients_their_own_identities(ask: Request) -> None:
    spec = ExtractorSpec("body", "value")
    assert ask(spec, method="POST", body=b"one") == b"one"
    assert ask(spec, method="POST", body=b"x" * 5000) == b"x" * 5000
    assert ask(spec) == b""


def test_a_form_is_body_and_query_of_methods_that_have_one(ask: Request) -> None:
    assert ask(FORM_VALUE, "/api/x?id=query") == b"query"
    assert ask(FORM_VALUE, "/api/x?a=1", FORM, method="POST", body=b"b=2&id=body") == b"body"
    assert ask(FORM_VALUE, "/api/x", f"{FORM}; charset=utf-8", method="PUT", body=b"id=body") == b"body"
    assert ask(FORM_VALUE, "/api/x", FORM, method="DELETE", body=b"id=body") == b""
    assert ask(FORM_VALUE, "/api/x", "Content-Type: text/plain", method="POST", body=b"id=body") == b""


@pytest.mark.parametrize(
    ("target", "body"),
    [("/api/x?id=1", b"id=23"), ("/api/x", b"id=1&id=23"), ("/api/x?id=123&id=", b""), ("/api/x?id=1&id=1", b"")],
)
def test_a_value_that_is_given_twice_is_nobodys_identity(ask: Request, target: str, body: bytes) -> None:
    assert ask(FORM_VALUE, target, FORM, method="POST", body=body) == b""


def test_a_form_over_the_bound_has_no_value(ask: Request) -> None:
    assert ask(FORM_VALUE, "/api/x", FORM, method="POST", body=b"id=1&" + b"&" * 1000) == b""
    assert ask.counts.too_large == 1


def test_expressions_are_not_applied_to_more_than_the_bound(ask: Request) -> None:
    assert ask(regex("a+"), method="POST", body=b"a" * 1000) == b"a" * 1000
    assert ask(regex("a+"), method="POST", body=b"a" * 1001) == b""
    assert ask(xpath("/a"), method="POST", body=b"<a>" + b"x" * 1000 + b"</a>") == b""
    assert ask.counts.too_large == 2


def test_an_extractor_with_a_problem_finds_nothing(ask: Request) -> None:
    assert ask(ExtractorSpec("header", "value", "X-Id", problem="it is broken"), "/api/x", "X-Id: one") == b""


@pytest.mark.parametrize(
    ("expression", "index", "text", "found"),
    [
        ("prefix-(.*)", 0, "a prefix-12 b", "prefix-12 b"),
        ("[0-9]+", 0, "ab12cd345", "12"),
        ("[0-9]+", 1, "ab12cd345", "345"),
        ("[0-9]+", 2, "ab12cd345", ""),
        ("^a", 0, "aa", "a"),
        ("^a", 1, "aa", ""),
        (r"\ba", 1, "aa a", "a"),
        ("a*", 0, "baac", ""),
        ("a*", 1, "baac", "aa"),
        ("a*", 2, "baac", ""),
        ("a|ab", 0, "ab", "a"),
        ("a+?", 0, "aaa", "a"),
        ("(?s)a.c", 0, "a\nc", "a\nc"),
        ("a.c", 0, "a\nc", ""),
        ("a.c", 0, "aéc", "aéc"),
        ("^.{3}", 0, "éàüö", "éàü"),
        ("^[^x]{2}", 0, "éàüö", "éà"),
        (r"^\D{2}", 0, "éàüö", "éà"),
        (".{3}$", 0, "éà", ""),
        ("é+", 0, "aéé", "éé"),
        ("(?i)KEY", 0, "a key", "key"),
        ("a$", 0, "a\n", ""),
    ],
)
def test_matches_are_those_of_go(ask: Request, expression: str, index: int, text: str, found: str) -> None:
    assert ask(regex(expression, index), method="POST", body=text.encode()) == found.encode()


def test_bytes_that_are_no_text_are_no_characters(ask: Request) -> None:
    assert ask(regex("^.+"), method="POST", body=b"\xff\xfe1") == b""
    assert ask(regex("[0-9]+"), method="POST", body=b"\xff12\xfe") == b"12"


def test_expressions_work_on_headers_and_parameters_too(ask: Request) -> None:
    assert ask(regex("[0-9]+", source="querystring"), "/api/x?id=a12b") == b"12"
    assert ask(regex("[0-9]+", source="form"), "/api/x", FORM, method="POST", body=b"id=a12b") == b"12"
    assert ask(ExtractorSpec("header", "regex", "X-Id", _pattern("[0-9]+")), "/api/x", "X-Id: k34") == b"34"
    assert ask(xpath("//k", "querystring"), "/api/x?id=%3Ca%3E%3Ck%3Ev%3C/k%3E%3C/a%3E") == b"v"


@pytest.mark.parametrize("expression", ["(a+)+$", "(a|aa)+$", "(a|a?)+$", "(.*a){12}$", "((a*)*)*b"])
def test_a_text_that_makes_backtracking_explode_is_searched_all_the_same(ask: Request, expression: str) -> None:
    ask.most = 40_000
    text = b"a" * 32_000 + b"!"
    assert ask(regex(expression), method="POST", body=text) == b""


@given(
    st.text("aé\n1", max_size=30),
    st.sampled_from(["a+", ".", "[^a]", r"a|.1", "(?:a1)*", r"1?\b", ".*?1", "^a|1$"]),
    st.integers(0, 4),
)
def test_numbers_of_matches_agree_with_a_search_of_texts(text: str, expression: str, index: int) -> None:
    # Python numbers empty matches as Go does but for those right behind another match.
    matches: list[re.Match[str]] = []
    for match in re.compile(expression.replace("$", r"\Z"), re.ASCII).finditer(text):
        if match.start() != match.end() or not matches or matches[-1].end() != match.start():
            matches.append(match)
    extractor = Extractor(regex(expression, index), lambda: 1000, Extraction())
    expected = matches[index][0] if index < len(matches) else ""
    assert extractor._match(text.encode()).decode() == expected


@pytest.mark.parametrize(
    ("expression", "document", "found"),
    [
        ("//object/key", "<r><object><key>v1</key></object><object><key>v2</key></object></r>", "v1"),
        ("/r/a", "<r><b><a>x</a></b><a>y</a></r>", "y"),
        ("r/a", "<r><a>y</a></r>", "y"),
        ("/a", "<r><a>y</a></r>", None),
        ("//r", "<r>root</r>", "root"),
        ("/r/*[2]", "<r><a>1</a><b>2</b></r>", "2"),
        ("//a[2]", "<r><b><a>1</a></b><b><a>2</a><a>3</a></b></r>", "3"),
        ("//a[last()]", "<r><a>1</a><a>2</a></r>", "2"),
        ("//a[@id='2']", "<r><a id='1'>x</a><a id='2'>y</a></r>", "y"),
        ("//a[@id]", "<r><a>x</a><a id=''>y</a></r>", "y"),
        ("//u[n='b']/k", "<r><u><n>a</n><k>1</k></u><u><n>b</n><k>2</k></u></r>", "2"),
        ("//u[.='b']", "<r><u>a</u><u>b</u></r>", "b"),
        ("//u[text()='b']", "<r><u>a</u><u><i>x</i>b</u></r>", "xb"),
        ("//u/text()", "<r><u><i>x</i>own<i/>more</u></r>", "own"),
        ("//u//text()", "<r><u><i>x</i>own</u></r>", "x"),
        ("//u/@id", "<r><u/><u id='7'/></r>", "7"),
        ("//@id", "<r><u id='7'/></r>", "7"),
        ("//a//b", "<r><a><c><b>deep</b></c></a></r>", "deep"),
        ("//b", "<r><a><b>first</b></a><b>second</b></r>", "first"),
        ("//s:a", "<r xmlns:t='urn:x'><t:a>y</t:a></r>", "y"),
        ("//a", "<r><a>x<b>y</b>z</a></r>", "xyz"),
        ("//a", "<r><a>&amp;&#65;<![CDATA[<]]></a></r>", "&A<"),
        ("//a", "<r><a></a></r>", ""),
    ],
)
def test_paths_lead_where_xpath_says(expression: str, document: str, found: str | None) -> None:
    assert first(document.encode(), parse(expression)) == found


BOMB = '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><r><a>&b;</a></r>'
OUTSIDE = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r><a>&x;</a></r>'


@pytest.mark.parametrize(
    "document",
    [
        BOMB, OUTSIDE, "<!DOCTYPE r><r><a>v</a></r>", '<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd"><r><a>v</a></r>',
        "<r><a>&unknown;</a></r>", "<r><a>v</a>", "<r><a>v</b></r>", "", "not xml", "<r><a>v</a></r><r/>",
        "<r><a>v\x00</a></r>",
        "<?xml version='1.0' encoding='no-such'?><r><a>v</a></r>",
        "<d>" * MOST_LEVELS + "<a>v</a>" + "</d>" * MOST_LEVELS,
    ],
)  # fmt: skip
def test_xml_that_is_not_read_gives_nothing(document: str) -> None:
    assert first(document.encode(), parse("//a")) is None


def test_xml_of_other_encodings_and_broken_bytes(ask: Request) -> None:
    assert first(b"<r><a>\xff\xfe</a></r>", parse("//a")) is None
    assert first("<?xml version='1.0' encoding='iso-8859-1'?><r><a>é</a></r>".encode("latin-1"), parse("//a")) == "é"
    assert ask(xpath("//a"), method="POST", body="<r><a>é</a></r>".encode()) == "é".encode()


def test_levels_up_to_the_bound_are_read() -> None:
    document = "<d>" * (MOST_LEVELS - 1) + "<a>v</a>" + "</d>" * (MOST_LEVELS - 1)
    assert first(document.encode(), parse("//d//d//d//a")) == "v"


def test_a_wide_document_is_searched_once_for_each_step() -> None:
    document = b"<r>" + (b"<a>" * 50 + b"</a>" * 50) * 90 + b"</r>"
    steps: Any = "//a" * 20
    assert first(document, parse(f"{steps}//b")) is None
