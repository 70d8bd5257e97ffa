"""What ID extractors make of requests: no two clients become one, and no text that a client chose costs more than its size."""

from __future__ import annotations

import re
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

FORM = "Content-Type: application/x-www-form-urlencoded"


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
BODY = ExtractorSpec("body", "value")
X = "/api/x"
ELEMENT = "/api/x?id=%3Ca%3E%3Ck%3Ev%3C/k%3E%3C/a%3E"
MULTIPART = "Content-Type: multipart/form-data; boundary=B"
PART = b'--B\r\nContent-Disposition: form-data; name="id"\r\n\r\nbody\r\n--B--\r\n'


@pytest.mark.parametrize(
    ("spec", "target", "line", "method", "body", "found"),
    [
        (HEADER, X, "x-id: caf\xe9", "GET", b"", b"caf\xe9"),
        (HEADER, X, "X-Id: one\r\nX-Id: two", "GET", b"", b"one"),  # as plugins see it
        (HEADER, X, "X-Id:", "GET", b"", b""),
        (HEADER, X, "X-Idd: one", "GET", b"", b""),
        (QUERY, "/api/x?a=1&id=one", "", "GET", b"", b"one"),
        (QUERY, "/api/x?id=a%20b+c", "", "GET", b"", b"a b c"),
        (QUERY, "/api/x?id=%ff%00", "", "GET", b"", b"\xff\x00"),
        (QUERY, X, "", "GET", b"", b""),
        (QUERY, "/api/x?id=", "", "GET", b"", b""),
        (QUERY, "/api/x?ID=one", "", "GET", b"", b""),
        (QUERY, "/api/x?id=%zz", "", "GET", b"", b""),
        (QUERY, X, FORM, "POST", b"id=body", b""),
        (BODY, X, "", "POST", b"one", b"one"),
        (BODY, X, "", "POST", b"x" * 5000, b"x" * 5000),
        (BODY, X, "", "GET", b"", b""),
        (FORM_VALUE, "/api/x?id=query", "", "GET", b"", b"query"),
        (FORM_VALUE, "/api/x?a=1", FORM, "POST", b"b=2&id=body", b"body"),
        (FORM_VALUE, X, f"{FORM}; charset=utf-8", "PUT", b"id=body", b"body"),
        (FORM_VALUE, X, FORM.upper(), "PATCH", b"id=body", b"body"),
        (FORM_VALUE, X, FORM, "DELETE", b"id=body", b""),
        (FORM_VALUE, X, "Content-Type: text/plain", "POST", b"id=body", b""),
        (FORM_VALUE, X, "", "POST", b"id=body", b""),
        (FORM_VALUE, X, MULTIPART, "POST", PART, b""),  # as Request.ParseForm in Go
        # What is given twice is nobody's identity.
        (FORM_VALUE, "/api/x?id=1", FORM, "POST", b"id=23", b""),
        (FORM_VALUE, "/api/x?id=1", FORM, "POST", b"id=1", b""),
        (FORM_VALUE, X, FORM, "POST", b"id=1&id=23", b""),
        (FORM_VALUE, "/api/x?id=123&id=", "", "GET", b"", b""),
        (QUERY, "/api/x?id=1&id=1", "", "GET", b"", b""),
        (QUERY, "/api/x?id=1&%69d=2", "", "GET", b"", b""),
        # Expressions work on all of these.
        (regex("[0-9]+", source="querystring"), "/api/x?id=a12b", "", "GET", b"", b"12"),
        (regex("[0-9]+", source="form"), X, FORM, "POST", b"id=a12b", b"12"),
        (ExtractorSpec("header", "regex", "X-Id", _pattern("[0-9]+")), X, "X-Id: k34", "GET", b"", b"34"),
        (xpath("//k", "querystring"), ELEMENT, "", "GET", b"", b"v"),
        (xpath("//k", "form"), ELEMENT, "", "GET", b"", b"v"),
        (xpath("//k"), X, "", "POST", b"<a><k>v</k></a>", b"v"),
        (xpath("//k"), X, "", "POST", b"<a><k></k></a>", b""),
        (regex("[0-9]+"), X, "", "POST", b"\xff12\xfe", b"12"),
        (regex("^.+"), X, "", "POST", b"\xff\xfe1", b""),  # bytes that are no text are no characters
    ],
)
def test_a_value_is_that_of_the_one_place(
    ask: Request, spec: ExtractorSpec, target: str, line: str, method: str, body: bytes, found: bytes
) -> None:
    assert ask(spec, target, *([line] if line else []), method=method, body=body) == found


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
        (r"\S+", 0, "a\vb c", "a\vb"),       # Go has no vertical tab among the spaces
        (r"\s+", 0, "\v \t", " \t"),
        (r"[^\s]+", 0, "a\vb c", "a\vb"),
        (r"[\s_]+", 0, "a\v_ ", "_ "),
        (r"[a&&b[|~]+", 0, "x~a&|b[", "~a&|b["),
        (r"\x61\142", 0, "ab", "ab"),
        ("(?i:K)ey", 0, "kEy key", "key"),
        (r"a\(?b", 0, "a(b", "a(b"),
    ],
)
def test_matches_are_those_of_go(ask: Request, expression: str, index: int, text: str, found: str) -> None:
    assert ask(regex(expression, index), method="POST", body=text.encode()) == found.encode()


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
