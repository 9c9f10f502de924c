"""Correct answers, and answers that are too slow or stop coming: cases 6 to 9, 11, 32."""

from __future__ import annotations

from trivium.testing import answers
from trivium.testing.call import Call
from trivium.testing.faults.table import fault

SILENCE_S = 120.0


@fault("ok", 0, "answers correctly")
async def ok(call: Call) -> None:
    await call.correctly()


@fault("ok-{n}", 0, "answers correctly with n pieces of text")
async def ok_words(call: Call, n: int) -> None:
    await call.saying(answers.words(n)).correctly()


@fault("gap-{n}", 32, "answers correctly with 64 pieces of text, n milliseconds apart")
async def gap(call: Call, n: int) -> None:
    call = call.saying(answers.words(64))
    if call.stream:
        await call.play(call.script.frames, n / 1000)
    else:
        await late(call, 64 * n)


@fault("silent", 6, "sends nothing for 120 s", SILENCE_S * 1000)
@fault("late-{n}", 6, "answers correctly, n milliseconds after the request")
async def late(call: Call, n: float) -> None:
    await call.wait(n / 1000)
    await call.correctly()


@fault("slow-headers", 7, "sends the head at 1 byte/s")
async def slow_headers(call: Call) -> None:
    head, body = call.encoded_parts
    await call.bytewise(head, 1.0)
    await call.send(body)


@fault("loris-body", 8, "sends the head at once and the body at 1 byte/s")
async def loris_body(call: Call) -> None:
    head, body = call.encoded_parts
    await call.send(head)
    await call.bytewise(body, 1.0)


@fault("stall-before-content", 11, "opens the answer, then sends nothing for 120 s", 0)
@fault("stall-after-{n}", 11, "sends n pieces of content (without streaming: half of the body), then nothing for 120 s")
async def stall_after(call: Call, n: int) -> None:
    await call.longer_than(n).begin(n)
    await call.wait(SILENCE_S)
    call.fin()


@fault("comments-after-{n}", 11, "sends n pieces of content, then only comments, one a second, for 120 s")
async def comments_after(call: Call, n: int) -> None:
    await call.longer_than(n).begin(n)
    for _ in range(int(SILENCE_S)):
        await call.wait(1.0)
        if call.stream:
            await call.frame(call.voice.noise.still_here)
    call.fin()
