"""Access log: a line must stay one valid line whatever a client sends, and logging must never wait."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.accesslog import FIELDS, MIN_BUFFER, AccessLog
from core.obs.access import select_fields


def logged(file: Path, /, **values: bytes | int) -> dict[str, object]:
    log = AccessLog(file)
    log.log(**values)
    assert log.flush()
    (line,) = file.read_text().splitlines()
    entry = json.loads(line)
    assert isinstance(entry, dict)
    return entry


def test_a_line_has_all_fields_with_their_units(tmp_path: Path) -> None:
    entry = logged(
        tmp_path / "log",
        time_ms=1_700_000_000_007,
        request_id=b"r1",
        api_id=b"a1",
        api_name=b"First",
        org_id=b"o1",
        method=b"GET",
        path=b"/x",
        protocol=b"HTTP/1.1",
        client_ip=b"::1",
        host=b"h",
        upstream_addr=b"http://u/x",
        user_agent=b"ua",
        response_flag=b"URT",
        status=504,
        upstream_status=200,
        latency_total=1_234_567,
        upstream_latency=1_000_001,
        bytes_in=18_446_744_073_709_551_615,
        bytes_out=0,
    )
    assert entry == {
        "time": "2023-11-14T22:13:20.007Z",
        "level": "info",
        "prefix": "access-log",
        "request_id": "r1",
        "api_id": "a1",
        "api_name": "First",
        "org_id": "o1",
        "client_ip": "::1",
        "host": "h",
        "method": "GET",
        "path": "/x",
        "protocol": "HTTP/1.1",
        "upstream_addr": "http://u/x",
        "user_agent": "ua",
        "response_flag": "URT",
        "status": 504,
        "upstream_status": 200,
        "latency_total": 1234.567,
        "upstream_latency": 1000.001,
        "latency_gateway": 234.566,
        "bytes_in": 18_446_744_073_709_551_615,
        "bytes_out": 0,
    }


def test_query_strings_are_never_logged(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logged(
        path, path=b"/a?token=s3cret", original_path=b"/b?s3cret", upstream_addr=b"http://u/a?token=s3cret"
    )
    assert "s3cret" not in path.read_text()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'a"b\\c', 'a"b\\c'),
        (b"a\r\nb\0\x1b[31m\x7f", "a\r\nb\0\x1b[31m\x7f"),
        ("é€😀".encode(), "é€😀"),
        (b"\xff\xc0\xaf\xed\xa0\x80\xf5\x80\x80\x80\xe2\x82", "\ufffd" * 12),
        (b"\xc2\x85", "\x85"),
    ],
)
def test_bytes_of_clients_are_escaped_and_never_break_the_line(tmp_path: Path, raw: bytes, text: str) -> None:
    path = tmp_path / "log"
    assert logged(path, user_agent=raw)["user_agent"] == text
    assert not [char for char in path.read_text()[:-1] if ord(char) < 32 or 127 <= ord(char) < 160]


@given(st.binary(max_size=200))
def test_any_bytes_at_all_give_valid_json_and_one_text_line(raw: bytes) -> None:
    for format in ("json", "text"):
        reader, writer = os.pipe()
        log = AccessLog(writer, "json" if format == "json" else "text", fields=("user_agent",))
        log.log(user_agent=raw)
        assert log.flush()
        line = os.read(reader, 65536)
        os.close(reader)
        os.close(writer)
        assert line.count(b"\n") == 1
        text = line.decode()
        if format == "json":
            found = json.loads(text)["user_agent"]
            # What is well-formed comes back unchanged; of the rest each bad byte becomes one U+FFFD.
            assert found.replace("\ufffd", "") == raw.decode("utf-8", "replace").replace("\ufffd", "")
        else:
            assert text.startswith('time="1970-01-01T00:00:00.000Z" level=info prefix=access-log user_agent=')


def test_text_lines_quote_only_what_needs_it(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log", "text", fields=("api_name", "method", "path", "status"))
    log.log(status=200, method=b"GET", path=b"/a b", api_name=b"", user_agent=b"not selected")
    log.flush()
    assert (tmp_path / "log").read_text() == (
        'time="1970-01-01T00:00:00.000Z" level=info prefix=access-log '
        'api_name="" method=GET path="/a b" status=200\n'
    )


def test_a_huge_field_is_cut_at_a_character(tmp_path: Path) -> None:
    agent = logged(tmp_path / "log", user_agent=b"a" + "é".encode() * 20_000)["user_agent"]
    assert agent == "a" + "é" * 4095 + "..."


def test_lines_that_nobody_takes_are_dropped_and_counted_and_logging_never_waits() -> None:
    reader, writer = os.pipe()
    log = AccessLog(writer, max_buffer=65_536)
    for _ in range(5000):
        log.log(user_agent=b"x" * 200, status=200)
    assert not log.flush()
    assert log.dropped > 1000
    assert log.pending <= log.max_buffer
    received = b""
    while not log.flush():
        received += os.read(reader, 1 << 20)
    os.set_blocking(reader, False)
    try:
        while chunk := os.read(reader, 1 << 20):
            received += chunk
    except BlockingIOError:
        pass
    lines = received.splitlines()
    assert len(lines) + log.dropped == 5000
    assert all(json.loads(line)["status"] == 200 for line in lines)
    assert os.get_blocking(writer)
    os.close(reader)
    os.close(writer)


def test_a_broken_pipe_is_an_error_number_and_not_the_end() -> None:
    reader, writer = os.pipe()
    log = AccessLog(writer)
    os.close(reader)
    log.log(status=200)
    assert not log.flush()
    assert log.last_error != 0
    assert log.pending > 0
    os.close(writer)


def test_a_socket_is_written_without_waiting() -> None:
    left, right = socket.socketpair()
    with left, right:
        log = AccessLog(left.fileno(), max_buffer=1 << 20)
        for _ in range(20_000):
            log.log(status=200)
        assert log.dropped + log.pending > 0
        assert json.loads(right.recv(65536).splitlines()[0])["status"] == 200
        assert left.getblocking()


def test_a_line_larger_than_the_buffer_is_dropped_and_the_next_one_is_kept(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log", max_buffer=MIN_BUFFER)
    log.log(user_agent=b"x" * 8000)
    log.log(user_agent=b"y")
    assert log.flush()
    assert log.dropped == 1
    assert [json.loads(line)["user_agent"] for line in (tmp_path / "log").read_text().splitlines()] == ["y"]


def test_rotation_continues_in_the_new_file_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AccessLog(path)
    log.log(request_id=b"1")
    log.flush()
    path.rename(tmp_path / "log.1")
    log.log(request_id=b"2")
    log.reopen()
    log.log(request_id=b"3")
    log.flush()
    read = [
        json.loads(line)["request_id"]
        for name in ("log.1", "log")
        for line in (tmp_path / name).read_text().splitlines()
    ]
    assert read == ["1", "2", "3"]
    assert path.stat().st_mode & 0o027 == 0


def test_rotation_into_a_missing_directory_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    log = AccessLog(tmp_path / "d" / "log")
    (tmp_path / "d").rename(tmp_path / "e")
    with pytest.raises(FileNotFoundError):
        log.reopen()
    log.log(request_id=b"1")
    assert log.flush()
    assert (tmp_path / "e" / "log").read_text().count("\n") == 1


APPENDER = """
import sys
from accel.accesslog import AccessLog
log = AccessLog(sys.argv[1])
for number in range(5000):
    log.log(request_id=sys.argv[2].encode(), user_agent=b"u" * (number % 300))
