#!/usr/bin/env python3
"""What the dialects cost by themselves: CPU of reading and writing requests and answers, over their size.

dialects.py            run with the environment's Python; prints a Markdown table, µs of CPU, the best of 7 turns

No server and no socket: `bench.py` has those. Ten times the size must cost about ten times as much: the last column is
the ratio of the largest to the one before, which a cost that grows with the square would double tenfold.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from trivium.dialects import get
from trivium.dialects.base import Addressed, AnswerContext
from trivium.types.event import End, Event, Finish, Start, TextDelta, UsageReport
from trivium.types.message import Message, Text
from trivium.types.request import Request
from trivium.types.response import fold
from trivium.types.usage import Usage

DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages", "cohere_v2", "gemini", "ollama")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
TURNS, TURN_S = 7, 0.02
CONTEXT = AnswerContext(id="gen-1", model="m", created=0, include_usage=True)


def cost(work: Callable[[], Any]) -> float:
    """Microseconds of CPU of one call."""
    work()
    began = time.process_time()
    work()
    times = max(1, int(TURN_S / max(time.process_time() - began, 1e-6)))
    best = float("inf")
    for _ in range(TURNS):
        began = time.process_time()
        for _ in range(times):
            work()
        best = min(best, (time.process_time() - began) / times)
    return best * 1e6


def one_text(size: int) -> Request:
    messages = (Message("system", (Text("Be brief."),)), Message("user", (Text("word \n" * (size // 6)),)))
    return Request(model="m", messages=messages, max_output_tokens=100)


def many_messages(size: int) -> Request:
    talk = [Message(("user", "assistant")[i % 2], (Text("word " * 40),)) for i in range(max(1, size // 200) | 1)]
    return Request(model="m", messages=tuple(talk), max_output_tokens=100)


def stream(size: int) -> list[Event]:
    said = [TextDelta(" word") for _ in range(size // 100)]
    return [Start(id="a", model="m"), *said, Finish(reason="stop"), UsageReport(Usage(output_tokens=1)), End()]


def works(name: str) -> dict[str, Callable[[int], Callable[[], Any]]]:
    """What is measured of a dialect, by size."""
    dialect = get(name)
    addressed = Addressed("m", stream=False) if name == "gemini" else None

    def on(made: Callable[[int], Any], use: Callable[[Any], Any]) -> Callable[[int], Callable[[], Any]]:
        return lambda size: partial(use, made(size))

    def body(made: Callable[[int], Request]) -> Callable[[int], bytes]:
        return lambda size: dialect.build_request(made(size)).body

    def sent(size: int) -> bytes:
        encoder = dialect.encoder(CONTEXT)
        return b"".join(encoder.encode([event]) for event in stream(size))

    def read(body: bytes) -> Any:
        return dialect.parse_request(body, addressed)

    def passed(body: bytes) -> bytes:
        return dialect.pass_request(body, dialect.peek(body, addressed), "other")

    return {
        "pass, one text": on(body(one_text), passed),
        "read, one text": on(body(one_text), read),
        "write, one text": on(one_text, dialect.build_request),
        "read, many messages": on(body(many_messages), read),
        "write, many messages": on(many_messages, dialect.build_request),
        "read a stream": on(sent, lambda data: dialect.decoder().feed(data)),
        "write a stream": on(stream, lambda events: dialect.encoder(CONTEXT).encode(events)),
        "write an answer": on(lambda size: fold(stream(size)), lambda said: dialect.encode_answer(said, CONTEXT)),
    }


def main() -> None:
    print(f"| dialect | work | {' | '.join(f'{size // 1000} kB' for size in SIZES)} | last ratio |")
    print(f"|---|---|{'---|' * len(SIZES)}---|")
    steep: list[str] = []
    for name in DIALECTS:
        for title, made in works(name).items():
            costs = [cost(made(size)) for size in SIZES]
            ratio = costs[-1] / costs[-2]
            print(f"| `{name}` | {title} | {' | '.join(f'{us:,.1f}' for us in costs)} | {ratio:.1f} |", flush=True)
            if ratio > 30:
                steep.append(f"{name}: {title}")
    print(f"\nSteeper than linear: {', '.join(steep) or 'none'}. msgspec {msgspec.__version__}.")


if __name__ == "__main__":
    main()
