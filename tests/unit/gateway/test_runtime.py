"""Whose fault a failure is: only an endpoint's own failures open its breaker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from trivium import errors
from trivium.catalog.rows import Endpoint, Provider
from trivium.gateway import runtime as runtimes
from trivium.gateway.runtime import Runtime
from trivium.gateway.snapshot import Snapshot
from trivium.routing.plan import Plan
from trivium.routing.route import Breaker, Route
from trivium.types.data import DataClass

ENDPOINT = Endpoint(
    id="acme/small",
    provider=Provider(id="acme"),
    model="small",
    price=None,
    context=None,
    max_output=None,
    capabilities=frozenset(),
    ceiling=DataClass.ANY,
)
PLAN = Plan(
    requested="r", route=Route(name="r", targets=(), breaker=Breaker(failures=2)), endpoints=(ENDPOINT, ENDPOINT)
)


@pytest.fixture
def runtime() -> Any:
    loop = asyncio.new_event_loop()
    defaults = SimpleNamespace(budget_nanos_day=None)
    snapshot = SimpleNamespace(config=SimpleNamespace(home=Path(), defaults=defaults))
    nothing = cast("Any", None)
    yield Runtime(loop, cast("Snapshot", snapshot), nothing, nothing, nothing, nothing, nothing)
    loop.close()


def settle(runtime: Runtime, error: errors.TriviumError | None, times: int = 2, endpoint: Endpoint = ENDPOINT) -> None:
    attempt = SimpleNamespace(endpoint=endpoint, reserved_nanos=0, exchange=SimpleNamespace(plan=PLAN))
    for _ in range(times):
        runtime.settled(cast("Any", attempt), "error" if error else "ok", error, 0, 0, None)


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        (errors.UpstreamServerError("Oops."), True),
        (errors.UpstreamTimeout("Slow."), True),
        (errors.UpstreamCut("Cut."), True),
        (errors.UpstreamUnreachable("Gone."), True),
        (errors.UpstreamOverloaded("Busy."), True),
        (errors.UpstreamRateLimited("Slow down."), False),
        (errors.UpstreamQuotaExhausted("Pay."), False),
        (errors.UpstreamRejected("No."), False),
        (errors.UpstreamAuthError("Who?"), False),
        (errors.ClientGone("Left."), False),
        (errors.LedgerUnavailable("Full."), False),
        (errors.Draining("Bye."), False),
    ],
    ids=lambda value: value.kind if isinstance(value, errors.TriviumError) else "",
)
def test_who_is_blamed(runtime: Runtime, error: errors.TriviumError, blamed: bool) -> None:
    settle(runtime, error)
    state = runtime._breakers.get(ENDPOINT.id)
    assert (state is not None and not state.allows(runtime.now())) == blamed


def test_the_least_bad_is_asked_where_all_are_failing(runtime: Runtime) -> None:
    settle(runtime, errors.UpstreamTimeout("Slow."))
    assert runtime.allowed(PLAN, 0) == 0
    settle(runtime, None, times=1)
    assert runtime.allowed(PLAN, 1) == 1


def test_invented_names_close_no_open_breaker(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "BREAKERS_MAX", 3)
    settle(runtime, errors.UpstreamTimeout("Slow."))
    for number in range(9):
        settle(runtime, errors.UpstreamTimeout("Slow."), 1, msgspec.structs.replace(ENDPOINT, id=f"acme/{number}"))
        assert not runtime._breakers[ENDPOINT.id].allows(runtime.now())
        assert len(runtime._breakers) <= 3


def test_a_drain_admits_nobody_once_it_cuts(runtime: Runtime) -> None:
    runtime.draining = True
    runtime.admit()
    runtime.cut_all()
    with pytest.raises(errors.Draining):
        runtime.admit()
