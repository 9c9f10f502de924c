import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.config.quantity import Amount, money, seconds, size

UNITS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
NUMBERS = st.decimals(min_value=0, max_value=10**9, places=3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("250ms", 0.25), ("3s", 3.0), ("12s", 12.0), ("10m", 600.0), ("1h", 3600.0), ("7d", 604800.0), (" 1.5 s ", 1.5)],
)
def test_durations_are_seconds(text: str, expected: float):
    assert seconds(text) == expected


@given(NUMBERS, st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]))
def test_every_duration_is_its_number_times_its_unit(number: Decimal, unit: str, space: str):
    assert seconds(f"{number:f}{space}{unit}") == float(number * UNITS[unit])


@pytest.mark.parametrize(
    "text", ["", "3", "s", "-1s", "3 parsecs", "1e3s", "3s4", "٣s", "3S", "nan s", "inf s", "1_000s"]
)
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a duration: write a number and a unit"):
        seconds(text)


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_a_value_error(text: str):
    with contextlib.suppress(ValueError):
        assert seconds(text) >= 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 USD", Amount(1_000_000_000)),
        ("25 USD / month", Amount(25_000_000_000, "month")),
        ("0.50USD/day", Amount(500_000_000, "day")),
        ("0 USD", Amount(0)),
        ("0.000000001 USD / year", Amount(1, "year")),
    ],
)
def test_money_is_nano_dollars(text: str, expected: Amount):
    assert money(text) == expected


@given(st.integers(0, 10**15), st.sampled_from([None, "day", "week", "month", "year"]))
def test_money_is_exact_to_the_nano_dollar(nanos: int, period: str | None):
    text = f"{Decimal(nanos).scaleb(-9):f} USD" + (f" / {period}" if period else "")
    assert money(text) == Amount(nanos, period)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "5", "USD", "5 EUR", "$5", "-1 USD", "5 USD / fortnight", "5 USD per day", "1,5 USD"]
)
def test_what_is_no_amount_is_refused(text: str):
    with pytest.raises(ValueError, match="is not an amount"):
        money(text)


@pytest.mark.parametrize(("text", "expected"), [("1GiB", 1 << 30), ("512 MiB", 512 << 20), ("10GB", 10**10), ("5B", 5)])
def test_sizes_are_bytes(text: str, expected: int):
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "5", "1 gig", "-1B", "1gb"])
def test_what_is_no_size_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a size"):
        size(text)
