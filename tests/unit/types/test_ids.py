"""Generation ids: their form, their order, their uniqueness."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.types.ids import Ids, time_ms_of, ulid

TIMES = st.integers(min_value=0, max_value=2**48 - 1)
RANDOM = st.integers(min_value=0, max_value=2**80 - 1)


@given(TIMES, RANDOM)
def test_an_id_holds_its_time(time_ms: int, random: int) -> None:
    assert time_ms_of(f"gen-{ulid(time_ms, random)}") == time_ms
    assert time_ms_of(Ids(random).next(time_ms)) == time_ms


@given(st.tuples(TIMES, RANDOM), st.tuples(TIMES, RANDOM))
def test_ids_sort_by_time(one: tuple[int, int], other: tuple[int, int]) -> None:
    if one[0] != other[0]:
        assert (ulid(*one) < ulid(*other)) == (one[0] < other[0])
        assert (Ids(one[1]).next(one[0]) < Ids(other[1]).next(other[0])) == (one[0] < other[0])


@given(RANDOM)
def test_a_process_makes_each_id_once(random: int) -> None:
    ids = Ids(random)
    made = [ids.next(time_ms) for time_ms in (1, 1, 1, 2, 1, 2**48 - 1)]
    assert len(set(made)) == len(made)
    assert all(len(one) == 26 for one in made)


def test_two_processes_differ() -> None:
    assert Ids(1 << 40).next(5) != Ids(2 << 40).next(5)


@pytest.mark.parametrize("text", ["", "gen-", "gen-0", "x" * 25, "gen-" + "u" * 26])
def test_other_text_is_no_id(text: str) -> None:
    with pytest.raises(ValueError):
        time_ms_of(text)
