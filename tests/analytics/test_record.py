"""The bytes of a record: what Tyk Pump's decoder (msgpack, tyk-core 6) gets."""

from __future__ import annotations

import time
from typing import Any

import msgpack
import pytest

from accel.analytics import KeyRecord, Recorder, RecordPlan

WHEN = 1_760_000_000_123_456
PLAN: dict[str, Any] = {"name": "Orders", "org_id": "o1", "listen_path": "/shop/", "host": "up:80"}
CALL: dict[str, Any] = {
    "method": b"POST", "host": b"up:80", "path": b"/a", "original_path": b"/shop/a", "user_agent": b"ua", "version": b"v1",
    "address": b"192.0.2.1", "status": 201, "time_us": WHEN, "total_us": 70_900, "upstream_us": 66_000, "content_length": -1,
}  # fmt: skip


def encoded(plan: RecordPlan, key: KeyRecord | None = None, recorder: Recorder | None = None, **more: Any) -> bytes:
    recorder = recorder or Recorder()
    recorder.record(plan, key, **{**CALL, **more})
    batch = recorder.take()
    assert batch is not None
    assert len(batch) == 1
    recorder.release(batch)
    return batch[0]


def decoded(*arguments: Any, **more: Any) -> dict[str, Any]:
    found = msgpack.unpackb(encoded(*arguments, **more))
    assert isinstance(found, dict)
    return found


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Day to Hour are in the machine's time zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_bytes_of_a_record_are_what_the_decoder_of_pump_expects() -> None:
    s = _text
    number = {1: b"\x01", 201: b"\xcc\xc9"}
    stamp = b"\xce" + (1_760_000_000).to_bytes(4, "big")
    nanoseconds = b"\xce" + (123_456_000).to_bytes(4, "big")
    expected = b"".join((
        b"\xde\x00\x23",
        s("Method"), s("POST"), s("Host"), s("up:80"), s("Path"), s("/a"), s("RawPath"), s("/a"),
        s("ContentLength"), b"\xff", s("UserAgent"), s("ua"),
        s("Day"), b"\x09", s("Month"), b"\x0a", s("Year"), b"\xcd\x07\xe9", s("Hour"), b"\x08",
        s("ResponseCode"), number[201], s("APIKey"), s("k"), s("TimeStamp"), b"\x92" + stamp + nanoseconds,
        s("APIVersion"), s("v1"), s("APIName"), s("Orders"), s("APIID"), s("a1"), s("OrgID"), s("o1"),
        s("OauthID"), s("client"), s("RequestTime"), b"\x46", s("RawRequest"), s(""), s("RawResponse"), s(""),
        s("IPAddress"), s("192.0.2.1"),
        s("Geo"), b"\x83",
        s("Country"), b"\x81", s("ISOCode"), s(""),
        s("City"), b"\x82", s("GeoNameID"), b"\x00", s("Names"), b"\xc0",
        s("Location"), b"\x83", s("Latitude"), b"\xcb" + bytes(8), s("Longitude"), b"\xcb" + bytes(8), s("TimeZone"), s(""),
        s("Network"), b"\x84", s("OpenConnections"), b"\x00", s("ClosedConnection"), b"\x00", s("BytesIn"), b"\x00",
        s("BytesOut"), b"\x00",
        s("Latency"), b"\x83", s("Total"), b"\x46", s("Upstream"), b"\x42", s("Gateway"), b"\x04",
        s("Tags"), b"\x95", s("gold"), s("edge"), s("key-k"), s("org-o1"), s("api-a1"),
        s("Alias"), s("shop"), s("TrackPath"), b"\xc2",
        s("ExpireAt"), b"\x92\xce" + (1_760_000_060).to_bytes(4, "big") + nanoseconds,
        s("ApiSchema"), s(""), s("OriginalPath"), s("/shop/a"), s("ListenPath"), s("/shop/"),
        s("GraphQLStats"), b"\x87", s("Variables"), s(""), s("RootFields"), b"\xc0", s("Types"), b"\xc0",
        s("Errors"), b"\xc0", s("OperationType"), b"\x00", s("HasErrors"), b"\xc2", s("IsGraphQL"), b"\xc2",
        s("MCPStats"), b"\x84", s("IsMCP"), b"\xc2", s("JSONRPCMethod"), s(""), s("PrimitiveType"), s(""),
        s("PrimitiveName"), s(""),
        s("CollectionName"), s(""),
    ))  # fmt: skip
    key = KeyRecord("k", alias="shop", oauth_id="client", tags=["gold"])
    assert encoded(RecordPlan("a1", tags=["edge"], expires_after=60, **PLAN), key) == expected


def _text(value: str) -> bytes:
    raw = value.encode()
    assert len(raw) < 32
    return bytes((0xA0 | len(raw),)) + raw


def test_without_an_expiry_a_record_lives_a_hundred_years() -> None:
    stamp, nanoseconds = decoded(RecordPlan("a", **PLAN))["ExpireAt"]
    assert stamp == WHEN // 1_000_000 + 36500 * 86400
    assert nanoseconds == 123_456_000


