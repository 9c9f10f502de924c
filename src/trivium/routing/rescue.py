"""Rescue: who may go on with an answer that broke off after its caller had part of it, and how; pure.

Two ways. `continue`: another endpoint is given what was said and goes on from there. `restart`: it answers from the
start, and what it says is swallowed as long as it is, word for word, what was said. Neither ever joins two answers.
Held answers need no way: nothing of them was said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.errors import TriviumError, UpstreamError, UpstreamRefused, UpstreamRejected
from trivium.routing.route import Route

Mode = Literal["continue", "restart"]

CUT_CHARS_MAX = 32
"""A longer last word is none: a text without blanks, whose last boundary nobody can tell."""
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_LAST_WORD = re.compile(r"\s+\S+\Z")


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What matters of a request, and of what its caller has of the answer."""

    plain: bool
    """It is text of one choice, in a request that offers no tools."""
    structured: bool
    """The answer is to be JSON."""
    verifiable: bool
    """All of it can be compared with another answer."""
    deterministic: bool
    """The same weights are expected to say the same: temperature 0, or a seed."""


def is_worth(error: TriviumError) -> bool:
    """Whether an answer that ended so may be gone on with elsewhere: not where it is refused, or the fault is ours."""
    return isinstance(error, UpstreamError) and not isinstance(error, UpstreamRefused | UpstreamRejected)


def may_need(route: Route, broken: Endpoint, later: Iterable[Endpoint]) -> bool:
    """Whether what an endpoint says must be remembered, since one of the later ones could go on with it."""
    return route.rescue not in ("terminate", "hold") and any(_ways(route, broken, target) for target in later)


def mode(route: Route, broken: Endpoint, target: Endpoint, shape: Shape) -> Mode | None:
    """How `target` goes on with what `broken` said; None: not at all."""
    for way in _ways(route, broken, target):
        if way == "continue" and shape.plain and (target.engine is not None or not shape.structured):
            return way
        if way == "restart" and shape.verifiable and shape.deterministic:
            return way
    return None


def _ways(route: Route, broken: Endpoint, target: Endpoint) -> tuple[Mode, ...]:
    """What route and endpoints allow, the cheaper way first. Of itself (`auto`) only an engine of ours goes on."""
    alike = same_weights(broken, target)
    if not (alike or route.rescue_other_model):
        return ()
    continues = target.engine is not None or "prefill" in target.capabilities
    match route.rescue:
        case "continue":
            return ("continue",) if continues else ()
        case "restart":
            return ("restart",)
        case "auto" if target.engine is not None:
            return (*(("continue",) if continues else ()), *(("restart",) if alike else ()))
        case _:
            return ()


def same_weights(one: Endpoint, other: Endpoint) -> bool:
    return one.weights is not None and one.weights == other.weights


def in_time(way: Mode, *, left_s: float, first_s: float, said_s: float) -> bool:
    """Whether there is time for it, if the target is about as fast as who broke off: that took `first_s` to its first
    content, and `said_s` from there to its last."""
    return left_s > first_s + (said_s if way == "restart" else 0.0)


def boundary(text: str, *, whole_tokens: bool) -> int:
    """Where to cut a text so that its start ends with a token of the model that goes on, which must repeat the rest.

    Blanks at the end belong to the next token, and templates drop them. What came from the same weights ends with a
    token (`whole_tokens`); of other text only the end of a word is known to be one. 0: it is nothing but blanks.
    """
    bare = len(text.rstrip())
    if whole_tokens or bare < len(text):
        return bare
    tail = text[-(CUT_CHARS_MAX + 1) :]
    found = _LAST_WORD.search(tail)
    start = 0 if found is None else len(text[: len(text) - len(tail) + found.start()].rstrip())
    return start or bare


def within_string(text: str) -> bool:
    """Whether JSON that is cut off ends inside a string, where blanks mean something."""
    return _ESCAPE.sub("", text).count('"') % 2 == 1


def stops_left(text: str, stops: Iterable[str]) -> dict[str, str]:
    """What would complete each stop sequence that a text may have begun at its end, and that sequence."""
    return {stop[size:]: stop for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])}
