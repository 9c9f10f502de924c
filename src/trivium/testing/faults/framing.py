"""HTTP that lies about itself, and connections that close at the wrong moment: cases 29, 30."""

from __future__ import annotations

import asyncio
import gzip
import zlib

from trivium.testing.call import CHUNKED, JSON_TYPE, STREAM_TYPE, Call
from trivium.testing.faults.table import fault
from trivium.testing.http import LAST_CHUNK, chunk, response_head


def _kind(call: Call) -> dict[str, str]:
    return STREAM_TYPE if call.stream else JSON_TYPE


def _body(call: Call) -> bytes:
    """The correct answer's body without transfer coding."""
    return b"".join(call.script.frames) if call.stream else call.whole


@fault("gzip", 29, "a correct answer in `content-encoding: gzip`, asked for or not")
async def gzipped(call: Call) -> None:
    await call.respond(gzip.compress(_body(call)), 200, _kind(call) | {"content-encoding": "gzip"})


@fault("double-gzip", 29, "a correct answer in gzip twice, declared once")
async def double_gzip(call: Call) -> None:
    body = gzip.compress(gzip.compress(_body(call)))
    await call.respond(body, 200, _kind(call) | {"content-encoding": "gzip"})


@fault("gzip-bomb-{n}", 29, "n MiB of blanks in gzip, about a thousandth of that on the wire")
async def gzip_bomb(call: Call, n: int) -> None:
    packer = zlib.compressobj(wbits=31)
    blanks = b" " * (1 << 20)
    await call.send(response_head(200, call.headers | _kind(call) | CHUNKED | {"content-encoding": "gzip"}))
    for _ in range(n):
        if packed := packer.compress(blanks):
            await call.frame(packed)
        await call.wait(0)
    await call.frame(packer.flush())
    await call.end()


async def _declaring(call: Call, lengths: list[int]) -> None:
    """A correct body with these `content-length` fields, then FIN."""
    fields = [*call.headers.items(), *_kind(call).items(), *(("content-length", str(size)) for size in lengths)]
    await call.send(response_head(200, fields) + _body(call))
    call.fin()


@fault("wrong-length", 29, "a correct body, declared 100 bytes longer than it is, then FIN")
async def wrong_length(call: Call) -> None:
    await _declaring(call, [len(_body(call)) + 100])


@fault("short-length", 29, "a correct body, declared 10 bytes shorter than it is, then FIN")
async def short_length(call: Call) -> None:
    await _declaring(call, [len(_body(call)) - 10])


@fault("two-lengths", 29, "two `content-length` fields that differ")
async def two_lengths(call: Call) -> None:
    await _declaring(call, [len(_body(call)), len(_body(call)) - 10])


@fault("length-and-chunked", 29, "a chunked body with a `content-length` beside it")
async def length_and_chunked(call: Call) -> None:
    body = _body(call)
    head = response_head(200, call.headers | _kind(call) | CHUNKED | {"content-length": str(len(body))})
    await call.send(head + chunk(body) + LAST_CHUNK)


@fault("bad-chunk", 29, "a chunk whose size is no number")
async def bad_chunk(call: Call) -> None:
    await call.send(response_head(200, call.headers | _kind(call) | CHUNKED) + b"zz\r\nhello\r\n" + LAST_CHUNK)


@fault("garbage", 29, "bytes that are no HTTP at all")
async def garbage(call: Call) -> None:
    await call.send(b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\r\n")
    call.fin()


@fault("bare-lf", 29, "a correct answer whose head's lines end with LF alone")
async def bare_lf(call: Call) -> None:
    head, body = call.encoded_parts
    await call.send(head.replace(b"\r\n", b"\n") + body)


@fault("huge-head", 29, "a head of 1 MiB")
async def huge_head(call: Call) -> None:
    head, body = call.encoded_parts
    await call.send(head[:-2] + b"x-padding: " + b"x" * (1 << 20) + b"\r\n\r\n" + body)


@fault("early-hints", 29, "103 Early Hints before a correct answer (legal)")
async def early_hints(call: Call) -> None:
    await call.send(response_head(103, {"link": "</style.css>; rel=preload"}))
    await call.correctly()


@fault("until-close", 29, "a correct answer whose body ends with the connection (legal)")
async def until_close(call: Call) -> None:
    await call.send(response_head(200, call.headers | _kind(call) | {"connection": "close"}) + _body(call))
    call.fin()


@fault("extra-response", 29, "a second answer that nobody asked for follows the correct one in the same write")
async def extra_response(call: Call) -> None:
    stray = response_head(200, JSON_TYPE | {"content-length": "2"}) + b"{}"
    await call.send(call.encoded + stray)


@fault("keepalive-race", 30, "answers correctly; the next request on the connection meets FIN and is not counted")
async def keepalive_race(call: Call) -> None:
    await call.correctly()
    call.connection.on_data = call.fin


@fault("keepalive-race-rst", 30, "answers correctly; the next request on the connection meets RST and is not counted")
async def keepalive_race_rst(call: Call) -> None:
    await call.correctly()
    call.connection.on_data = call.rst


@fault("idle-close-{n}", 30, "answers correctly, and closes the idle connection n milliseconds later")
async def idle_close(call: Call, n: int) -> None:
    await call.correctly()
    connection = call.connection

    def close() -> None:
        if connection.idle:
            call.fin()

    asyncio.get_running_loop().call_later(n / 1000 / call.time_scale, close)