def test_the_organisation_overrides_expiry_and_details() -> None:
    plan = RecordPlan("a", expires_after=60, **PLAN)
    plan.organisation(3600, True)
    assert decoded(plan)["ExpireAt"][0] == WHEN // 1_000_000 + 3600
    assert plan.detailed
    plan.organisation(plan.own_expiry, False)
    assert decoded(plan)["ExpireAt"][0] == WHEN // 1_000_000 + 60
    assert not plan.detailed


def test_tags_keep_the_order_of_tyk() -> None:
    recorder = Recorder()
    recorder.configure(node_tags=["node"])
    plan = RecordPlan("a", tags=["edge"], tag_headers=["X-Team", "x-other"], **PLAN)
    key = KeyRecord("k", tags=["pol-1", "dev-7", "own"])
    headers = [(b"X-Team", b"blue"), (b"X-Third", b"no"), (b"X-Other", b"1")]
    expected = ["pol-1", "dev-7", "own", "x-team-blue", "x-other-1", "edge", "node", "key-k", "org-o1", "api-a"]
    assert decoded(plan, key, recorder, headers=headers)["Tags"] == expected


def test_a_tracked_endpoint_is_the_path_and_the_raw_path_stays() -> None:
    found = decoded(RecordPlan("a", **PLAN), tracked=b"/things/{id}", path=b"/things/5")
    assert (found["Path"], found["RawPath"], found["TrackPath"]) == ("/things/{id}", "/things/5", True)


def test_bytes_that_are_not_utf8_do_not_break_the_reader() -> None:
    found = decoded(RecordPlan("a", **PLAN), path=b"/\xff\xc3(", user_agent=b"\x80" * 400)
    assert found["Path"] == "/\ufffd\ufffd("
    assert found["UserAgent"] == "\ufffd" * 400


@pytest.mark.parametrize("size", [31, 32, 255, 256, 65535, 65536])
def test_texts_of_every_length_class_are_read_back(size: int) -> None:
    assert decoded(RecordPlan("a", **PLAN), path=b"/" + b"x" * (size - 1))["Path"] == "/" + "x" * (size - 1)


@pytest.mark.parametrize("number", [-1, 0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**62])
def test_lengths_of_every_size_are_read_back(number: int) -> None:
    assert decoded(RecordPlan("a", **PLAN), content_length=number)["ContentLength"] == number


def test_many_tags_are_read_back() -> None:
    tags = [f"t{n}" for n in range(70000)]
    assert decoded(RecordPlan("a", tags=tags, **PLAN))["Tags"][:70000] == tags


def test_the_hour_follows_the_clock_and_the_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    recorder = Recorder()
    plan = RecordPlan("a", **PLAN)
    day = [decoded(plan, None, recorder, time_us=at * 1_000_000) for at in (0, 3600, 86400 * 31)]
    assert [(one["Year"], one["Month"], one["Day"], one["Hour"]) for one in day] == [
        (1970, 1, 1, 9), (1970, 1, 1, 10), (1970, 2, 1, 9),
    ]  # fmt: skip


# -- bounds ------------------------------------------------------------------------------


def test_what_is_over_the_bound_of_records_is_dropped_and_counted() -> None:
    recorder = Recorder(3, 1 << 20)
    plan = RecordPlan("a", **PLAN)
    for status in range(200, 205):
        recorder.record(plan, status=status)
    assert (recorder.records, recorder.held, recorder.dropped) == (3, 3, 2)
    batch = recorder.take()
    assert batch is not None
    assert [msgpack.unpackb(raw)["ResponseCode"] for raw in batch] == [200, 201, 202]
    recorder.record(plan)
    assert recorder.dropped == 3        # a batch that is being written still counts
    recorder.release(batch)
    recorder.record(plan)
    assert (recorder.held, recorder.dropped) == (1, 3)


def test_what_is_over_the_bound_of_bytes_is_dropped_and_counted() -> None:
    recorder = Recorder(1000, 2000)
    plan = RecordPlan("a", **PLAN)
    for _ in range(10):
        recorder.record(plan, path=b"/" + b"x" * 400)
    assert recorder.dropped == 8
    assert recorder.held == 2
    assert 2000 <= recorder.held_bytes < 4000


def test_a_full_batch_wakes_the_writer() -> None:
    recorder = Recorder(batch_records=2)
    woken: list[int] = []
    recorder.wake = lambda: woken.append(recorder.held)
    plan = RecordPlan("a", **PLAN)
    for _ in range(5):
        recorder.record(plan)
    assert woken == [2, 4]
    assert [len(batch) for batch in iter(lambda: recorder.take(False), None)] == [2, 2]
    assert recorder.take(False) is None
    assert len(recorder.take() or []) == 1


def test_ignored_addresses_leave_no_record() -> None:
    recorder = Recorder()
    recorder.configure(ignored=[b"192.0.2.1"])
    recorder.record(RecordPlan("a", **PLAN), **CALL)
    assert (recorder.held, recorder.dropped) == (0, 0)


@pytest.mark.parametrize("bounds", [(0, 1), (1, 0)])
def test_a_recorder_without_room_is_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="bounds must be positive"):
        Recorder(*bounds)
