"""Which version serves a request: never another one than its rights and its time allow (tyk-core 2.3)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import Start
from tests.paths.support import arrived, error, sent, versioned
from tests.support.gateway import Gateway, api
from tests.support.keys import ORG, call, session
from tests.support.upstream import Upstream

MISSING = "Version information not found"
UNKNOWN = "This API version does not seem to exist"
OVER = "Api Version has expired, please check documentation or contact administrator"
API_OVER = "API has expired, please check documentation or contact administrator"
IS = {name: {"global_headers": {"X-Is": name}} for name in ("v1", "v2")}
LATER = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=40)
SOON = LATER.strftime("%Y-%m-%d %H:%M")
IN_HEADER = {"location": "header", "key": "X-Version"}
IN_PATH = {"location": "url"}


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """One API per way of naming a version."""
    keyed = {"use_keyless": False, "org_id": ORG}
    own = {"enabled": True, "name": "base", "default": "self", "location": "url", "key": "", "strip_path": True,
           "versions": {"next": "child", "gone": "no-such-api"}}  # fmt: skip
    default = {"version_data": {"default_version": "v1"}}
    return start(
        [
            versioned("header", upstream, IS, IN_HEADER),
            versioned("stripped", upstream, IS, {**IN_HEADER, "strip_versioning_data": True}),
            versioned("param", upstream, IS, {"location": "url-param", "key": "v"}),
            versioned("paramstrip", upstream, IS, {"location": "url-param", "key": "v", "strip_versioning_data": True}),
            versioned("path", upstream, IS, IN_PATH),
            versioned("pathstrip", upstream, IS, {**IN_PATH, "strip_path": True}),
            versioned("pattern", upstream, IS, {**IN_PATH, "strip_path": True, "fallback_to_default": True,
                                                "url_versioning_pattern": "^v[0-9]+$"}, **default),
            versioned("slugged", upstream, IS, {**IN_PATH, "strip_path": True}, slug="shop"),
            versioned("default", upstream, IS, IN_HEADER, **default),
            versioned("fallback", upstream, IS, {**IN_HEADER, "fallback_to_default": True}, **default),
            versioned("nowhere", upstream, IS, {**IN_HEADER, "fallback_to_default": True},
                      version_data={"default_version": "v9"}),
            versioned("expiry", upstream, {"old": {"expires": "2006-01-02 15:04"}, "new": {"expires": SOON},
                                           "never": {"expires": "-1"}, "odd": {"expires": "next week"}}, IN_HEADER),
            api("apiover", "/apiover/", upstream.url, expiration="2006-01-02 15:04"),
            api("apilater", "/apilater/", upstream.url, expiration=SOON),
            api("oneover", "/oneover/", upstream.url, version={"expires": "2006-01-02 15:04"}),
            api("onelater", "/onelater/", upstream.url, version={"expires": SOON}),
            versioned("own", upstream, {
                "v1": {"global_headers": {"X-A": "1"}, "global_headers_remove": ["X-Drop"],
                       "global_response_headers": {"X-From": "v1"}},
                "v2": {"override_target": upstream.url + "/second",
                       "extended_paths": {"black_list": [{"path": "/shut"}], "ignored": [{"path": "/v2only"}]}},
            }, IN_HEADER),
            versioned("lists", upstream, {"v1": {"extended_paths": {"white_list": [{"path": "^/open$"}]}},
                                          "v2": {"extended_paths": {"black_list": [{"path": "^/shut"}]}}}, IN_PATH),
            versioned("rights", upstream, IS, {**IN_HEADER, "fallback_to_default": True}, **default, **keyed),
            api("base", "/base/", upstream.url, definition=own, version={"global_headers": {"X-Is": "base"}}),
            api("child", "/child/", upstream.url + "/c", version={"global_headers": {"X-Is": "child"}}),
            api("locked", "/locked/", upstream.url, definition={**own, "versions": {"next": "keyedchild"}}),
            api("keyedchild", "/keyedchild/", upstream.url, **keyed),
            api("ring", "/ring/", upstream.url, definition={**IN_HEADER, "enabled": True, "versions": {"r": "ring"}}),
        ],
        {"version_header": "X-Served-By"},
    )  # fmt: skip


def is_(gateway: Gateway, target: str, *lines: str) -> str:
    """The version that served."""
    (found,) = sent(gateway.fetch(target, *lines), "X-Is")
    return found


def refused(gateway: Gateway, target: str, *lines: str) -> tuple[int, str]:
    """Status and message."""
    answer = gateway.fetch(target, *lines)
    return answer.status, error(answer)


def test_version_in_a_header(gateway: Gateway) -> None:
    assert is_(gateway, "/header/x", "X-Version: v1") == "v1"
    assert is_(gateway, "/header/x", "x-version: v2") == "v2"
    assert refused(gateway, "/header/x", "X-Version: v3") == (403, UNKNOWN)
    assert refused(gateway, "/header/x", "X-Version: V1") == (403, UNKNOWN)
    assert refused(gateway, "/header/x") == refused(gateway, "/header/x", "X-Version: ") == (403, MISSING)
    assert sent(gateway.fetch("/header/x", "X-Version: v1"), "X-Version") == ["v1"]
    assert sent(gateway.fetch("/stripped/x", "X-Version: v1"), "X-Version") == []


def test_version_in_a_parameter(gateway: Gateway) -> None:
    assert is_(gateway, "/param/x?a=1&v=v2&b=2") == "v2"
    assert is_(gateway, "/param/x?v=%76%31") == "v1"
    assert refused(gateway, "/param/x?v=v3") == (403, UNKNOWN)
    assert refused(gateway, "/param/x?w=v1") == refused(gateway, "/param/x?v=") == (403, MISSING)
    assert arrived(gateway.fetch("/param/x?v=v1&a=1")) == "/x?v=v1&a=1"
    assert arrived(gateway.fetch("/paramstrip/x?v=v1&a=1")) == "/x?a=1"


def test_version_in_the_path(gateway: Gateway) -> None:
    assert is_(gateway, "/path/v1/x") == "v1"
    assert arrived(gateway.fetch("/path/v2/x")) == "/v2/x"
    assert refused(gateway, "/path/v3/x") == (403, UNKNOWN)
    assert refused(gateway, "/path/") == (403, MISSING)
    assert arrived(gateway.fetch("/pathstrip/v2/v2/x")) == "/v2/x"
    assert arrived(gateway.fetch("/pathstrip/v2/a%20b/%C3%A9")) == "/a%20b/%C3%A9", "what is left keeps its spelling"
    assert arrived(gateway.fetch("/pathstrip/%762/x%2Fy")) == "/x%2Fy"
    assert arrived(gateway.fetch("/slugged/shop/v1/x")) == "/shop/x"
    assert arrived(gateway.fetch("/slugged/v1/x")) == "/x"


def test_segment_that_is_no_version_stays_in_the_path(gateway: Gateway) -> None:
    answer = gateway.fetch("/pattern/products/7")
    assert (arrived(answer), sent(answer, "X-Is")) == ("/products/7", ["v1"])
    answer = gateway.fetch("/pattern/v2/7")
    assert (arrived(answer), sent(answer, "X-Is")) == ("/7", ["v2"])
    assert is_(gateway, "/pattern/v22x/7") == "v1"


def test_default_serves_requests_that_name_no_version(gateway: Gateway) -> None:
    answer = gateway.fetch("/default/x")
    assert (sent(answer, "X-Is"), answer.get("X-Served-By")) == (["v1"], "v1")
    answer = gateway.fetch("/default/x", "X-Version: v2")
    assert (sent(answer, "X-Is"), answer.get("X-Served-By")) == (["v2"], None)
    assert refused(gateway, "/default/x", "X-Version: v3") == (403, UNKNOWN)
    assert is_(gateway, "/fallback/x", "X-Version: v3") == "v1"
    assert refused(gateway, "/nowhere/x") == refused(gateway, "/nowhere/x", "X-Version: v3") == (403, UNKNOWN)


def test_version_that_is_over_serves_nobody(gateway: Gateway) -> None:
    assert refused(gateway, "/expiry/x", "X-Version: old") == (403, OVER)
    assert refused(gateway, "/expiry/x", "X-Version: odd") == (403, OVER), "a date that cannot be read"
    assert gateway.fetch("/expiry/x", "X-Version: never").get("X-Tyk-Api-Expires") is None
    for answer in (gateway.fetch("/expiry/x", "X-Version: new"), gateway.fetch("/apilater/x"), gateway.fetch("/onelater/x")):
        assert answer.status == 200
        assert answer.get("X-Tyk-Api-Expires") == LATER.strftime("%a, %d %b %Y %H:%M:%S UTC")
    assert refused(gateway, "/apiover/x") == (403, API_OVER)
    assert refused(gateway, "/oneover/x") == (403, OVER)


def test_version_has_its_own_target_headers_and_lists(gateway: Gateway) -> None:
    first = gateway.fetch("/own/shut", "X-Version: v1", "X-Drop: me", "X-A: old")
    assert (arrived(first), sent(first, "X-A"), sent(first, "X-Drop")) == ("/shut", ["1"], [])
    assert first.get("X-From") == "v1"
    second = gateway.fetch("/own/x", "X-Version: v2", "X-Drop: me")
    assert (arrived(second), sent(second, "X-A"), sent(second, "X-Drop")) == ("/second/x", [], ["me"])
    assert second.get("X-From") is None
    assert gateway.fetch("/own/shut", "X-Version: v2").status == 403


def test_lists_see_the_path_behind_a_version_that_stays_in_it(gateway: Gateway) -> None:
    assert arrived(gateway.fetch("/lists/v1/open")) == "/v1/open"
    assert gateway.fetch("/lists/v1/open/x").status == 403
    assert gateway.fetch("/lists/v2/shut").status == 403
    assert gateway.fetch("/lists/%762/%73hut").status == 403
    assert gateway.fetch("/lists/v2/open").status == 200


def test_key_opens_only_the_versions_of_its_rights(gateway: Gateway) -> None:
    for name, versions in (("one", ["v1"]), ("two", ["v2"]), ("none", [])):
        body = session(access_rights={"rights": {"api_id": "rights", "versions": versions}})
        target = f"/tyk/keys/{ORG}version{name}"
        made = gateway.fetch(target, "X-Tyk-Authorization: test-secret", method="POST", body=json.dumps(body).encode())
        assert made.status == 200, made.body

    def status(key: str, *lines: str) -> int:
        return call(gateway, "/rights/x", f"{ORG}version{key}", *lines).status

    assert [status("one", f"X-Version: {v}") for v in ("v1", "v2")] == [200, 403]
    assert [status("two", f"X-Version: {v}") for v in ("v1", "v2")] == [403, 200]
    assert [status("none", f"X-Version: {v}") for v in ("v1", "v2")] == [403, 403]
    assert [status(key) for key in ("one", "two", "none")] == [200, 403, 403], "the default version"
    assert [status(key, "X-Version: v9") for key in ("one", "two", "none")] == [200, 403, 403], "the default stands in"


def test_version_that_is_an_api_of_its_own(gateway: Gateway) -> None:
    answer = gateway.fetch("/base/next/x")
    assert (arrived(answer), sent(answer, "X-Is")) == ("/c/x", ["child"])
    assert is_(gateway, "/base/base/x") == "base"
    assert is_(gateway, "/base/") == "base"
    assert refused(gateway, "/base/other/x") == (404, UNKNOWN)
    assert refused(gateway, "/base/gone/x") == (404, UNKNOWN)
    assert gateway.fetch("/locked/next/x").status == 401, "the other API's own checks apply"


def test_versions_that_lead_in_a_circle_end(gateway: Gateway) -> None:
    status, message = refused(gateway, "/ring/x", "X-Version: r")
    assert (status, message.partition(".")[0]) == (500, "Loop level too deep")
