"""Quantities as people write them: durations, moments, sizes and money."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Literal

import msgspec

from trivium.types.money import nanos

Period = Literal["day", "week", "month", "year"]

_SECONDS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86_400),
}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_PERIODS: dict[str, Period] = {"day": "day", "week": "week", "month": "month", "year": "year"}
_NUMBER = r"(\d{1,12}(?:\.\d{1,9})?)"
_DURATION = re.compile(rf"{_NUMBER} *({'|'.join(_SECONDS)})", re.ASCII)
_SIZE = re.compile(rf"{_NUMBER} *({'|'.join(_BYTES)})", re.ASCII)
_MONEY = re.compile(rf"{_NUMBER} *USD(?: */ *({'|'.join(_PERIODS)}))?", re.ASCII)


class Amount(msgspec.Struct, frozen=True):
    """An amount of money; `period` is None where none was named."""

    nanos: int
    period: Period | None = None


def seconds(text: str) -> float:
    """`250ms`, `3s`, `10m`, `1h`, `7d` in seconds. Raises ValueError that says how to write one."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f'{text!r} is not a duration: write a number and a unit, such as "250ms", "3s", "10m", "1h"')
    return float(Decimal(match[1]) * _SECONDS[match[2]])


def moment(text: str) -> float:
    """The Unix time of an ISO date or time; one without a zone is UTC. Raises ValueError."""
    read = dt.datetime.fromisoformat(text)
    return (read if read.tzinfo else read.replace(tzinfo=dt.UTC)).timestamp()


def size(text: str) -> int:
    """`512MiB`, `1GiB`, `10GB` in bytes. Raises ValueError that says how to write one."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f'{text!r} is not a size: write a number and a unit, such as "512MiB", "1GiB", "10GB"')
    return int(Decimal(match[1]) * _BYTES[match[2]])


def money(text: str) -> Amount:
    """`1 USD`, `25 USD / month` in nano-dollars. Raises ValueError that says how to write one."""
    match = _MONEY.fullmatch(text.strip())
    if not match:
        raise ValueError(f'{text!r} is not an amount: write it as "1 USD" or "25 USD / month"')
    return Amount(nanos(match[1]), _PERIODS.get(match[2] or ""))
