"""Header forms of a wait, sane and hostile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.routing.retry_after import WAIT_S_MAX, retry_after_s
from trivium.testing.faults.statuses import FORMS

NOW = 1_790_000_000.0
"""Mon, 21 Sep 2026 14:13:20 GMT."""


def read(*headers: tuple[str, str]) -> float | None:
    return retry_after_s([(name.encode(), value.encode("utf-8")) for name, value in headers], NOW)


@pytest.mark.parametrize(
    ("name", "value", "wait"),
    [
        ("retry-after", "2", 2.0),
        ("Retry-After", "2", 2.0),
        ("retry-after", "0", 0.0),
        ("retry-after", "1.5", 1.5),
        ("retry-after", "  2  ", 2.0),
        ("retry-after", "86400", 86400.0),
        ("retry-after", "86401", None),
        ("retry-after", "999999", None),
        ("retry-after", "9" * 400, None),
        ("retry-after", "-1", None),
        ("retry-after", "", None),
        ("retry-after", "soon", None),
        ("retry-after", "2s", None),
        ("retry-after", "2, 30", None),
        ("retry-after", "1e400", None),
        ("retry-after", "nan", None),
        ("retry-after", "inf", None),
        ("retry-after", "0x10", None),
        ("retry-after", "\u0662", None),
        ("retry-after", "Mon, 21 Sep 2026 14:13:22 GMT", 2.0),
        ("retry-after", "Monday, 21-Sep-26 14:13:22 GMT", 2.0),
        ("retry-after", "Mon Sep 21 14:13:22 2026", 2.0),
        ("retry-after", "Mon, 21 Sep 2026 13:13:20 GMT", 0.0),
        ("retry-after", "Thu, 31 Feb 2026 25:61:61 GMT", None),
        ("retry-after", "Mon, 21 Sep 2099 14:13:22 GMT", None),
        ("retry-after-ms", "2000", 2.0),
        ("retry-after-ms", "0.5", 0.0005),
        ("retry-after-ms", "-5", None),
        ("retry-after-ms", "later", None),
        ("x-ratelimit-reset-requests", "1s", 1.0),
        ("x-ratelimit-reset-tokens", "6m0s", 360.0),
        ("x-ratelimit-reset-requests", "120ms", 0.12),
        ("x-ratelimit-reset-requests", "1h2m3.5s", 3723.5),
        ("x-ratelimit-reset-requests", "2", 2.0),
        ("x-ratelimit-reset", "1790000002", 2.0),
        ("x-ratelimit-reset", "1790000002000", 2.0),
        ("x-ratelimit-reset", "1789999999", 0.0),
        ("x-ratelimit-reset", "2790000002", None),
        ("x-ratelimit-reset", "in a while", None),
        ("x-ratelimit-reset", "1s later", None),
        ("x-other", "2", None),
    ],
)
def test_a_form(name: str, value: str, wait: float | None) -> None:
    found = read((name, value))
    assert found == (None if wait is None else pytest.approx(wait))


def test_the_finer_word_wins_and_the_longest_reset() -> None:
    assert read(("retry-after", "3"), ("retry-after-ms", "2000")) == 2.0
    assert read(("retry-after", "3"), ("retry-after-ms", "later")) == 3.0
    assert read(("x-ratelimit-reset-requests", "1s"), ("x-ratelimit-reset-tokens", "2s")) == 2.0
    assert read(("retry-after", "1"), ("x-ratelimit-reset-tokens", "6m0s")) == 1.0


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_the_fault_server_is_an_error(form: str) -> None:
    headers = [(name.encode(), value.encode("utf-8")) for name, value in FORMS[form](NOW)]
    found = retry_after_s(headers, NOW)
    assert found is None or 0 <= found <= WAIT_S_MAX


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"retry-after", b"retry-after-ms", b"x-ratelimit-reset", b"x-ratelimit-reset-tokens"]),
            st.one_of(st.binary(max_size=80), st.from_regex(r"[0-9hms. :,GMT-]{0,40}").map(str.encode)),
        )
    ),
    st.floats(0, 4e9),
)
def test_nothing_that_a_header_can_hold_is_an_error(headers: list[tuple[bytes, bytes]], now_s: float) -> None:
    found = retry_after_s(headers, now_s)
    assert found is None or 0 <= found <= WAIT_S_MAX
