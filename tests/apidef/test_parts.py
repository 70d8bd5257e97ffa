"""The pure parts: listen paths, targets, durations, versions, the feature table."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from core.apidef import features, listen_path, targets
from core.apidef.access import token_source
from core.apidef.compile import Report
from core.apidef.decode import decode, decode_thoroughly
from core.apidef.durations import parse_duration, parse_expiry
from core.apidef.options import CompileOptions
from core.apidef.patterns import path_pattern
from core.apidef.schema import DEFINITION
from core.apidef.specs import AuthSpec, TargetSpec
from core.apidef.versions import versions as chosen_versions
from core.config.gojson import Anything, Bool, Int, ListOf, MapOf, Num, Obj, Schema, Str


@pytest.mark.parametrize(
    ("given", "expected"),
    [("a", "/a"), ("//a//b/", "/a/b/"), ("/a/./../b", "/b"), ("/", "/"), ("/../", "/"), ("/a/..", "/")],
)
def test_listen_path_has_one_normal_form(given: str, expected: str) -> None:
    assert listen_path.normalise(given) == expected


@pytest.mark.parametrize(
    ("path", "request_path", "end"),
    [
        ("/v/{name}/", "/v/x/y", 5),
        ("/v/{name}/", "/v/x", None),
        ("/v/{name}", "/v/x.y/z", 6),
        ("/r-{n:[0-9]{2}}/", "/r-12/", 6),
        ("/r-{n:[0-9]{2}}/", "/r-123/", None),
        ("/{a:x|yy}/{a}", "/yy/b", 5),
        ("/{a:(?i)ab}/", "/AB/", 4),
        ("/a.b/{x}", "/aXb/1", None),
    ],
)
def test_pattern_matches_the_start_of_the_path_only(path: str, request_path: str, end: int | None) -> None:
    pattern = listen_path.route(path, False).pattern
    assert pattern is not None
    match = re.compile(pattern.encode()).match(request_path.encode())
    assert (match and match.end()) == end


def test_text_in_braces_does_not_count_for_the_order() -> None:
    assert listen_path.route("/a/{n:[a-z]{1,99}}/", False).sort_length == len("/a//")


@pytest.mark.parametrize("regex", [r"(a)\1", "(?P<x>a)", "(?<=a)b", "[[:alpha:]]", "a++", "é", "(", r"\pL"])
def test_pattern_that_means_something_else_in_go_is_refused(regex: str) -> None:
    with pytest.raises(listen_path.PatternError):
        listen_path.route(f"/{{a:{regex}}}/", False)


def test_domain_is_lower_case_without_port_and_anchored_by_its_pattern() -> None:
    assert listen_path.domain("API.Example.com:8080") == ("api.example.com", None)
    pattern = listen_path.domain("{sub}.example.com")[1]
    assert pattern is not None
    assert re.fullmatch(pattern, "a.example.com")
    assert not re.fullmatch(pattern, "a.b.example.com")
    with pytest.raises(listen_path.PatternError):
        listen_path.domain("http://x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://H", ("http", "h", 80, "", "")),
        ("wss://h:1/a b%2f?x=é".replace(" ", "%20"), ("https", "h", 1, "/a%20b%2f", "x=%C3%A9")),
        ("http://[::1]:8/p", ("http", "::1", 8, "/p", "")),
    ],
)
def test_target_is_split_and_kept_as_configured(text: str, expected: tuple[Any, ...]) -> None:
    target = targets.parse(text).target
    assert isinstance(target, TargetSpec)
    assert (target.scheme, target.host, target.port, target.path, target.query) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "http://", "http://h:0", "http://h:99999", "http://[::1", "http://a\tb", "http://a\r\nX: y"],
)
def test_malformed_target_is_refused(text: str) -> None:
    with pytest.raises(targets.TargetError):
        targets.parse(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 0), ("0", 0), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), ("-2s", -2)]
)
def test_duration_in_go_notation(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "s", "5 s", "1x", "9999999999h", "1s,"])
def test_duration_that_go_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_unreadable_expiry_counts_as_past() -> None:
    assert parse_expiry("") is parse_expiry("-1") is None
    assert parse_expiry("1970-01-01 00:01") == 60
    assert parse_expiry("tomorrow") == 0


@pytest.mark.parametrize(
    ("versions", "key", "status"),
    [
        (["v7"], "v7", None),
        (["v7", "Default"], "Default", None),
        (["v7", "default"], "default", None),
        (["v7", ""], "", None),
        (["Default", ""], "", 403),
        (["v7", "v8"], "", 403),
        ([], "", 403),
    ],
)
def test_version_of_an_api_that_is_not_versioned(versions: list[str], key: str, status: int | None) -> None:
    data = {"not_versioned": True, "versions": {name: {"name": name} for name in versions}}
    (version,) = chosen_versions({"version_data": data})
    assert (version.key, version.refuse and version.refuse.status) == (key, status)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, AuthSpec("Authorization", "", "")),
        ({"auth": {"auth_header_name": "K", "use_cookie": True}}, AuthSpec("K", "", "K")),
        ({"auth": {"disable_header": True, "use_param": True, "param_name": "p"}}, AuthSpec("", "p", "")),
        (
            {"auth": {"auth_header_name": "K"}, "auth_configs": {"authToken": {"use_param": True}}},
            AuthSpec("Authorization", "Authorization", ""),
        ),
    ],
)
def test_places_of_the_auth_token(config: dict[str, Any], expected: AuthSpec) -> None:
    assert token_source(config, Report("a.json")) == expected


def test_endpoint_pattern_follows_the_matching_options() -> None:
    both = CompileOptions(enable_path_prefix_matching=True, enable_path_suffix_matching=True)
    assert path_pattern("/a/{id}/*/b", CompileOptions(), False) == "/a/([^/]+)/[^/]+/b"
    assert path_pattern("/a", both, True) == "(?i:^/a\\Z)"


@pytest.mark.parametrize("feature", features.API_FEATURES + features.VERSION_FEATURES, ids=lambda f: f.path)
def test_every_feature_reads_a_key_that_the_schema_has(feature: features.Feature) -> None:
    roots: list[Schema] = [DEFINITION, _member(DEFINITION, "version_data.versions")]
    root = roots[feature in features.VERSION_FEATURES]
    assert _member(root, feature.path) is not None
    assert not feature.test({})


def _member(schema: Schema, path: str) -> Schema:
    for key in path.split("."):
        assert isinstance(schema, Obj)
        schema = schema.fields[key]
        if isinstance(schema, MapOf) and isinstance(schema.value, Obj):
            schema = schema.value
    return schema


def _sample(schema: Schema) -> Any:
    match schema:
        case ListOf():
            return [_sample(schema.item)]
        case MapOf():
            return {"k": _sample(schema.value)}
        case Obj():
            return {name: _sample(sub) for name, sub in schema.fields.items()}
        case _:
            return {Str: "s", Int: 1, Num: 1.5, Bool: True, Anything: {"x": [None]}}[type(schema)]


def test_fast_and_thorough_decoding_agree_on_every_key() -> None:
    raw = orjson.dumps(_sample(DEFINITION))
    assert decode(raw, "f") == decode_thoroughly(raw, "f") == (_sample(DEFINITION), [])
