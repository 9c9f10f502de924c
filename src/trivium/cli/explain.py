"""`trivium explain`: who would be asked, in which order, and why the others would not. Nothing is sent."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
from cyclopts import Parameter

from trivium.cli.data import ledger
from trivium.cli.log import show_attempts
from trivium.cli.reach import refusal
from trivium.cli.terminal import OPTIONS, Options, duration, print_json, print_table
from trivium.config.raw import DataClassWord
from trivium.config.schema import Config
from trivium.dialects import get
from trivium.errors import NotFound, UsageError
from trivium.gateway.explain import PlanView, RejectedEndpoint, view
from trivium.gateway.gateway import snapshot_of
from trivium.gateway.measured import kept
from trivium.gateway.snapshot import Snapshot
from trivium.gateway.wish import Wish
from trivium.ledger import query
from trivium.routing.conditions import Conditions
from trivium.transport.server import BODY_BYTES_MAX
from trivium.types.data import DATA_CLASSES
from trivium.types.message import Message, Text
from trivium.types.request import Request

GENERATION = "gen-"
"""What generation ids begin with, and no model does."""


def explain(
    model: str = "auto",
    *,
    data_class: DataClassWord = "any",
    stdin: Annotated[bool, Parameter(name="-", negative="")] = False,
    options: Options = OPTIONS,
) -> None:
    """Show the plan for a model or a request, without running it.

    Args:
        model: A model, route or alias; FILE.json with a chat-completions body; or the generation id of a request.
        data_class: How far the request may travel.
        stdin: Read a chat-completions body from standard input.
    """
    config = options.load()
    wish = Wish(data_class=DATA_CLASSES[data_class])
    if model.startswith(GENERATION):
        _explain_past(config, model, wish, options)
        return
    plan = plan_of(config, snapshot_of(config), request_of("-" if stdin else model), wish)
    if options.json:
        print_json(plan)
    else:
        _show(plan)


def _explain_past(config: Config, id_: str, wish: Wish, options: Options) -> None:
    """What became of a request, and how it would be planned now; of its prompt only the length is kept."""
    with ledger(config) as store:
        row = query.generation(store, id_)
    if row is None:
        raise NotFound(f"No ended request has the id `{id_[:80]}`.", remedy="`trivium log` lists the latest.")
    least = max(wish.data_class, DATA_CLASSES[row.data_class])
    tokens = max((attempt.input_tokens for attempt in row.attempts), default=0)
    request = Request(model=row.requested_model, messages=())
    plan = plan_of(config, snapshot_of(config), request, Wish(data_class=least), id_=id_, input_tokens=tokens)
    if options.json:
        print_json({"request": row, "plan": plan})
        return
    print(
        f"{row.time[:19].replace('T', ' ')}: {row.requested_model} was asked for, {row.endpoint or 'nobody'} answered."
    )
    show_attempts(row)
    print("Now it would be planned so:")
    _show(plan)


def plan_of(
    config: Config, snapshot: Snapshot, request: Request, wish: Wish, *, id_: str = "", input_tokens: int | None = None
) -> PlanView:
    """The plan; endpoints to which no connection would be opened, above all offline, count as rejected."""
    conditions = Conditions(time.time)
    conditions.restore(kept(config.home))
    plan = view(snapshot, conditions, request, wish, id_=id_, input_tokens=input_tokens)
    whys = [(e, refusal(config, config.providers[e.endpoint.partition("/")[0]])) for e in plan.endpoints]
    refused = [RejectedEndpoint(endpoint=e.endpoint, reason="not_contacted", detail=why) for e, why in whys if why]
    left = tuple(e for e, why in whys if not why)
    return msgspec.structs.replace(plan, endpoints=left, rejected=(*plan.rejected, *refused))


def request_of(what: str) -> Request:
    """The request that a name, a file or `-` stands for; raises UsageError, InvalidRequest."""
    if what == "-":
        return _parsed(sys.stdin.buffer)
    if what.endswith(".json"):
        try:
            with Path(what).open("rb") as file:
                return _parsed(file)
        except OSError as error:
            raise UsageError(f"`{what}` cannot be read: {error.strerror}.") from error
    return Request(model=what, messages=(Message(role="user", parts=(Text(text="Hello"),)),))


def _parsed(file: BinaryIO) -> Request:
    body = file.read(BODY_BYTES_MAX + 1)
    if len(body) > BODY_BYTES_MAX:
        raise UsageError(f"A body has at most {BODY_BYTES_MAX} bytes.")
    return get("openai_chat").parse_request(body)


def _show(plan: PlanView) -> None:
    print(
        f"{plan.requested}: route {plan.route}, strategy {plan.strategy}, data class {plan.data_class}, "
        f"in {plan.input_tokens}, out ~{plan.output_tokens}, seed {plan.seed:08x}"
    )
    print_table(
        ("try", "endpoint", "road", "cost", "cost up to", "first content", "whole", "notes"),
        [
            (number, e.endpoint, e.access, *map(_cost, (e.expected_cost_usd, e.cost_bound_usd)),
             *map(_took, (e.expected_ttft_ms, e.expected_ms)), ", ".join(e.notes))
            for number, e in enumerate(plan.endpoints, 1)
        ],
    )  # fmt: skip
    if plan.rejected:
        print_table(("rejected", "reason", "detail"), [(r.endpoint, r.reason, r.detail) for r in plan.rejected])


def _cost(usd: float | None) -> str:
    return "unknown" if usd is None else f"${usd:.6f}"


def _took(ms: float | None) -> str:
    return "not measured" if ms is None else duration(ms / 1e3)
