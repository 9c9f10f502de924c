"""The records of the journal: what the ledger is made of.

An attempt has two: `Reserved`, written before its first byte goes upstream, and `Settled`, written
before the caller's terminal event or end of body. A request has one, `Closed`, written together with the last
settlement (`Answered`), or alone where it ends without an answer. All carry the generation id; an attempt is named by
it and its number. Loading is idempotent: (id, attempt) is unique. What many attempts or requests
share stands together in their records, so that the loader can take it out in one piece.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec.structs import astuple

FIGURE_MAX = 10**15
"""Larger than any true figure: a million dollars in nano-dollars, thirty years in microseconds."""
TEXT_MAX = 1_000
"""Characters of a text that are kept: callers choose names of models, and could fill the disk with them."""
Figure = Annotated[int, msgspec.Meta(ge=-1, le=FIGURE_MAX)]
"""A number that callers and upstreams have a say in. Checked where records are read, not where they are made."""

Outcome = Literal["ok", "error", "error_midstream", "aborted_by_client", "unknown"]


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where an attempt goes, and what it is priced by."""

    endpoint: str
    provider: str
    model: str
    access: str
    price_version: str


def packed(place: Place) -> msgspec.Raw:
    """A place as it stands in records; a lone surrogate, which UTF-8 has not, becomes a question mark."""
    texts = [text[:TEXT_MAX].encode("utf-8", "replace") for text in astuple(place)]
    return msgspec.Raw(msgspec.msgpack.encode([text.decode() for text in texts]))


@lru_cache(maxsize=4096)
def place_of(packed: bytes) -> Place:
    """The place that was packed into these bytes."""
    return msgspec.msgpack.decode(packed, type=Place)


class Reserved(msgspec.Struct, frozen=True, tag="r", array_like=True):
    """An attempt is about to be sent."""

    id: str
    attempt: int
    """From 1."""
    time_ms: int
    """Unix milliseconds."""
    reserved_nanos: Figure | None
    """The upper bound of its cost; None where the price is unknown."""
    input_tokens_estimate: Figure
    packed_place: msgspec.Raw
    """The same bytes in many records, so that nobody needs to make or read them twice."""
    key: str

    @property
    def place(self) -> Place:
        return place_of(bytes(self.packed_place))


class Settled(msgspec.Struct, frozen=True, tag="s", array_like=True):
    """An attempt has ended, one way or the other."""

    id: str
    attempt: int
    time_ms: int
    outcome: Outcome
    error: str
    """The error's kind; empty for `ok`."""
    upstream_status: Figure = 0
    """0: no head came."""
    estimated: bool = False
    finish_reason: str = ""
    input_tokens: Figure = 0
    output_tokens: Figure = 0
    cache_read_tokens: Figure = 0
    cache_write_tokens: Figure = 0
    reasoning_tokens: Figure = 0
    cost_nanos: Figure | None = None
    """What it cost: a routing service's own word, else from usage and price; None: unknown."""
    upstream_cost_nanos: Figure | None = None
    """The routing service's own word, where it gave one."""
    ttft_us: Figure = -1
    """Microseconds from dispatch to the first content; -1: none came."""
    duration_us: Figure = 0
    upstream_id: str = ""


class Closed(msgspec.Struct, frozen=True, tag="c", array_like=True):
    """A request is over: what the caller asked for and what it got."""

    id: str
    time_ms: int
    """When it arrived."""
    duration_us: Figure
    cost_nanos: Figure | None
    """Over all attempts; None if one of them is unknown."""
    max_output_tokens: Figure | None
    requested_model: str
    dialect: str
    key: str
    data_class: int
    stream: bool
    status: Figure
    """The HTTP status that the caller saw; of an answer that was cut, that of the error."""
    error: str
    attempts: int
    endpoint: str
    """Which one answered; empty: none."""
    fallback: str
    """Why it was not the first of the plan; empty: it was."""
    operation: str
    """What it was, with `needs` and `models` what its plan was made for; empty where nobody said so."""
    needs: str
    """Capabilities, as far as they were looked for, with commas between them."""
    models: tuple[str, ...]
    """Further ones that it named."""
    dropped: tuple[str, ...]
    tags: tuple[str, ...] = ()


Told = tuple[
    str, int, int, int | None, int | None,
    str, str, str, int, bool, int, str, int, str, str, str, str, tuple[str, ...], tuple[str, ...], tuple[str, ...],
]  # fmt: skip
"""The fields of `Closed`."""


class Answered(Closed, frozen=True, tag="a", array_like=True):
    """A request is over because its attempt has ended well: what both records say, as almost every request ends."""

    upstream_status: Figure = 0
    estimated: bool = False
    finish_reason: str = ""
    input_tokens: Figure = 0
    output_tokens: Figure = 0
    cache_read_tokens: Figure = 0
    cache_write_tokens: Figure = 0
    reasoning_tokens: Figure = 0
    attempt_cost_nanos: Figure | None = None
    upstream_cost_nanos: Figure | None = None
    ttft_us: Figure = -1
    attempt_duration_us: Figure = 0
    upstream_id: str = ""


CLOSED_WIDTH = len(Closed.__struct_fields__)
"""Fields of an `Answered` that are those of `Closed`; the others are those of `Settled` after its error."""


def apart(answered: Answered) -> tuple[Settled, Closed]:
    """The two records that an `Answered` stands for."""
    row = astuple(answered)
    settled = Settled(answered.id, answered.attempts, answered.time_ms, "ok", "", *row[CLOSED_WIDTH:])
    return settled, Closed(*row[:CLOSED_WIDTH])


Record = Reserved | Settled | Closed
Entry = Record | Answered
"""What a frame of the journal holds many of."""
