"""What definitions say about the cache: what is taken, and what is said about the rest."""

from __future__ import annotations

import json

import pytest

from core.apidef.caching import CacheEntry, CacheSpec
from core.apidef.compile import compile_definition
from core.apidef.decode import decode
from core.apidef.options import CompileOptions
from core.apidef.specs import PlanSpec
from core.cache.steps import Entry
from core.findings import Finding
from tests.cache.cache_support import caching, entries, entry
from tests.support.gateway import Json, api, merge

PATHS = "$.version_data.versions.Default.extended_paths"


def compiled(definition: Json) -> tuple[PlanSpec | None, list[Finding]]:
    found, findings = decode(json.dumps(definition).encode(), "a.json")
    assert found is not None, findings
    spec, more = compile_definition(found, "a.json", CompileOptions())
    return spec, findings + more


def spec_of(definition: Json) -> PlanSpec:
    spec, findings = compiled(definition)
    assert findings == []
    assert spec is not None
    return spec


def test_options_are_taken() -> None:
    options = {
        "cache_timeout": 9, "cache_response_codes": [200], "enable_upstream_cache_control": True,
        "cache_control_ttl_header": "X-T", "cache_by_headers": ["A"], "cache_all_safe_requests": False,
    }  # fmt: skip
    assert spec_of(caching("a", "http://u", options=options)).cache == CacheSpec(9, (200,), False, True, "X-T", ("A",))
    assert spec_of(caching("a", "http://u")).cache == CacheSpec(60, (), True, False, "x-tyk-cache-action-set-ttl", ())


@pytest.mark.parametrize("options", [{}, {"enable_cache": False, "cache_all_safe_requests": True, "cache_timeout": 5}])
def test_a_cache_that_is_off_is_none(options: Json) -> None:
    assert spec_of(api("a", "/a/", "http://u", cache_options=options)).cache is None


def test_entries_are_taken_in_the_order_of_tyk() -> None:
    both = entries(entry("/b", "POST", "id=.", timeout=5, cache_response_codes=[200]), entry("/c", "GET", "x"), simple=("/a",))
    found = [(one.path, one.method, one.data) for one in spec_of(caching("a", "http://u", **both)).endpoints]
    assert found == [
        ("/a", "GET", CacheEntry()),
        ("/a", "HEAD", CacheEntry()),
        ("/a", "OPTIONS", CacheEntry()),
        ("/b", "POST", CacheEntry(5, (200,), "id=.", True)),
        ("/c", "GET", CacheEntry(0, (), "x", False)),
    ]


def test_entries_out_of_force_are_left_out() -> None:
    off = entries(entry("/b", "POST", disabled=True))
    assert spec_of(caching("a", "http://u", **off)).endpoints == ()
    assert spec_of(caching("a", "http://u", **merge(off, {"version": {"use_extended_paths": False}}))).endpoints == ()


@pytest.mark.parametrize(
    ("definition", "path", "says"),
    [
        (caching("a", "http://u", options={"enable_cache": False}, **entries(simple=("/a",))), f"{PATHS}.cache", "no effect"),
        (
            caching("a", "http://u", options={"enable_cache": False}, **entries(entry("/a", "GET"))),
            f"{PATHS}.advance_cache_config",
            "no effect",
        ),
        (caching("a", "http://u", **entries(entry("/a", ""))), f"{PATHS}.advance_cache_config[0].method", "no request"),
        (
            caching("a", "http://u", **entries(entry("/a", "POST", "("))),
            f"{PATHS}.advance_cache_config[0].cache_key_regex",
            "does not compile",
        ),
        (caching("a", "http://u", options={"cache_timeout": 0}), "$.cache_options.cache_timeout", "0 seconds"),
    ],
)
def test_what_does_nothing_is_said_and_the_api_is_served(definition: Json, path: str, says: str) -> None:
    spec, findings = compiled(definition)
    assert spec is not None
    assert (spec.refuse, spec.endpoints) == ((), ())
    ((found_path, message),) = [(finding.path, finding.message) for finding in findings]
    assert found_path == path
    assert says in message


def test_a_header_that_cannot_be_one_is_an_error() -> None:
    spec, findings = compiled(caching("a", "http://u", options={"cache_by_headers": ["X-A", "a b"]}))
    assert spec is None
    assert [(one.severity, one.path) for one in findings] == [("error", "$.cache_options.cache_by_headers[1]")]


@pytest.mark.parametrize(
    ("pattern", "body", "part"),
    [
        ("", b"all of it", b"all of it"),
        ("id=[0-9]+", b"x id=12 id=13", b"id=12"),
        ("(?i)ID=(.)", b"x id=1", b"id=1"),
        ("^a.c", b"a\nc", None),
        ("b*", b"aab", b""),
        ("nothing", b"text", None),
    ],
)
def test_the_part_of_a_body_that_counts(pattern: str, body: bytes, part: bytes | None) -> None:
    (found,) = spec_of(caching("a", "http://u", **entries(entry("/a", "POST", pattern)))).endpoints
    assert isinstance(found.data, CacheEntry)
    assert Entry(found.data).part(body) == part


def test_bodies_of_other_methods_do_not_count() -> None:
    (found,) = spec_of(caching("a", "http://u", **entries(entry("/a", "DELETE", "x")))).endpoints
    assert isinstance(found.data, CacheEntry)
    made = Entry(found.data)
    assert (made.reads_body, made.part(b"x"), made.fits(bytes(1000), 1)) == (False, None, True)
