"""What a session compiles to for one API: the wrong limit or the wrong counter is a limit that does not hold."""

from __future__ import annotations

import re
from typing import Any

import pytest

from core.apidef.options import CompileOptions
from core.sessions.model import from_value
from core.sessions.rights import Access, access, limit_of, shared_name

LIMIT = {"rate": 5, "per": 6, "quota_max": 7, "quota_renewal_rate": 8, "throttle_interval": 1.5, "throttle_retry_limit": 2,
         "quota_renews": 9, "quota_remaining": 3}  # fmt: skip


def rights(session: dict[str, Any], api: str = "a", *, versioned: bool = False, **options: Any) -> Access:
    return access(from_value(session), api, not versioned, "NAME", CompileOptions(**options))


def right(**more: Any) -> dict[str, Any]:
    return {"access_rights": {"a": {"api_id": "a", "versions": ["v1"], **more}}}


def test_key_opens_what_it_names_and_a_master_key_everything() -> None:
    assert rights(right()).allowed
    assert not rights(right(), "b").allowed
    assert rights({}).allowed
    assert rights({"access_rights": None}, "b").allowed


def test_versions_count_only_at_apis_that_have_them() -> None:
    assert rights(right(), versioned=True).versions == {"v1"}
    assert rights(right()).versions is None
    assert rights({}, versioned=True).versions is None
    assert rights({"access_rights": {"a": {}}}, versioned=True).versions == set()


def test_limits_of_the_right_go_before_those_of_the_key() -> None:
    found = rights({**right(limit=LIMIT, allowance_scope="a"), "rate": 99, "quota_max": 99})
    assert (found.rate, found.per, found.quota_max, found.quota_renewal) == (5, 6, 7, 8)
    assert (found.throttle_interval, found.throttle_retry_limit) == (1.5, 2)
    assert (found.quota_renews, found.quota_remaining) == (9, 3)
    assert (found.rate_key, found.quota_key) == ("rate-limit-a-NAME", "quota-a-NAME")


def test_empty_limit_means_the_one_of_the_key_and_its_counters() -> None:
    found = rights({**right(limit={}, allowance_scope="p"), **LIMIT})
    assert (found.rate, found.per, found.quota_max, found.quota_renewal) == (5, 6, 7, 8)
    assert (found.rate_key, found.quota_key) == ("rate-limit-NAME", "quota-NAME")


@pytest.mark.parametrize("field", ["rate", "quota_max", "max_query_depth", "throttle_retry_limit"])
def test_limit_that_says_anything_is_one(field: str) -> None:
    session = from_value({**right(limit={field: -1}), "rate": 99})
    assert limit_of(session, "a") is session["access_rights"]["a"]["limit"]
    assert limit_of(session, "b") is session


def test_state_and_expiry_come_from_the_session() -> None:
    found = rights({**right(), "is_inactive": True, "expires": 77, "last_updated": "12"})
    assert (found.inactive, found.expires, found.last_updated) == (True, 77, "12")


def test_urls_are_expressions_with_their_methods() -> None:
    found = rights(right(allowed_urls=[{"url": "/x/[0-9]+$", "methods": ["GET", "PUT"]}, {"url": "/y", "methods": None}]))
    (first, methods), (second, none) = found.allowed_urls
    assert (methods, none) == ({"GET", "PUT"}, set())
    assert [bool(re.search(first, path)) for path in ("/a/x/12", "/x/", "/x/12/y", "/x/12\n")] == [True, False, False, False]
    assert re.search(second, "/x/y/z")


def test_url_with_prefix_matching_is_a_path_with_variables() -> None:
    options = {"enable_path_prefix_matching": True}
    (pattern, methods), = rights(right(allowed_urls=[{"url": "/users/{id}", "methods": ["GET"]}]), **options).allowed_urls
    assert methods == {"GET"}
    assert re.search(pattern, "/users/7")
    assert re.search(pattern, "/users/7/more")
    assert not re.search(pattern, "/other/7")


@pytest.mark.parametrize("url", ["/(", "[", "(?P<x>"])
def test_url_that_does_not_compile_is_an_error(url: str) -> None:
    with pytest.raises(re.error):
        rights(right(allowed_urls=[{"url": url, "methods": ["GET"]}]))


def test_endpoints_have_counters_of_their_own() -> None:
    methods = [{"name": "get", "limit": {"rate": 3, "per": 4}}]
    (end,) = rights(right(limit=LIMIT, allowance_scope="a", endpoints=[{"path": "/x", "methods": methods}])).endpoints
    assert (end.method, end.rate, end.per) == ("GET", 3, 4)
    assert end.rate_key.startswith("rate-limit-a-NAME-")
    assert len(end.rate_key) == len("rate-limit-a-NAME-") + 8
    assert re.search(end.pattern, "/x")


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (None, ""),
        ("", ""),
        (7, ""),
        ("team", "team"),
        ("$tyk_meta.team", "red"),
        ("t-$tyk_meta.team/$tyk_meta.none", "t-red/"),
        ("$tyk_meta.none", ""),
    ],
)
def test_keys_may_count_together(pattern: Any, name: str) -> None:
    meta_data = {"rate_limit_pattern": pattern, "team": "red"}
    session = {**right(), **LIMIT, "last_updated": "5", "meta_data": meta_data}
    assert shared_name(from_value(session)) == name
    found = rights(session)
    assert (found.rate_key, found.quota_key) == (f"rate-limit-{name or 'NAME'}", f"quota-{name or 'NAME'}")
    assert found.last_updated == ("" if name else "5")


@pytest.mark.parametrize("pattern", ["$tyk_context.remote_addr", "x-$tyk_context.headers_X", "$secret_env.X"])
def test_counting_by_request_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="rate_limit_pattern"):
        rights({**right(), "meta_data": {"rate_limit_pattern": pattern}})
