from __future__ import annotations

import time
from pathlib import Path

import pytest

from cli_help import trivium
from trivium.cli.data import since_ms
from trivium.cli.usage import groups_of
from trivium.errors import UsageError


def test_groups_are_read_in_their_order() -> None:
    assert groups_of("model, day") == ("model", "day")


def test_an_unknown_group_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as refused:
        groups_of("day,colour")
    assert "provider" in refused.value.remedy


def test_since_is_a_duration_or_a_date() -> None:
    assert since_ms(None) == 0
    assert since_ms("1970-01-02") == 86_400_000
    assert since_ms("7d") < time.time() * 1000 - 6 * 86_400_000
    with pytest.raises(UsageError):
        since_ms("yesterday")


def test_since_heeds_a_zone_and_stays_among_the_days_there_are(tmp_path: Path) -> None:
    assert since_ms("1970-01-02T02:00:00+02:00") == 86_400_000
    for text in ("999999999999d", "0001-01-01", "9999-12-31T23:59:59-12:00"):
        done = trivium(tmp_path, "usage", "--since", text, "--json")
        assert (done.returncode, done.stdout) == (0, '{"rows": []}\n'), done.stderr
