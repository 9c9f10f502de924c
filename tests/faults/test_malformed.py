"""Fault 16, what is said about it: a broken event is skipped, the ledger tells, and strict mode does not take it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest

from support import Dialect, ask_raw, config, provider, serve
from trivium.testing import FakeUpstream

DIALECTS = get_args(Dialect)


@pytest.mark.parametrize("spoken", DIALECTS)
@pytest.mark.parametrize("asked", DIALECTS)
def test_a_broken_event_is_skipped_and_told(spoken: Dialect, asked: Dialect, tmp_path: Path) -> None:
    with (
        FakeUpstream() as upstream,
        serve(config([provider(upstream, dialect=spoken)]), home=tmp_path) as served,
    ):
        answer = ask_raw(served.port, asked, "primary/malformed-chunk", stream=True)
        strict = ask_raw(served.port, asked, "primary/malformed-chunk", stream=True, headers={"x-trivium-strict": "1"})
    assert answer.status == 200
    events = [line[6:] for line in answer.payload.splitlines() if line.startswith(b"data: {")]
    assert len(events) > 3
    assert all(json.loads(event) for event in events)
    assert b"broken event" in strict.payload
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        rows = database.execute("SELECT dropped, error FROM request ORDER BY id").fetchall()
    assert rows == [('["malformed_events"]', ""), ("[]", "upstream_protocol_error")]
