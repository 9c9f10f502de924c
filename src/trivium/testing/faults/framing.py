"""HTTP that lies about itself, and connections that close at the wrong moment: cases 29, 30."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable

from trivium.testing.call import CHUNKED, JSON_TYPE, Call
from trivium.testing.faults.table import fault
from trivium.testing.http import LAST_CHUNK, chunk, response_head

GZIP = {"content-encoding": "gzip"}


@fault("gzip", 29, "a correct answer in `content-encoding: gzip`, asked for or not", 1)
@fault("double-gzip", 29, "a correct answer in gzip twice, declared once", 2)
async def gzipped(call: Call, times: int) -> None:
    body = call.body
    for _ in range(times):
        body = gzip.compress(body)
    await call.respond(body, 200, call.kind | GZIP)


@fault("gzip-bomb-{n}", 29, "n MiB of blanks in gzip, about a thousandth of that on the wire")
async def gzip_bomb(call: Call, n: int) -> None:
    packer = zlib.compressobj(wbits=31)
    blanks = b" " * (1 << 20)
    await call.send(call.head(CHUNKED | GZIP))
    for _ in range(n):
        if packed := packer.compress(blanks):
            await call.frame(packed)
        await call.wait(0)
    await call.frame(packer.flush())
    await call.end()


@fault("wrong-length", 29, "a correct body, declared 100 bytes longer than it is, then FIN", 100)
@fault("short-length", 29, "a correct body, declared 10 bytes shorter than it is, then FIN", -10)
@fault("two-lengths", 29, "two `content-length` fields that differ", 0, -10)
async def lying_length(call: Call, *lies: int) -> None:
    lengths = [("content-length", str(len(call.body) + lie)) for lie in lies]
    await call.send(response_head(200, [*call.headers.items(), *call.kind.items(), *lengths]) + call.body)
    call.fin()


@fault("length-and-chunked", 29, "a chunked body with a `content-length` beside it")
async def length_and_chunked(call: Call) -> None:
    head = call.head(CHUNKED | {"content-length": str(len(call.body))})
    await call.send(head + chunk(call.body) + LAST_CHUNK)


@fault("bad-chunk", 29, "a chunk whose size is no number")
async def bad_chunk(call: Call) -> None:
    await call.send(call.head(CHUNKED) + b"zz\r\nhello\r\n" + LAST_CHUNK)


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
    await call.send(call.head({"connection": "close"}) + call.body)
    call.fin()


@fault("extra-response", 29, "a second answer that nobody asked for follows the correct one in the same write")
async def extra_response(call: Call) -> None:
    stray = response_head(200, JSON_TYPE | {"content-length": "2"}) + b"{}"
    await call.send(b"".join(call.encoded_parts) + stray)


@fault("keepalive-race", 30, "answers correctly; the next request on it meets FIN and is not counted", Call.fin)
@fault("keepalive-race-rst", 30, "answers correctly; the next request on it meets RST and is not counted", Call.rst)
async def keepalive_race(call: Call, close: Callable[[Call], None]) -> None:
    await call.correctly()
    call.connection.on_data = lambda: close(call)


@fault("idle-close-{n}", 30, "answers correctly, and closes the idle connection n milliseconds later")
async def idle_close(call: Call, n: int) -> None:
    await call.correctly()
    connection = call.connection

    def close() -> None:
        if connection.idle:
            call.fin()

    asyncio.get_running_loop().call_later(n / 1000 / call.time_scale, close)
