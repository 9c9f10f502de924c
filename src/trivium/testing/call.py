"""One request to the fake upstream while it is answered: what was asked, in which dialect, and where to write."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, replace

from msgspec.json import encode

from trivium.testing import answers
from trivium.testing.answers import Answer
from trivium.testing.http import LAST_CHUNK, Connection, Headers, chunk, response_head
from trivium.testing.problems import Problem
from trivium.testing.voice import Script, Voice

JSON_TYPE = {"content-type": "application/json"}
CHUNKED = {"transfer-encoding": "chunked"}


@dataclass(frozen=True)
class Call:
    """What a fault works with. All waits are divided by the upstream's `time_scale`."""

    connection: Connection
    voice: Voice
    answer: Answer
    stream: bool
    time_scale: float
    earlier: int
    """How many requests for this model this upstream has had before."""
    port: int

    @property
    def script(self) -> Script:
        return self.voice.script(self.answer)

    @property
    def whole(self) -> bytes:
        return encode(self.voice.whole(self.answer))

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.voice.headers(self.answer))

    @property
    def kind(self) -> dict[str, str]:
        return self.stream_type if self.stream else JSON_TYPE

    @property
    def stream_type(self) -> dict[str, str]:
        return {"content-type": self.voice.stream_type, "cache-control": "no-cache"}

    @property
    def body(self) -> bytes:
        """The correct answer's body without transfer coding."""
        return b"".join(self.script.frames) if self.stream else self.whole

    def head(self, fields: dict[str, str]) -> bytes:
        """The head of a 200 with these fields beside the usual ones."""
        return response_head(200, self.headers | self.kind | fields)

    def saying(self, text: str) -> Call:
        """With another text in the answer, and no tool calls."""
        said = replace(self.answer, pieces=answers.pieces_of(text), calls=(), cut_short=False)
        return replace(self, answer=said)

    def longer_than(self, pieces: int) -> Call:
        """With an answer of more pieces than that, so that something is missing when it is cut after them."""
        script = self.script
        return self if len(script.content) > pieces else self.saying(answers.words(pieces + 1))

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.time_scale)

    async def send(self, data: bytes) -> None:
        await self.connection.send(data)

    async def respond(self, body: bytes, status: int = 200, headers: Headers = JSON_TYPE) -> None:
        """A whole answer with its length."""
        items = list(headers.items()) if not isinstance(headers, list) else headers
        fields = [*self.headers.items(), *items, ("content-length", str(len(body)))]
        await self.send(response_head(status, fields) + body)

    async def fail(self, problem: Problem, headers: Headers = JSON_TYPE) -> None:
        status, body = self.voice.error(problem)
        await self.respond(encode(body), status, headers)

    async def open_stream(self) -> None:
        await self.send(self.head(self.stream_type | CHUNKED))

    async def frame(self, data: bytes) -> None:
        await self.send(chunk(data))

    async def end(self) -> None:
        await self.send(LAST_CHUNK)

    async def play(self, frames: list[bytes], gap_s: float = 0.0) -> None:
        """A whole stream of these frames, each written by itself, `gap_s` after the one before."""
        await self.open_stream()
        for data in frames:
            await self.frame(data)
            await self.wait(gap_s)
        await self.end()

    async def correctly(self) -> None:
        """The correct answer."""
        await self.streaming(self.script.frames)

    async def streaming(self, frames: list[bytes]) -> None:
        """A whole stream of these frames; where none is asked for, the correct answer."""
        await (self.play(frames) if self.stream else self.respond(self.whole))

    async def begin(self, pieces: int) -> None:
        """The head and so much of the correct answer: `pieces` of a stream's content, else half of the body
        (for 0 pieces nothing of it). The answer is left open."""
        if self.stream:
            script = self.script
            await self.open_stream()
            for data in itertools.chain(script.opening, script.content[:pieces]):
                await self.frame(data)
        else:
            head, body = self.encoded_parts
            await self.send(head + body[: len(body) // 2 if pieces else 0])

    async def bytewise(self, data: bytes, seconds: float, size: int = 1) -> None:
        """`size` bytes at a time, with a wait after each."""
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            await self.wait(seconds)

    @property
    def encoded_parts(self) -> tuple[bytes, bytes]:
        """The correct answer as its head and its body, as they stand on the wire."""
        if not self.stream:
            return self.head({"content-length": str(len(self.whole))}), self.whole
        return self.head(CHUNKED), b"".join(chunk(data) for data in self.script.frames) + LAST_CHUNK

    def fin(self) -> None:
        self.connection.fin()

    def rst(self) -> None:
        self.connection.rst()
