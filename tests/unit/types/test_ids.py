"""Generation ids: their form, their order, their uniqueness."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trivium.types.ids import Ids, ulid

TIMES = st.integers(min_value=0, max_value=2**48 - 1)
RANDOM = st.integers(min_value=0, max_value=2**80 - 1)


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


@given(RANDOM, st.lists(TIMES, min_size=1, max_size=20), st.integers(min_value=0, max_value=2100))
def test_ids_are_counted_up(random: int, times: list[int], before: int) -> None:
    ids = Ids(random)
    for _ in range(before):
        ids.next(0)
    count = (random & 0x3FFFFFFFFF) + before
    for number, time_ms in enumerate(times, start=1):
        assert ids.next(time_ms) == ulid(time_ms, (random >> 40 << 40) + count + number)
