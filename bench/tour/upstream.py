"""The upstream of the tour: describes each request as JSON, or answers a status, a delay or some bytes."""

import asyncio
import json
from http import HTTPStatus
from urllib.parse import urlsplit

MAX_BODY = 1 << 20
MAX_BYTES = 1 << 30
MAX_DELAY = 60.0
BLOCK = b"x" * 65536

Head = tuple[str, str, list[tuple[str, str]]]


async def _read_head(reader: asyncio.StreamReader) -> Head | None:
    """Method, target and header fields of the next request; None at the end of the connection."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return None
    lines = raw.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3:
        return None
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:-2])]
    return parts[0], parts[1], fields


async def _read_body(reader: asyncio.StreamReader, fields: list[tuple[str, str]]) -> bytes | None:
    """The request body, or None when it is over 1 MiB or its framing is not understood."""
    lower = {name.lower(): value for name, value in fields}
    if "transfer-encoding" not in lower:
        length = lower.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return None
        return await reader.readexactly(int(length))
    body = b""
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if len(body) + size > MAX_BODY:
            return None
        if not size:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return body
        body += (await reader.readexactly(size + 2))[:-2]


def _head(status: int, kind: str, length: int | None) -> bytes:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Other"
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {kind}\r\nX-Upstream: tour\r\n{framing}\r\n\r\n".encode()


async def _answer(writer: asyncio.StreamWriter, head: Head, body: bytes) -> None:
    method, target, fields = head
    parts = [part for part in urlsplit(target).path.split("/") if part]
    name, argument = (parts[-2], parts[-1]) if len(parts) > 1 else ("", parts[-1] if parts else "")
    port = writer.get_extra_info("sockname")[1]
    if name == "status" and argument.isdigit() and 200 <= int(argument) <= 599:
        empty = int(argument) in (204, 304)
        text = b"" if empty else f'{{"status": {argument}}}\n'.encode()
        writer.write(_head(int(argument), "application/json", len(text)))
        writer.write(b"" if method == "HEAD" else text)
        return
    if name == "bytes" and argument.isdigit() and int(argument) <= MAX_BYTES:
        left = int(argument)
        writer.write(_head(200, "application/octet-stream", left))
        while left and method != "HEAD":
            writer.write(BLOCK[:left])
            left -= min(left, len(BLOCK))
            await writer.drain()
        return
    if argument == "stream" and method != "HEAD":
        writer.write(_head(200, "text/plain", None))
        for count in range(1, 6):
            writer.write(b"7\r\nline %d\n\r\n" % count)
            await writer.drain()
            await asyncio.sleep(0.5)
        writer.write(b"0\r\n\r\n")
        return
    if name == "delay" and argument.replace(".", "", 1).isdigit():
        await asyncio.sleep(min(float(argument), MAX_DELAY))
    description = {
        "upstream_port": port,
        "method": method,
        "target": target,
        "headers": fields,
        "body": body.decode("utf-8", "replace"),
    }
    text = json.dumps(description, indent=2).encode() + b"\n"
    writer.write(_head(200, "application/json", len(text)))
    writer.write(b"" if method == "HEAD" else text)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while (head := await _read_head(reader)) is not None:
            body = await _read_body(reader, head[2])
            if body is None:
                writer.write(_head(413, "text/plain", 0))
                break
            await _answer(writer, head, body)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        pass
    finally:
        writer.close()


async def listen(ports: tuple[int, ...]) -> list[asyncio.Server]:
    """Serve on these loopback ports. Raises OSError, naming the port, when one is taken."""
    servers = []
    for port in ports:
        try:
            servers.append(await asyncio.start_server(_serve, "127.0.0.1", port))
        except OSError as error:
            raise OSError(error.errno, f"port {port} of the example upstream is taken: {error.strerror}") from error
    return servers
