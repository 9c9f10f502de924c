"""A draw: a number that looks random, and is the same for the same seed and name, so that a plan can be repeated.

Every candidate has a number of its own, so that a choice moves only where its winner goes away (rendezvous hashing:
Thaler and Ravishankar, 1998; with weights as in Schindelhauer and Schomaker, 2005). Who shares a seed, as the requests
of a session do, draws alike in every process.
"""

from __future__ import annotations

import math
from zlib import crc32

_WORD = (1 << 32) - 1


def seed_of(text: str) -> int:
    """The seed of a request id, or of whatever else shall always be drawn alike."""
    return crc32(text.encode())


def unit(seed: int, name: int) -> float:
    """In (0, 1); `name` is the `seed_of` a candidate. Mixed as at the end of MurmurHash3 (Appleby, 2011)."""
    x = (seed * 0x9E3779B1 + name) & _WORD
    x = ((x ^ x >> 16) * 0x85EBCA6B) & _WORD
    x = ((x ^ x >> 13) * 0xC2B2AE35) & _WORD
    return ((x ^ x >> 16) + 0.5) / (1 << 32)


def score(seed: int, name: int, weight: float) -> float:
    """The highest of several wins; each wins as often as its share of all weights."""
    return weight / -math.log(unit(seed, name))
