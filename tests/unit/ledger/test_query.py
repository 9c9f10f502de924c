from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ledger_help import NOON_MS, closed, id_of, reserved, settled, whole
from trivium.ledger.journal import JournalWriter
from trivium.ledger.load import Loader
from trivium.ledger.query import generation, log, throughput, usage
from trivium.ledger.record import Record
from trivium.ledger.store import Store

DAY_MS = 86_400_000
LOCAL = {"endpoint": "local/tiny", "provider": "local", "model": "tiny", "access": "local", "reserved_nanos": 0}


def fallen_back(id_: str, time_ms: int) -> list[Record]:
    """The first endpoint timed out, the local one answered."""
    return [
        reserved(id_, 1, time_ms=time_ms, reserved_nanos=9_000),
        settled(id_, 1, outcome="error", error="upstream_timeout", cost_nanos=None, ttft_us=-1, output_tokens=0),
        reserved(id_, 2, time_ms=time_ms + 50, **LOCAL),
        settled(id_, 2, cost_nanos=0, ttft_us=20_500, duration_us=1_020_500, output_tokens=51),
        closed(id_, time_ms=time_ms, attempts=2, endpoint="local/tiny", fallback="upstream_timeout", tags=("team:a",)),
    ]


def refused(id_: str, time_ms: int) -> Record:
    return closed(id_, time_ms=time_ms, attempts=0, endpoint="", key="", status=404, error="no_endpoints", cost_nanos=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    writer = JournalWriter(tmp_path / "journal")
    for record in (
        *whole(id_of(1)),
        *fallen_back(id_of(2, NOON_MS + 1), NOON_MS + 1),
        refused(id_of(3, NOON_MS + 2), NOON_MS + 2),
        *fallen_back(id_of(4, NOON_MS + DAY_MS), NOON_MS + DAY_MS),
        reserved(id_of(5, NOON_MS + DAY_MS)),
    ):
        writer.append(record)
    writer.flush()
    store = Store.open(tmp_path / "ledger.db")
    Loader(tmp_path / "journal", store).run_once()
    yield store
    store.close()
    writer.close()


def test_usage_by_day(store: Store) -> None:
    first, second = usage(store)
    assert msgspec.to_builtins(first) == {
        "day": "2025-11-26",
        "requests": 3,
        "errors": 1,
        "attempts": 3,
        "failed_attempts": 1,
        "input_tokens": 36,
        "output_tokens": 85,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "cost_nanos": 700,
        "cost_usd": 7e-7,
        "held_nanos": 9_000,
        "unknown_cost": 1,
    }
    assert (second.day, second.requests, second.attempts) == ("2025-11-27", 1, 2)


def test_usage_by_road_counts_a_request_where_it_ended_and_each_attempt_where_it_was(store: Store) -> None:
    rows = {
        row.road: (row.requests, row.errors, row.attempts, row.failed_attempts) for row in usage(store, by=("road",))
    }
    assert rows == {"": (1, 1, 0, 0), "direct": (1, 0, 3, 2), "local": (2, 0, 2, 0)}


def test_usage_by_several(store: Store) -> None:
    rows = usage(store, by=("provider", "model", "key"), since_ms=NOON_MS + DAY_MS)
    assert [(row.provider, row.model, row.key, row.attempts) for row in rows] == [
        ("acme", "small", "ci", 1),
        ("local", "tiny", "ci", 1),
    ]


def test_usage_in_all_and_of_no_time(store: Store) -> None:
    (total,) = usage(store, by=())
    assert (total.day, total.requests, total.attempts) == (None, 4, 5)
    assert usage(store, until_ms=NOON_MS - DAY_MS) == []
    (nothing,) = usage(store, by=(), until_ms=NOON_MS - DAY_MS)
    assert nothing.requests == 0


def test_the_log_is_newest_first_and_carries_attempts(store: Store) -> None:
    rows = log(store)
    assert [row.id for row in rows] == [
        id_of(4, NOON_MS + DAY_MS),
        id_of(3, NOON_MS + 2),
        id_of(2, NOON_MS + 1),
        id_of(1),
    ]
    row = rows[2]
    assert (row.outcome, row.road, row.endpoint, row.fallback) == ("ok", "local", "local/tiny", "upstream_timeout")
    assert (row.input_tokens, row.output_tokens, row.cost_nanos, row.cost_usd) == (24, 51, None, None)
    assert (row.ttft_ms, row.duration_ms, row.time) == (20.5, 950.0, "2025-11-26T12:00:00.001+00:00")
    assert (row.data_class, row.stream, row.tags) == ("no_training", True, ["team:a"])
    assert [(a.attempt, a.outcome, a.error, a.road, a.ttft_ms) for a in row.attempts] == [
        (1, "error", "upstream_timeout", "direct", None),
        (2, "ok", "", "local", 20.5),
    ]
    assert msgspec.json.decode(msgspec.json.encode({"rows": rows}))["rows"][3]["attempts"][0]["cost_usd"] == 7e-7


def test_a_refused_request_is_in_the_log_without_attempts(store: Store) -> None:
    (row,) = log(store, key="")
    assert (row.status, row.outcome, row.error, row.road, row.attempts) == (404, "error", "no_endpoints", "", [])
    assert (row.cost_nanos, row.ttft_ms) == (0, None)


def test_the_log_can_be_narrowed(store: Store) -> None:
    assert [row.id for row in log(store, limit=1)] == [id_of(4, NOON_MS + DAY_MS)]
    assert [row.id for row in log(store, since_ms=NOON_MS + DAY_MS)] == [id_of(4, NOON_MS + DAY_MS)]
    assert [row.id for row in log(store, until_ms=NOON_MS + 1)] == [id_of(1)]
    assert log(store, limit=0) == []


def test_one_generation(store: Store) -> None:
    row = generation(store, id_of(1))
    assert row is not None
    assert row.cost_nanos == 700
    assert generation(store, "gen-nobody") is None
    assert generation(store, id_of(5, NOON_MS + DAY_MS)) is None  # still under way


def test_what_ended_with_its_process_is_unknown_in_the_log(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal")
    writer.append(reserved(id_of(1)))
    writer.close()
    store = Store.open(tmp_path / "ledger.db")
    Loader(tmp_path / "journal", store).run_once()
    (row,) = log(store)
    assert (row.outcome, row.cost_nanos, row.attempts[0].reserved_nanos) == ("unknown", None, 1_000)
    store.close()


def test_throughput_is_a_median_of_what_followed_the_first_token(store: Store) -> None:
    (local,) = throughput(store, since_ms=0, access="local")
    assert (local.endpoint, local.samples, local.tokens_per_s, local.ttft_ms) == ("local/tiny", 2, 50.0, 20.5)
    assert {row.endpoint for row in throughput(store, since_ms=0)} == {"local/tiny", "acme/small"}
    assert throughput(store, since_ms=0, endpoint="acme/large") == []
    assert [row.samples for row in throughput(store, since_ms=NOON_MS + DAY_MS)] == [1]
