"""The quick way of editing requests does what the careful one does, or nothing (accel.edits, core.edits)."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accel.headers import canonical
from accel.http1 import Exchange, PyStep
from core.edits.headers import edit_request, request_editor
from core.edits.query import changed
from jsvm_pool.decoding import ResultError
from tests.support.datapath import DataPath

EDITOR = request_editor(canonical)
HEADERS = ("X-A: 1", "x-a: 2", "X-B: 3", "Cookie: c=d")
NAMES = st.one_of(
    st.sampled_from(["X-A", "x-a", "X-B", "Host", "connection", "cookie", "", "A b", "\u00e9", "X\ud800", "Content-Length"]),
    st.text(max_size=6),
)
VALUES = st.one_of(st.sampled_from(["", " v ", "\tv", "a\r\nX-C: 1", "\x7f", "\u00fc", "\ud800"]), st.text(max_size=6))
QUERIES = st.one_of(
    st.sampled_from([b"", b"a=1", b"a=1&a=2&b", b"%zz=1", b"a=1;b=2", b"x=%C3%BC+y", b"&&"]),
    st.text("ab=&%2;+", max_size=12).map(str.encode),
)


def outcome(path: DataPath, edit: object) -> list[tuple[bytes, bytes]] | str:
    """The fields of a request afterwards, or what was wrong."""
    found: list[list[tuple[bytes, bytes]] | str] = []

    def step(x: Exchange) -> None:
        before = list(x.req.items())
        try:
            edit(x)  # type: ignore[operator]
        except ResultError as error:
            assert list(x.req.items()) == before
            found.append(str(error))
        else:
            found.append(list(x.req.items()))

    path.plan(PyStep(step))
    assert path.fetch("/api/x", *HEADERS).status == 200
    return found[0]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(put=st.dictionaries(NAMES, VALUES, max_size=4), delete=st.lists(NAMES, max_size=3))
def test_header_edits_are_the_same_either_way(path: DataPath, put: dict[str, str], delete: list[str]) -> None:
    def careful(x: Exchange) -> None:
        edit_request(x, delete, put, canonical, "set_headers")

    def quick(x: Exchange) -> None:
        before = list(x.req.items())
        if not EDITOR.headers(x, put.items(), delete):
            assert list(x.req.items()) == before
            careful(x)

    assert outcome(path, quick) == outcome(path, careful)


@settings(max_examples=300, deadline=None)
@given(query=QUERIES, delete=st.lists(NAMES, max_size=2), add=st.dictionaries(NAMES, VALUES, max_size=3))
def test_query_edits_are_the_same_either_way(query: bytes, delete: list[str], add: dict[str, str]) -> None:
    assert EDITOR.query(query, delete, add) == changed(query, delete, add, {})


def test_plain_edits_are_made_the_quick_way(path: DataPath) -> None:
    done: list[bool] = []
    path.plan(PyStep(lambda x: done.append(EDITOR.headers(x, [("X-New", "1")], ["X-A"]))))
    assert path.fetch("/api/x", *HEADERS).status == 200
    assert done == [True]


def test_more_headers_than_a_hook_may_set_are_left_to_be_refused(path: DataPath) -> None:
    done: list[bool] = []
    many = [(f"X-{number}", "v") for number in range(1001)]
    path.plan(PyStep(lambda x: done.append(EDITOR.headers(x, many, []))))
    assert path.fetch("/api/x", *HEADERS).status == 200
    assert done == [False]
