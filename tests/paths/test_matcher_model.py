"""The compiled matcher must say what the plain model says, or a list lets pass what its author closed (tyk-core 2.5)."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from accel.endpoints import FORBIDDEN, KINDS, OPEN, PASS_IGNORED, REPLY, Endpoint, EndpointMatcher, Pattern
from accel.limits import RateWindow
from core.access.versions import endpoint
from core.apidef.compile import Report
from core.apidef.endpoints import EndpointSpec, Rate, endpoints
from core.apidef.options import CompileOptions
from core.apidef.patterns import path_pattern
from tests.paths import model
from tests.paths.model import Entry
from tests.paths.support import no_virtual

METHODS = st.sampled_from(["GET", "POST", "DELETE"])
WORDS = st.sampled_from(["a", "b", "ab", "A", "a.b", "a+", "x(y", "é"])
SEGMENTS = st.one_of(WORDS, st.sampled_from(["{id}", "{a-b}"]))


def joined(parts: list[str], star: bool, slash: bool) -> str:
    """A path of segments, at times with a star at its end."""
    return "/" + "/".join([*parts, *(["*"] if star else [])]) + ("/" if slash and not star else "")


def no_brackets(path: str) -> bool:
    """Brackets and signs of expressions have a meaning in an entry, so those are left to the tests of patterns."""
    return not any(sign in path for sign in ("(", "+", "."))


ENTRY_PATHS = st.builds(joined, st.lists(SEGMENTS, max_size=3), st.booleans(), st.booleans()).filter(no_brackets)
TEXTS = st.builds(joined, st.lists(WORDS, max_size=4), st.just(False), st.booleans())
ENTRIES = st.builds(
    Entry,
    kind=st.sampled_from([*model.ORDER, "internal"]),
    path=ENTRY_PATHS,
    method=st.one_of(st.just(""), METHODS),
    disabled=st.sampled_from([False, False, False, True]),
    ignore_case=st.booleans(),
).filter(lambda entry: entry.kind != "internal" or not entry.ignore_case)
ACTIONS = st.dictionaries(METHODS, st.sampled_from(["no_action", "reply", "unknown"]), min_size=1)
WITH_ACTIONS = st.builds(
    Entry, kind=st.sampled_from(model.ORDER[1:]), path=ENTRY_PATHS, ignore_case=st.booleans(), actions=ACTIONS
)


def no_window(entry: EndpointSpec, limit: Rate) -> RateWindow:
    """There are no rates in these tests."""
    raise AssertionError(entry)


def compiled(entries: list[Entry], options: CompileOptions) -> EndpointMatcher:
    """The matcher that a definition with these entries gets."""
    extended: dict[str, Any] = {}
    for entry in entries:
        extended.setdefault(entry.kind, []).append(entry.document())
    report = Report("model.json")
    specs = endpoints({"use_extended_paths": True, "extended_paths": extended}, "$", options, report, no_virtual)
    assert not report.fatal, report.findings
    return EndpointMatcher(endpoint(spec, no_window) for spec in specs)


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(st.one_of(ENTRIES, WITH_ACTIONS), max_size=6),
    st.lists(st.tuples(METHODS, TEXTS), min_size=1, max_size=6),
    st.sampled_from(["", "/ab", "/a/"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_lists_say_what_the_model_says(
    entries: list[Entry],
    requests: list[tuple[str, str]],
    listen: str,
    looping: bool,
    prefix: bool,
    suffix: bool,
    fold: bool,
) -> None:
    options = CompileOptions(
        enable_path_prefix_matching=prefix, enable_path_suffix_matching=suffix, ignore_endpoint_case=fold
    )
    matcher = compiled(entries, options)
    for method, rest in requests:
        full = listen.rstrip("/") + rest
        verdict = matcher.judge(method.encode(), full.encode(), rest.encode(), rest.encode(), looping)
        expected = model.judge(entries, method, [rest, full], looping, prefix, suffix, fold)
        said = {OPEN: model.OPEN, PASS_IGNORED: model.IGNORED, FORBIDDEN: model.FORBIDDEN}.get(verdict.said)
        if verdict.said == REPLY:
            assert verdict.reply is not None
            said = verdict.reply[2].decode()
        assert said == expected, (method, full, rest)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(ENTRY_PATHS, METHODS), min_size=1, max_size=6), METHODS, TEXTS, st.sampled_from(KINDS))
def test_find_gives_the_first_entry_of_its_kind(
    entries: list[tuple[str, str]], method: str, text: str, kind: str
) -> None:
    other = KINDS[(KINDS.index(kind) + 1) % len(KINDS)]
    built = [Endpoint(other, b"", None, "of another kind")]
    for number, (path, verb) in enumerate(entries):
        built.append(Endpoint(kind, path_pattern(path, CompileOptions(), False).encode(), [verb.encode()], number))
    expected = [
        number
        for number, (path, verb) in enumerate(entries)
        if verb == method and model.meets(Entry(kind, path), [text, "/other" + text], False, False, False)
    ]
    found = EndpointMatcher(built).find(kind, method.encode(), [text.encode(), b"/other" + text.encode()])
    assert found == (expected[0] if expected else None)


@settings(max_examples=500, deadline=None)
@given(st.text("ab/.^$\\", max_size=6).filter(lambda t: not t.endswith("\\")), st.booleans(), st.booleans(), TEXTS)
def test_plain_text_is_looked_for_as_the_expression_would_be(text: str, start: bool, end: bool, path: str) -> None:
    source = ("^" if start else "") + re.escape(text) + ("\\Z" if end else "")
    assert Pattern(source.encode()).search(path.encode()) == bool(re.search(source.encode(), path.encode()))


def test_tracked_path_is_the_one_of_the_entry_that_the_request_meets() -> None:
    matcher = EndpointMatcher(
        [
            Endpoint("track_endpoints", b"/users/([^/]+)", [b"GET"], path=b"/users/{id}"),
            Endpoint("do_not_track_endpoints", b"/health", [b"GET"], path=b"/health"),
        ]
    )
    verdict = matcher.judge(b"GET", b"/api/users/7", b"/users/7", b"/users/7")
    assert (verdict.said, verdict.tracked, verdict.untracked) == (OPEN, b"/users/{id}", False)
    verdict = matcher.judge(b"GET", b"/api/health", b"/health", b"/health")
    assert (verdict.said, verdict.tracked, verdict.untracked) == (OPEN, None, True)
    verdict = matcher.judge(b"POST", b"/users/health/x", b"/health/x", b"/health/x")
    assert (verdict.tracked, verdict.untracked) == (None, False), "neither another method nor the listen path counts"
