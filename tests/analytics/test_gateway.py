"""Records of real requests through a real gateway, fetched from a real store as Tyk Pump fetches them."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from core.sessions.tokens import hash_key
from tests.analytics.conftest import LIST, Records
from tests.support.gateway import api, wait_for
from tests.support.keys import ORG, call, keyed, session
from tests.support.upstream import Upstream, head, reply
from tests.support.wire import Client, fetch

KEY = f"{ORG}somekey"


def authority(upstream: Upstream) -> str:
    return upstream.url.removeprefix("http://").rstrip("/")


def text(record: dict[str, Any], name: str) -> str:
    return base64.b64decode(record[name], validate=True).decode()


# -- what a record says --------------------------------------------------------------------


def test_plain_request_is_recorded_with_every_field(records: Records) -> None:
    gateway = records.gateway(api("open", "/open/", records.site.upstream.url, expire_analytics_after=100))
    began = time.time()
    assert gateway.fetch("/open/a%20b?x=1", "User-Agent: tester/1").status == 200
    found = records.one()
    stamp, nanoseconds = found.pop("TimeStamp")
    when = stamp + nanoseconds / 1e9
    assert began - 1 < when < time.time() + 1
    assert found.pop("ExpireAt") == [stamp + 100, nanoseconds]
    local = time.localtime(stamp)
    assert [found.pop(name) for name in ("Year", "Month", "Day", "Hour")] == list(local[:4])
    latency = found.pop("Latency")
    assert found.pop("RequestTime") == latency["Total"]
    assert 0 <= latency["Upstream"] <= latency["Total"]
    assert latency["Gateway"] == latency["Total"] - latency["Upstream"]
    assert found == {
        "Method": "GET", "Host": authority(records.site.upstream), "Path": "/a b", "RawPath": "/a b", "ContentLength": 0,
        "UserAgent": "tester/1", "ResponseCode": 200, "APIKey": "", "APIVersion": "Non Versioned", "APIName": "open",
        "APIID": "open", "OrgID": "default", "OauthID": "", "RawRequest": "", "RawResponse": "", "IPAddress": "127.0.0.1",
        "Geo": {
            "Country": {"ISOCode": ""}, "City": {"GeoNameID": 0, "Names": None},
            "Location": {"Latitude": 0.0, "Longitude": 0.0, "TimeZone": ""},
        },
        "Network": {"OpenConnections": 0, "ClosedConnection": 0, "BytesIn": 0, "BytesOut": 0},
        "Tags": ["org-default", "api-open"], "Alias": "", "TrackPath": False, "ApiSchema": "", "OriginalPath": "/open/a b",
        "ListenPath": "/open/",
        "GraphQLStats": {
            "Variables": "", "RootFields": None, "Types": None, "Errors": None, "OperationType": 0, "HasErrors": False,
            "IsGraphQL": False,
        },
        "MCPStats": {"IsMCP": False, "JSONRPCMethod": "", "PrimitiveType": "", "PrimitiveName": ""}, "CollectionName": "",
    }  # fmt: skip


def test_record_of_a_key_names_it_and_carries_its_tags(records: Records) -> None:
    more = {"tags": ["edge"], "tag_headers": ["X-Team"]}
    gateway = records.gateway(keyed("a", records.site.upstream.url, **more), db_app_conf_options={"tags": ["node"]})
    data = session("a", alias="shop", oauth_client_id="client", tags=["gold"], meta_data={"tyk_developer_id": "dev7"})
    records.site.put(KEY, data)
    assert call(gateway, "/a/x", "somekey", "X-Team: blue").status == 200
    found = records.one()
    assert (found["APIKey"], found["Alias"], found["OauthID"], found["OrgID"]) == (KEY, "shop", "client", ORG)
    expected = ["dev-dev7", "gold", "x-team-blue", "edge", "node", f"key-{KEY}", f"org-{ORG}", "api-a"]
    assert found["Tags"] == expected


def test_hashed_keys_do_not_appear_in_records(records: Records) -> None:
    upstream = records.site.upstream.url
    gateway = records.gateway(keyed("a", upstream), api("open", "/open/", upstream), hash_keys=True)
    hashed = hash_key(KEY, True)
    records.site.put(hashed, session("a"))
    assert call(gateway, "/a/x", KEY).status == 200
    raw = records.raw(1)[0]
    assert hashed.encode() in raw
    assert KEY.encode() not in raw
    assert gateway.fetch("/open/x").status == 200
    found = records.one()
    assert found["APIKey"] == "00000000"        # the hash of nothing, as Tyk writes it
    assert "key-00000000" in found["Tags"]


def test_refused_and_failed_requests_are_recorded_with_what_the_client_got(records: Records) -> None:
    site = records.site
    dead = api("dead", "/dead/", "http://127.0.0.1:1/")
    gateway = records.gateway(keyed("a", site.upstream.url), dead)
    site.upstream.on("/teapot", reply(head("418 I'm a teapot", "Content-Length: 0")))
    site.put(KEY, session("a", rate=2, per=600))
    keys = ("", "nonsense", "somekey", "somekey", "somekey")
    expected = [call(gateway, "/a/teapot", key).status for key in keys]
    assert expected == [401, 403, 418, 418, 429]
    expected.append(gateway.fetch("/dead/x").status)
    found = records.take(6)
    assert [record["ResponseCode"] for record in found] == expected
    assert [record["APIKey"] for record in found] == ["", "", KEY, KEY, KEY, ""]
    assert [record["Latency"]["Upstream"] for record in found[:2]] == [0, 0]
    assert found[0]["Host"] == authority(site.upstream)
    assert found[0]["Path"] == "/teapot"


def test_content_length_of_bodies_with_and_without_one(records: Records) -> None:
    gateway = records.gateway(api("open", "/open/", records.site.upstream.url))
    with Client(gateway.address) as client:
        client.send(b"POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").read("POST")
        client.send(b"POST /open/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n").read("POST")
    found = records.take(2)
    assert [(record["Method"], record["ContentLength"]) for record in found] == [("POST", 5), ("POST", -1)]


def test_version_and_normalised_paths(records: Records) -> None:
    definition = api("v", "/v/", records.site.upstream.url)
    definition["definition"] = {"location": "header", "key": "X-Version"}
    definition["version_data"] = {"not_versioned": False, "versions": {"v2": {"name": "v2"}}}
    rules = {"enabled": True, "normalise_uuids": True, "normalise_ulids": True, "normalise_numbers": True,
             "custom_patterns": ["secret-[a-z]+"]}  # fmt: skip
    gateway = records.gateway(definition, analytics_config={"normalise_urls": rules})
    path = "/17/0b4e6d1c-3f57-4b1a-9a55-0f6a2f9d2c11/01ARZ3NDEKTSV4RRFFQ69G5FAV/secret-word"
    assert gateway.fetch("/v" + path, "X-Version: v2").status == 200
    found = records.one()
    assert found["APIVersion"] == "v2"
    assert found["Path"] == "/{id}/{uuid}/{ulid}/{var}"
    assert found["RawPath"] == path


def test_forwarded_addresses_count_only_from_trusted_proxies(records: Records) -> None:
    gateway = records.gateway(api("open", "/open/", records.site.upstream.url))
    gateway.fetch("/open/x", "X-Real-IP: 203.0.113.9", "X-Forwarded-For: 203.0.113.8")
    assert records.one()["IPAddress"] == "127.0.0.1"
    gateway = records.gateway(
        api("open", "/open/", records.site.upstream.url),
        http_server_options={"xff_depth": 1}, preforge={"trusted_proxies": ["127.0.0.0/8"]},
    )  # fmt: skip
    gateway.fetch("/open/x", "X-Real-IP: 203.0.113.9", "X-Forwarded-For: 203.0.113.8")
    assert records.one()["IPAddress"] == "203.0.113.9"
    gateway.fetch("/open/x", "X-Forwarded-For: 198.51.100.1, 203.0.113.8")
    assert records.one()["IPAddress"] == "203.0.113.8"


# -- detailed records ------------------------------------------------------------------------


def test_detailed_record_holds_the_wire_text_of_request_and_response(records: Records) -> None:
    upstream = records.site.upstream
    upstream.on("/x y", reply(head("200 OK", "Content-Length: 2", "X-From: up"), b"ok"))
    upstream.on("/x%20y", reply(head("200 OK", "Content-Length: 2", "X-From: up"), b"ok"))
    gateway = records.gateway(api("open", "/open/", upstream.url, enable_detailed_recording=True))
    lines = "POST /open/x%20y?q=1 HTTP/1.1\r\nHost: shop.test\r\nX-Mine: 1\r\nContent-Length: 5\r\n\r\n"
    with Client(gateway.address) as client:
        assert client.send(lines.encode() + b"hello").read("POST").body == b"ok"
    found = records.one()
    request = text(found, "RawRequest")
    assert request == "POST /x%20y?q=1 HTTP/1.1\r\nHost: shop.test\r\nX-Mine: 1\r\nContent-Length: 5\r\n\r\nhello"
    response, _, body = text(found, "RawResponse").partition("\r\n\r\n")
    assert response.startswith("HTTP/1.1 200 OK\r\n")
    assert "X-From: up" in response
    assert body == "ok"


def test_detailed_record_of_streamed_bodies_has_them_without_their_framing(records: Records) -> None:
    upstream = records.site.upstream
    chunks = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    upstream.on("/s", reply(head("200 OK", "Transfer-Encoding: chunked"), chunks))
    gateway = records.gateway(api("open", "/open/", upstream.url, enable_detailed_recording=True))
    with Client(gateway.address) as client:
        client.send(b"POST /open/s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.send(b"2\r\nhi\r\n0\r\n\r\n").read("POST").body == b"abcde"
    found = records.one()
    assert text(found, "RawRequest").endswith("\r\n\r\nhi")
    assert text(found, "RawResponse").endswith("\r\n\r\nabcde")


def test_long_bodies_are_cut_in_detailed_records_and_only_there(records: Records) -> None:
    upstream = records.site.upstream
    upstream.on("/big", reply(head("200 OK", "Content-Length: 5000"), b"y" * 5000))
    gateway = records.gateway(
        api("open", "/open/", upstream.url),
        analytics_config={"enable_detailed_recording": True}, preforge={"analytics": {"max_recorded_body_bytes": 100}},
    )  # fmt: skip
    sent = b"POST /open/big HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n" + b"x" * 3000
    with Client(gateway.address) as client:
        assert client.send(sent).read("POST").body == b"y" * 5000
    assert upstream.seen("/big")[0].body == b"x" * 3000
    found = records.one()
    request, _, body = text(found, "RawRequest").partition("\r\n\r\n")
    assert body == "x" * 100
    assert "X-Preforge-Truncated: 100 of 3000 bytes" in request
    response, _, body = text(found, "RawResponse").partition("\r\n\r\n")
    assert body == "y" * 100
    assert "X-Preforge-Truncated: 100 of 5000 bytes" in response


def test_a_session_can_ask_for_details_and_others_do_not_get_them(records: Records) -> None:
    gateway = records.gateway(keyed("a", records.site.upstream.url))
    records.site.put(KEY, session("a", enable_detail_recording=True))
    records.site.put(f"{ORG}newer", session("a", enable_detailed_recording=True))
    records.site.put(f"{ORG}plain", session("a"))
    for key in ("somekey", "newer", "plain"):
        assert call(gateway, "/a/x", key).status == 200
    found = records.take(3)
    assert [bool(record["RawRequest"]) for record in found] == [True, True, False]
    assert [bool(record["RawResponse"]) for record in found] == [True, True, False]


def test_details_of_a_refused_request_hold_the_error(records: Records) -> None:
    gateway = records.gateway(keyed("a", records.site.upstream.url, enable_detailed_recording=True))
    answer = call(gateway, "/a/x", "nonsense")
    assert answer.status == 403
    found = records.one()
    assert text(found, "RawRequest").startswith("GET /x HTTP/1.1\r\n")
    assert text(found, "RawResponse").startswith("HTTP/1.1 403 Forbidden\r\n")
    assert text(found, "RawResponse").endswith(answer.body.decode())


def test_organisation_decides_on_age_and_details_where_it_is_asked(records: Records) -> None:
    site = records.site
    site.store.ask("SET", f"orgkey.{ORG}", '{"data_expires": 77, "enable_detail_recording": true}')
    gateway = records.gateway(
        keyed("a", site.upstream.url, use_keyless=True, expire_analytics_after=5),
        api("other", "/other/", site.upstream.url, expire_analytics_after=5),
        enforce_org_data_age=True, enforce_org_data_detail_logging=True,
    )  # fmt: skip

    def of_org() -> Any:
        gateway.fetch("/a/x")
        found = records.one()
        return found if found["RawRequest"] else None

    found = wait_for(of_org, "the organisation's session is known")
    assert found["ExpireAt"][0] - found["TimeStamp"][0] == 77
    gateway.fetch("/other/x")
    found = records.one()
    assert found["ExpireAt"][0] - found["TimeStamp"][0] == 5
    assert found["RawRequest"] == ""


# -- what is not recorded ----------------------------------------------------------------------


def last_only(records: Records) -> str:
    """The path of the only record."""
    return str(records.one()["Path"])


def test_requests_without_records(records: Records) -> None:
    upstream = records.site.upstream.url
    mock = {"use_extended_paths": True, "extended_paths": {"mock_response": [{"path": "/mock", "method": "GET", "code": 200}]}}
    gateway = records.gateway(
        api("open", "/open/", upstream, version=mock), api("quiet", "/quiet/", upstream, do_not_track=True)
    )
    assert gateway.fetch("/quiet/x").status == 200
    assert gateway.fetch("/nowhere").status == 404
    assert gateway.fetch("/hello").status == 200
    assert gateway.fetch("/open/mock").status == 200
    assert gateway.fetch("/open/last").status == 200
    assert last_only(records) == "/last"


def test_ignored_addresses_are_not_recorded(records: Records) -> None:
    gateway = records.gateway(
        api("open", "/open/", records.site.upstream.url),
        analytics_config={"ignored_ips": ["203.0.113.9"]}, preforge={"trusted_proxies": ["127.0.0.1/32"]},
    )  # fmt: skip
    assert gateway.fetch("/open/x", "X-Real-IP: 203.0.113.9").status == 200
    assert gateway.fetch("/open/last", "X-Real-IP: 203.0.113.10").status == 200
    assert last_only(records) == "/last"


def test_nothing_is_recorded_unless_analytics_are_on_and_a_reload_turns_them_on(records: Records) -> None:
    gateway = records.site.gateway(api("open", "/open/", records.site.upstream.url))
    assert gateway.fetch("/open/x").status == 200
    gateway.conf_path.write_text(json.dumps({**gateway.conf, "enable_analytics": True}))
    gateway.reload()

    def recorded() -> int:
        gateway.fetch("/open/last")
        return records.length()

    wait_for(recorded, "a record after the reload")
    found = records.site.store.ask("LRANGE", LIST, 0, -1)
    assert all(b"/open/last" in raw for raw in found)


@pytest.mark.parametrize("status", [200, 404])
def test_health_check_and_control_paths_leave_no_record(records: Records, status: int) -> None:
    gateway = records.gateway(api("open", "/open/", records.site.upstream.url))
    path = {200: "/hello", 404: "/tyk/unknown"}[status]
    assert fetch(gateway.address, path, "X-Tyk-Authorization: test-secret").status == status
    assert gateway.fetch("/open/last").status == 200
    assert last_only(records) == "/last"


# -- endpoints ---------------------------------------------------------------------------------


def test_tracked_endpoints_are_recorded_under_their_pattern_and_untracked_ones_not_at_all(records: Records) -> None:
    paths = {
        "use_extended_paths": True,
        "extended_paths": {
            "track_endpoints": [{"path": "/things/{id}", "method": "GET"}],
            "do_not_track_endpoints": [{"path": "/secret", "method": "GET"}],
        },
    }
    gateway = records.gateway(api("open", "/open/", records.site.upstream.url, version=paths))
    for path in ("/secret", "/things/5", "/other"):
        assert gateway.fetch(f"/open{path}").status == 200
    found = records.take(2)
    assert [(record["Path"], record["TrackPath"]) for record in found] == [("/things/{id}", True), ("/other", False)]
    assert found[0]["RawPath"] == "/things/5"


def test_bodies_of_running_requests_have_a_bound_together(records: Records) -> None:
    upstream = records.site.upstream
    gateway = records.gateway(
        api("open", "/open/", upstream.url, enable_detailed_recording=True),
        preforge={"analytics": {"max_buffered_bytes": 65536, "max_recorded_body_bytes": 60000}},
    )
    body = b"x" * 60000
    lines = f"POST /open/x HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with Client(gateway.address) as first, Client(gateway.address) as second:
        first.send(lines + body[:50000])
        wait_for(lambda: len(upstream.connections) == 1, "the first request is under way")
        second.send(lines + body)
        assert second.read("POST").status == 200
        assert "X-Preforge-Truncated: " in text(records.one(), "RawRequest")
        first.send(body[50000:])
        assert first.read("POST").status == 200
    assert "X-Preforge-Truncated: " not in text(records.one(), "RawRequest")
    with Client(gateway.address) as again:
        assert again.send(lines + body).read("POST").status == 200
    assert text(records.one(), "RawRequest").endswith("\r\n\r\n" + body.decode())
