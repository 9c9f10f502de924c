"""Stickiness: a conversation stays where its prompt is cached, as long as it goes on.

A session that its caller names stays after any answer; one that only looks like a conversation stays once a prompt
cache was seen to be hit. Idle for ten minutes it is free again; an error neither moves nor keeps it.
"""

from __future__ import annotations

from zlib import crc32

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.wire.json import BROKEN

IDLE_S = 600.0
SESSIONS_MAX = 16_384
LOOKED_BYTES_MAX, PREFIX_BYTES = 16 * 1024, 4 * 1024
"""Messages are taken apart up to the first size; of longer ones the beginning stands for the first two."""
NAME_MAX = 256

_messages = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Session(msgspec.Struct, frozen=True):
    """Whose conversation it is, what it asks, and how it is told apart; `named` by its caller."""

    tenant: str
    model: str
    name: str
    named: bool


class Sticky:
    """Where sessions are. Mutable on purpose: one a process."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: dict[Session, tuple[str, float]] = {}

    def find(self, session: Session, now_s: float) -> str | None:
        """The endpoint that a session stays at."""
        found = self._places.get(session)
        if found is None:
            return None
        if now_s - found[1] > IDLE_S:
            del self._places[session]
            return None
        return found[0]

    def answered(self, session: Session, endpoint: str, now_s: float, *, cached: bool) -> None:
        """An endpoint has answered; `cached`: it has read a part of the prompt from its cache."""
        if not session.named and not cached and session not in self._places:
            return
        self._places.pop(session, None)
        if len(self._places) >= SESSIONS_MAX:
            del self._places[next(iter(self._places))]  # the one that is idle for longest
        self._places[session] = endpoint, now_s

    def __len__(self) -> int:
        return len(self._places)


def keeps_cache(endpoints: tuple[Endpoint, ...]) -> bool:
    """Whether it saves anything to stay: some endpoint reads a prompt for less from its cache."""
    return any(
        price.cache_read is not None and price.input is not None and price.cache_read < price.input
        for endpoint in endpoints
        if (price := endpoint.price) is not None
    )


def likeness(messages: bytes) -> str:
    """What the turns of one conversation have in common: its first system message and its first other one."""
    if len(messages) > LOOKED_BYTES_MAX:
        return f"{crc32(messages[:PREFIX_BYTES]):08x}"
    try:
        first = _messages(messages)[:2]
    except BROKEN:
        return ""
    alone = first[:1] if len(first) == 2 and b'"system"' not in bytes(first[0]) else first
    return f"{crc32(b','.join(map(bytes, alone))):08x}"
