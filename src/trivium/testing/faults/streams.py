"""Answers that end too early, never end, or hold what they should not: cases 10, 12 to 19, 21, 28."""

from __future__ import annotations

import asyncio
import itertools

from msgspec.json import encode

from trivium.testing import answers
from trivium.testing.call import CHUNKED, Call
from trivium.testing.faults.table import fault
from trivium.testing.http import chunk
from trivium.testing.problems import PROBLEMS
from trivium.testing.voice import Script

OVERLOADED = PROBLEMS["529"]


@fault("cut-before-content", 13, "opens the answer, then FIN before any content", 0)
@fault("cut-after-{n}", 12, "sends n pieces of content, then FIN without the last chunk")
async def cut_after(call: Call, n: int) -> None:
    await call.longer_than(n).begin(n)
    call.fin()


@fault("clean-cut-after-{n}", 12, "sends n pieces of content, then ends the HTTP body properly")
async def clean_cut_after(call: Call, n: int) -> None:
    call = call.longer_than(n)
    if call.stream:
        await call.begin(n)
        await call.end()
    else:
        body = call.whole
        await call.respond(body[: len(body) // 2])


@fault("close-cut-after-{n}", 12, "sends n pieces of content in a body that ends with the connection, then FIN")
async def close_cut_after(call: Call, n: int) -> None:
    call = call.longer_than(n)
    script = call.script
    body = b"".join([*script.opening, *script.content[:n]]) if call.stream else call.whole[: len(call.whole) // 2]
    await call.send(call.head({"connection": "close"}) + body)
    call.fin()


@fault("cut-at-{n}", 12, "sends the head and n bytes of the encoded body, then FIN")
async def cut_at(call: Call, n: int) -> None:
    head, body = call.encoded_parts
    await call.send(head + body[:n])
    call.fin()


@fault("cut-before-headers", 13, "reads the request, then FIN without a byte")
async def cut_before_headers(call: Call) -> None:
    call.fin()


@fault("cut-in-headers", 13, "sends half of the head, then FIN")
async def cut_in_headers(call: Call) -> None:
    head, _ = call.encoded_parts
    await call.send(head[: len(head) // 2])
    call.fin()


@fault("rst-after-{n}", 14, "sends n pieces of content, then RST")
async def rst_after(call: Call, n: int) -> None:
    await call.longer_than(n).begin(n)
    await asyncio.sleep(0.05)  # an RST overtakes what the client has not read yet
    call.rst()


@fault("rst-before-headers", 14, "reads the request, then RST without a byte")
async def rst_before_headers(call: Call) -> None:
    call.rst()


@fault("no-done", 15, "sends everything but the terminal marker, then ends the HTTP body properly")
async def no_done(call: Call) -> None:
    script = call.script
    await call.streaming([*script.opening, *script.content, *script.closing])


@fault("no-finish", 12, "sends the terminal marker, but no choice ever finishes")
async def no_finish(call: Call) -> None:
    script = call.script
    await call.streaming([*script.opening, *script.content, *script.marker])


@fault("unknown-event", 16, "one event in the middle of a correct stream is of an unknown kind", "unknown")
@fault("event-without-data", 16, "one event in the middle of a correct stream has a name and no data", "bare")
async def extra_event(call: Call, kind: str) -> None:
    script = call.script
    script.content.insert(len(script.content) // 2, getattr(call.voice.noise, kind))
    await call.streaming(script.frames)


@fault("malformed-chunk", 16, "one event of a correct stream is broken JSON (without streaming: the body)")
async def malformed_chunk(call: Call) -> None:
    if call.stream:
        await extra_event(call, "broken")
    else:
        await call.respond(call.whole[:-2])


@fault("comments", 16, "comments stand before, between and after the events of a correct stream")
async def comments(call: Call) -> None:
    before, after = call.voice.noise.comments
    frames = [part for data in call.script.frames for part in (before, data, after)]
    await call.streaming(frames)


@fault("crlf", 16, "the stream's lines end with CR LF", b"\r\n")
@fault("cr", 16, "the stream's lines end with CR", b"\r")
@fault("mixed-newlines", 16, "the stream's lines end with CR, CR LF and LF in turn", b"\r", b"\r\n", b"\n")
async def line_ends(call: Call, *ends: bytes) -> None:
    legal = [end for end in ends if end in call.voice.noise.line_ends] or [b"\r\n"]
    kinds = itertools.cycle(legal)  # in that order, no CR and LF of two lines make one end
    await call.streaming(
        [b"".join(line + next(kinds) for line in data.split(b"\n")[:-1]) for data in call.script.frames]
    )


@fault("bom", 16, "a byte order mark stands before the stream")
async def bom(call: Call) -> None:
    frames = call.script.frames
    frames[0] = b"\xef\xbb\xbf" + frames[0]
    await call.streaming(frames)


@fault("one-byte-writes", 16, "every byte of the answer is a write, and of a stream's body a chunk, of its own")
async def one_byte_writes(call: Call) -> None:
    head, body = call.encoded_parts
    await call.bytewise(head, 0)
    if call.stream:
        for byte in b"".join(call.script.frames):
            await call.frame(bytes([byte]))
            await call.wait(0)
        await call.end()
    else:
        await call.bytewise(body, 0)


@fault("utf8-split", 17, "a text of many scripts, every chunk ending inside a character where there is one")
async def utf8_split(call: Call) -> None:
    call = call.saying(answers.UNICODE)
    data = call.body
    # A byte of the form 10xxxxxx continues a character, so a cut before it lies inside one.
    cuts = [index for index, byte in enumerate(data) if byte & 0xC0 == 0x80]
    pieces = [data[start:end] for start, end in itertools.pairwise([0, *cuts, len(data)])]
    await call.send(call.head(CHUNKED))
    for piece in pieces:
        await call.frame(piece)
        await call.wait(0)
    await call.end()


@fault("invalid-utf8", 17, "the text of a correct answer holds bytes that are no UTF-8", b"\xff\xc3")
@fault("lone-surrogate", 17, "the text of a correct answer holds the JSON escape of half a surrogate pair", rb"\ud83d")
async def bad_character(call: Call, bad: bytes) -> None:
    call, good = call.saying("caf§ au lait"), "§".encode()
    if call.stream:
        await call.play([data.replace(good, bad) for data in call.script.frames])
    else:
        await call.respond(call.whole.replace(good, bad))


@fault("error-200", 18, "200 with an error as its JSON body, also when a stream was asked for")
async def error_200(call: Call) -> None:
    await call.respond(encode(call.voice.error(OVERLOADED)[1]))


@fault("error-first-event", 18, "200 and a stream whose first event is an error")
async def error_first_event(call: Call) -> None:
    await (call.play([call.voice.error_frame(OVERLOADED)]) if call.stream else error_200(call))


@fault("error-midstream-{n}", 19, "sends n pieces of content, then an error event, then ends the HTTP body properly")
async def error_midstream(call: Call, n: int) -> None:
    if not call.stream:
        await error_200(call)
        return
    script = call.longer_than(n).script
    await call.play([*script.opening, *script.content[:n], call.voice.error_frame(OVERLOADED)])


@fault("empty", 21, "200 with an empty body")
async def empty(call: Call) -> None:
    await (call.play([]) if call.stream else call.respond(b""))


@fault("zero-choices", 21, "200 and an answer without choices (openai), or without content and stop reason (anthropic)")
async def zero_choices(call: Call) -> None:
    if call.stream:
        await call.play(call.voice.hollow_script(call.answer).frames)
    else:
        await call.respond(encode(call.voice.hollow(call.voice.whole(call.answer))))


@fault("flood-{n}", 10, "streams n MiB as fast as they are read", 1 << 12)
@fault("oversize", 28, "an answer of 80 MiB, streamed as many events", 1 << 20, 80)
async def flood(call: Call, piece: int, mebibytes: int) -> None:
    if call.stream:
        script = call.saying("x" * piece).script
        pieces = script.content * ((mebibytes << 20) // piece)
        await call.play([*script.opening, *pieces, *script.closing, *script.marker])
    else:
        await call.saying("x" * (mebibytes << 20)).correctly()


@fault("oversize-event", 28, "one event of 6 MiB in a correct stream")
async def oversize_event(call: Call) -> None:
    await call.saying("x" * (6 << 20)).correctly()


@fault("endless", 28, "content without an end")
async def endless(call: Call) -> None:
    script: Script = call.script
    if call.stream:
        await call.begin(0)
        piece = b"".join(chunk(data) for data in script.content)
    else:
        await call.send(call.head(CHUNKED))
        await call.frame(call.whole[:-1] + b',"more":"')
        piece = chunk(b"x" * 4096)
    while not call.connection.closing:
        await call.send(piece)
        await call.wait(0.001)
