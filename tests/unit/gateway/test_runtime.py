"""What all requests of a loop share."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from trivium import errors
from trivium.gateway.runtime import Runtime
from trivium.gateway.snapshot import Snapshot


@pytest.fixture
def runtime() -> Any:
    loop = asyncio.new_event_loop()
    defaults = SimpleNamespace(budget_nanos_day=None)
    snapshot = SimpleNamespace(config=SimpleNamespace(home=Path(), defaults=defaults))
    nothing = cast("Any", None)
    yield Runtime(loop, cast("Snapshot", snapshot), nothing, nothing, nothing, nothing, nothing)
    loop.close()


def test_a_drain_admits_nobody_once_it_cuts(runtime: Runtime) -> None:
    runtime.draining = True
    runtime.admit()
    runtime.cut_all()
    with pytest.raises(errors.Draining):
        runtime.admit()
