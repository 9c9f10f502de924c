"""A probe: one small GET to a server on this machine, on a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib

import httptools

from trivium.transport.address import refused_name
from trivium.transport.resolve import without_asking
from trivium.types.origin import Origin

ANSWER_BYTES_MAX = 1 << 20


async def get(origin: Origin, path: str, *, timeout_s: float) -> tuple[int, bytes]:
    """Status and body of an answer; (0, b"") for a server that is absent, silent, off this machine or no HTTP/1.1."""
    here = bool(without_asking(origin.host)) and refused_name(origin, trusted_origin=True, offline=True) is None
    if origin.scheme != "http" or not here:
        return 0, b""
    try:
        async with asyncio.timeout(timeout_s):
            return await _get(origin, path)
    except (OSError, ValueError, httptools.HttpParserError, TimeoutError):
        return 0, b""


async def _get(origin: Origin, path: str) -> tuple[int, bytes]:
    reader, writer = await _connected(origin)
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {origin.authority}\r\nconnection: close\r\n\r\n".encode())
        while not answer.complete and (data := await reader.read(1 << 16)):
            parser.feed_data(data)
            if len(answer.body) > ANSWER_BYTES_MAX:
                return 0, b""
    finally:
        writer.close()
    return parser.get_status_code() or 0, bytes(answer.body)


async def _connected(origin: Origin) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """By address, never by name: only the system's resolver knows where a name would be looked up."""
    *others, last = without_asking(origin.host)
    for address in others:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(address, origin.port)
    return await asyncio.open_connection(last, origin.port)


class _Answer:
    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True
