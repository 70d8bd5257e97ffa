"""The router against a model that tries every route in Tyk's order (tyk-core 3.2)."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from accel.router import Route, Router

SEGMENTS = st.sampled_from(["a", "b", "ab", "abc", "a1", "x"])
PATHS = st.lists(SEGMENTS, max_size=4).flatmap(
    lambda parts: st.sampled_from(["/" + "/".join(parts), "/" + "/".join(parts) + ("/" if parts else "")])
)


def model(routes: list[tuple[str, bool]], path: str) -> str | None:
    """The longest listen path that is a prefix; a strict one only at a segment's end."""
    for prefix, strict in sorted(routes, key=lambda r: -len(r[0])):
        if not path.startswith(prefix):
            continue
        if strict and not prefix.endswith("/") and path[len(prefix) : len(prefix) + 1] not in ("", "/"):
            continue
        return prefix
    return None


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(PATHS, st.booleans()), unique_by=lambda r: r[0], max_size=12), st.lists(PATHS, min_size=1))
def test_longest_listen_path_wins_as_in_the_model(routes: list[tuple[str, bool]], paths: list[str]) -> None:
    router = Router((None, Route(p.encode(), p, None, -1, strict)) for p, strict in routes)
    for path in paths:
        found = router.lookup(b"", path.encode())
        assert (found[0].plan if found else None) == model(routes, path)


def test_a_domain_goes_before_a_longer_path_of_no_domain() -> None:
    router = Router(
        [
            (b"one.test", Route(b"/", "domain")),
            (re.compile(rb"[a-z]+\.wild\.test"), Route(b"/w/", "pattern")),
            (None, Route(b"/a/b/", "plain")),
        ]
    )
    assert [
        found[0].plan if (found := router.lookup(host, path)) else None
        for host, path in (
            (b"one.test", b"/a/b/c"), (b"two.test", b"/a/b/c"), (b"x.wild.test", b"/w/1"), (b"x.wild.test", b"/a/b/c"),
            (b"9.wild.test", b"/w/1"),
        )
    ] == ["domain", "plain", "pattern", "plain", None]  # fmt: skip


def test_ten_thousand_listen_paths_are_all_found() -> None:
    names = [f"/api{n:05d}/" for n in range(10_000)]
    router = Router((None, Route(name.encode(), name)) for name in names)
    assert router.size == 10_000
    assert all(router.lookup(b"", f"{name}x".encode())[0].plan == name for name in names)  # type: ignore[index]
    assert router.lookup(b"", b"/api99999/x") is None


def test_a_variable_is_stripped_with_what_it_matched() -> None:
    router = Router([(None, Route(b"/v/", "var", re.compile(rb"/v/(?P<n>[^/]+)/"), 5))])
    found = router.lookup(b"", b"/v/abc/rest")
    assert found is not None
    assert found[1] == len(b"/v/abc/")
    assert router.lookup(b"", b"/v/") is None
