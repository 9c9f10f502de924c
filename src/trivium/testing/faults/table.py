"""The table of faults: the requested model's name chooses one, numbers in the name are its parameters."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from trivium.testing.call import Call

Run = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """`name` may hold `{n}` for a number; `case` is the case's number in the fault suite, 0 for none.

    `fixed` are arguments of `run` that stand before the numbers of the name: one function serves several faults.
    """

    name: str
    case: int
    about: str
    run: Run
    fixed: tuple[Any, ...]
    pattern: re.Pattern[str]


FAULTS: list[Fault] = []


def fault(name: str, case: int, about: str, *fixed: Any) -> Callable[[Run], Run]:
    """Register a function `(call, *fixed, *numbers)` as the fault of that name."""

    def register(run: Run) -> Run:
        pattern = re.compile(re.escape(name).replace(r"\{n\}", r"(\d+)"))
        FAULTS.append(Fault(name, case, about, run, fixed, pattern))
        return run

    return register


def find(model: str) -> tuple[Fault, list[int]] | None:
    """The fault that a model's name asks for, with its numbers. What precedes the last `/` or `+` is ignored, so
    that `tool+cut-after-2` is a tool call that is cut."""
    name = re.split(r"[/+]", model)[-1]
    for row in FAULTS:
        if match := row.pattern.fullmatch(name):
            return row, [int(number) for number in match.groups()]
    return None


async def answer(call: Call, model: str) -> None:
    """Answer as the model's name asks: with its fault, or correctly."""
    found = find(model)
    if found is None:
        await call.correctly()
    else:
        row, numbers = found
        await row.run(call, *row.fixed, *numbers)
