"""Money as integers: nano-dollars, and prices in nano-dollars per million tokens.

A price of USD 2.50 per million tokens is 2_500_000_000. Per-token integers would not do: a cache
read at USD 0.0028 per million is 2.8 nano-dollars a token.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

NANOS_PER_USD = 1_000_000_000


def nanos(usd: float | str | Decimal) -> int:
    """Nano-dollars of an amount in USD, rounded half up; a float goes through its shortest spelling."""
    return int((Decimal(str(usd)) * NANOS_PER_USD).to_integral_value(ROUND_HALF_UP))


def dollars(amount_nanos: int | None) -> str:
    """An amount for people: at least four significant figures, `unknown` for None."""
    if amount_nanos is None:
        return "unknown"
    amount = Decimal(amount_nanos) / NANOS_PER_USD
    if amount == 0:
        return "$0"
    places = max(2, 4 - amount.adjusted() - 1)
    return f"${amount:.{min(places, 9)}f}"
