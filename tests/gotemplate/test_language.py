"""The template language against Go's own answers, and its bounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.gotemplate import Function, Functions, Limits, Mode, Record, TemplateError, parse

RECORDED = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))
TEXT = st.text(max_size=60)


@pytest.mark.parametrize("mode", ["text", "html"])
def test_go_writes_something_else(mode: Mode) -> None:
    vectors = [(text, out) for kind, text, out in RECORDED["vectors"] if kind == mode]
    assert len(vectors) > 40
    wrong = []
    for text, expected in vectors:
        try:
            found: str | None = parse(text, "t", mode=mode).execute(RECORDED["data"])
        except TemplateError:
            found = None
        if found != expected:
            wrong.append((text, expected, found))
    assert wrong == []


@given(st.text(alphabet="{}}{.-|()\"'$: \nabeifndrgwthx0159", max_size=80))
def test_a_strange_template_raises_something_else(text: str) -> None:
    for mode in ("text", "html", "json"):
        caught: TemplateError | None = None
        try:
            template = parse(text, "t", mode=mode)
            assert isinstance(template.execute({"a": 1}), str)
        except TemplateError as error:
            caught = error
        assert caught is None or str(caught).startswith("t:")
        assert caught is None or caught.place.line >= 1 <= caught.place.column


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{{.A", "t:1:"),
        ("a\nb {{if}}", "t:2:7"),
        ("{{range .A}}", "t:1:1"),
        ("\n\n{{nosuch}}", "t:3:3"),
        ("{{end}}", "t:1:"),
        ('{{template "x"}}', "t:1:3"),
        ("{{.A.B}}", "t:1:3"),
        ("{{index .A 5}}", "t:1:3"),
    ],
)
def test_an_error_does_not_say_where(text: str, place: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(text, "t").execute({"A": "x"})
    assert str(caught.value).startswith(place)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{range 1000000000}}{{end}}", "steps"),
        ('{{define "a"}}{{template "a"}}{{end}}{{template "a"}}', "deep"),
        ("{{range 100000}}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{end}}", "writes more than|steps"),
        ('{{$x := "xxxxxxxxxxxxxxxx"}}{{range 40}}{{$x = print $x $x}}{{end}}', "characters|steps"),
        ('{{printf "%99999999d" 1}}', "width"),
    ],
)
def test_a_template_takes_all_time_or_memory(text: str, said: str) -> None:
    with pytest.raises(TemplateError, match=said):
        parse(text, "t", limits=Limits(output=100_000, steps=50_000, depth=20)).execute({})


def test_a_struct_has_fields_that_it_does_not_have() -> None:
    template = parse("{{.Type}} {{.Meta.Key}}", "t")
    assert template.execute(Record(Type="a", Meta={"Key": "k"})) == "a k"
    assert template.execute(Record(Type="a", Meta={})) == "a <no value>"
    with pytest.raises(TemplateError, match=r"t:1:13: can't evaluate field Key, there is none"):
        template.execute(Record(Type="a", Meta=Record()))


def test_a_function_of_ours_cannot_be_called() -> None:
    functions: Functions = {"twice": Function(lambda value: value * 2, 1, 1)}
    assert parse("{{twice 21}}", functions=functions).execute({}) == "42"
    with pytest.raises(TemplateError, match="wrong number of args"):
        parse("{{twice}}", functions=functions).execute({})


@given(TEXT, TEXT)
def test_a_value_breaks_the_json_around_it(first: str, second: str) -> None:
    data: dict[str, Any] = {"A": first, "B": second, "L": [first, 1, None, True]}
    found = json.loads(parse('{"a": "{{.A}} {{.B}}", "b": {{.B}}, "l": {{.L}}}', mode="json").execute(data))
    assert found == {"a": f"{first} {second}", "b": second, "l": [first, 1, None, True]}
    text = json.loads(parse('{"a": "{{.A}}", "b": "{{.B}}"}', mode="json-text").execute(data))
    assert text == {"a": first, "b": second}
    assert set(json.loads(parse('{"a": "{{.A}}"}', mode="html-json").execute(data))) == {"a"}


@given(TEXT)
def test_a_value_breaks_the_xml_around_it(value: str) -> None:
    tree = ElementTree.fromstring(parse('<a b="{{.}}">{{.}}</a>', mode="xml").execute(value))
    assert tree.tag == "a"
    assert not list(tree)


@given(TEXT)
def test_a_value_leaves_its_place_in_a_page(value: str) -> None:
    page = parse('<p title="{{.}}" id={{.}}>{{.}}</p><a href="{{.}}">x</a><!-- {{.}} --><title>{{.}}</title>', mode="html")
    text = page.execute(value)
    assert text.count("<") == 6
    assert text.count(">") == 6
    assert text.count('"') == 4
    assert "javascript:" not in parse('<a href="{{.}}">', mode="html").execute("javascript:" + value)


@pytest.mark.parametrize("text", ['<a href="', "<!-- ", "<script>", "<p", '<script>{{.}}</script>', "<a onclick='{{.}}'>"])
def test_a_page_ends_or_takes_a_value_in_a_dangerous_place(text: str) -> None:
    with pytest.raises(TemplateError):
        parse(text, "t", mode="html")


def test_a_json_page_ends_inside_of_a_string() -> None:
    with pytest.raises(TemplateError, match="t:1:8: the template ends inside of a JSON string"):
        parse('{"a": "x', "t", mode="json")
