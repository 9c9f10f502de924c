import pytest

from trivium.testing import Clock


def test_it_moves_when_it_is_told_to() -> None:
    clock = Clock(10.0)
    assert clock.now() == clock.now() == 10.0
    assert clock.advance(2.5) == clock.now() == 12.5


def test_it_never_goes_back() -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(-1)
    assert clock.now() == 0.0
