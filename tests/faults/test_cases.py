"""The table itself is sound: every row names a fault that exists, and every promised case has rows."""

from __future__ import annotations

import pytest

from faults import cases
from support import FIXTURES, primary_at
from trivium import errors
from trivium.testing import FakeUpstream
from trivium.testing.faults import find
from trivium.testing.faults.statuses import FORMS

PROMISED = {1, 2, 3, 4, 6, 7, *range(11, 20), 22, 25, 30, 32, 33, 40}


def kinds(error: type[errors.TriviumError]) -> set[str]:
    return {error.kind}.union(*(kinds(below) for below in error.__subclasses__()))


def test_every_promised_case_has_rows() -> None:
    assert {case.number for case in cases.CASES} == PROMISED
    ids = [cell.id for case in cases.CASES for cell in cases.cells(case)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.id)
def test_a_row_is_sound(case) -> None:
    found = find(case.model)
    assert found is not None
    if case.fixture:
        assert case.fixture in FIXTURES
    else:
        assert found[0].case == case.number or case.number in {13, 33, 40}
    for expect in case.expect.values():
        assert set(expect.kinds) <= kinds(errors.UpstreamError)
        assert expect.attempts[0] <= expect.attempts[1] <= 2
        assert ("error" in expect.outcome or "cut" in expect.outcome) or not expect.kinds


def test_every_form_of_a_429_is_in_one_group() -> None:
    groups = [*cases.HONOURED, *cases.TOO_LONG, *cases.HOSTILE]
    assert len(groups) == len(set(groups)) >= 30
    assert set(groups) == {*FORMS, "retry-after-2"}


@pytest.mark.parametrize("fixture", ["", *FIXTURES])
def test_every_fixture_gives_an_address(fixture: str) -> None:
    with FakeUpstream() as up, primary_at(fixture, up) as address:
        assert address.base_url.endswith("/v1")
        assert (address.base_url == up.base_url) == (fixture == "")
        assert bool(address.names) == fixture.startswith("name-")
        assert (address.ca_file is not None) == fixture.startswith("tls-")