while not log.flush():
    pass
"""


def test_lines_of_several_workers_in_one_file_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    workers = [subprocess.Popen([sys.executable, "-c", APPENDER, str(path), name]) for name in "abc"]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    names = [json.loads(line)["request_id"] for line in path.read_text().splitlines()]
    assert {name: names.count(name) for name in "abc"} == {"a": 5000, "b": 5000, "c": 5000}


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'xml', expected 'json' or 'text'"):
        AccessLog(tmp_path / "log", "xml")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 4096"):
        AccessLog(tmp_path / "log", max_buffer=10)
    with pytest.raises(ValueError, match="unknown field 'nope'"):
        AccessLog(tmp_path / "log", fields=("nope",))
    with pytest.raises(TypeError, match="'nope'"):
        AccessLog(tmp_path / "log").log(nope=b"")


def test_a_template_selects_fields_and_reports_the_others() -> None:
    fields, findings = select_fields(["status", "api_key", "path", "nope", "mcp_x"], "tyk.conf")
    assert fields == ("path", "status")
    assert [finding.path for finding in findings] == [
        f"$.access_logs.template[{index}]" for index in (1, 3, 4)
    ]
    assert "not available" in findings[0].message
    assert "unknown" in findings[1].message
    assert select_fields([], "tyk.conf") == ((), [])
    assert "api_key" not in FIELDS
