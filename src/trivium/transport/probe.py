"""A probe: one small GET to a server on this machine, on a connection of its own."""

from __future__ import annotations

import asyncio

import httptools

from trivium.transport.address import refused_name
from trivium.types.origin import Origin

ANSWER_BYTES_MAX = 1 << 20


async def get(origin: Origin, path: str, *, timeout_s: float) -> tuple[int, bytes]:
    """Status and body of an answer; (0, b"") for a server that is absent, silent, off this machine or no HTTP/1.1."""
    if origin.scheme != "http" or refused_name(origin, trusted_origin=True, offline=True) is not None:
        return 0, b""
    try:
        async with asyncio.timeout(timeout_s):
            return await _get(origin, path)
    except (OSError, ValueError, httptools.HttpParserError, TimeoutError):
        return 0, b""


async def _get(origin: Origin, path: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(origin.host, origin.port)
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


class _Answer:
    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True
