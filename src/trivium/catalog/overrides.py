"""Overrides: the figures of a price that change with the size of a prompt, the time of day or the day of the week.

Source: section 17 of OpenRouter's contract. Later overrides win figure by figure; what one leaves out is inherited.
"""

from __future__ import annotations

from typing import Any

from trivium.catalog.rows import UTC_DAYS, Figures, Override, Price

DAY_S, MINUTE_S = 86_400, 60
_THURSDAY = 3
"""The day of the week on which Unix time begins, Monday being 0."""
_PARTS = 1_000_000
_NAMES = Figures.__struct_fields__


def effective(price: Price, prompt_tokens: int, time_s: float) -> Price:
    """The flat price of a request of that size at a Unix time, its discount taken off."""
    figures: dict[str, Any] = {name: getattr(price, name) for name in _NAMES}
    for override in price.overrides:
        if _holds(override, prompt_tokens, int(time_s)):
            figures |= _changed(override)
    if price.discount_ppm:
        figures = {name: None if n is None else _less(n, price.discount_ppm) for name, n in figures.items()}
    return Price(**figures, version=price.version)


def dearest(price: Price) -> Price:
    """A flat price that no request exceeds."""
    if not price.overrides:
        return price
    every = [{name: getattr(price, name) for name in _NAMES}, *map(_changed, price.overrides)]
    known: dict[str, Any] = {name: [f[name] for f in every if f.get(name) is not None] for name in _NAMES}
    return Price(**{name: max(nanos) for name, nanos in known.items() if nanos})


def _changed(override: Override) -> dict[str, int]:
    return {name: nanos for name in _NAMES if (nanos := getattr(override, name)) is not None}


def _less(nanos: int, discount_ppm: int) -> int:
    return (nanos * (_PARTS - discount_ppm) + _PARTS // 2) // _PARTS


def _holds(override: Override, prompt_tokens: int, time_s: int) -> bool:
    """Whether all conditions hold: more tokens than that, from `utc_start` to before `utc_end`, on one of the days."""
    if override.min_prompt_tokens is not None and prompt_tokens <= override.min_prompt_tokens:
        return False
    minutes = time_s % DAY_S // MINUTE_S
    clock, day = minutes // 60 * 100 + minutes % 60, UTC_DAYS[(time_s // DAY_S + _THURSDAY) % 7]
    if override.utc_days and day not in override.utc_days:
        return False
    start, end = override.utc_start, override.utc_end
    if start is not None and end is not None and start > end:
        return clock >= start or clock < end  # it wraps past midnight
    return (start is None or clock >= start) and (end is None or clock < end)
