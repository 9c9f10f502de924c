"""`trivium explain`: who would be asked, in which order, and why the others would not. Nothing is sent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
from cyclopts import Parameter

from trivium.cli.reach import refusal
from trivium.cli.terminal import OPTIONS, Options, print_json, print_table
from trivium.config.raw import DataClassWord
from trivium.config.schema import Config
from trivium.dialects import get
from trivium.errors import UsageError
from trivium.gateway.explain import PlanView, RejectedEndpoint, view
from trivium.gateway.gateway import snapshot_of
from trivium.gateway.snapshot import Snapshot
from trivium.gateway.wish import Wish
from trivium.transport.server import BODY_BYTES_MAX
from trivium.types.data import DATA_CLASSES
from trivium.types.message import Message, Text
from trivium.types.request import Request


def explain(
    model: str = "auto",
    *,
    data_class: DataClassWord = "any",
    stdin: Annotated[bool, Parameter(name="-", negative="")] = False,
    options: Options = OPTIONS,
) -> None:
    """Show the plan for a model or a request, without running it.

    Args:
        model: A model, route or alias; or FILE.json with a chat-completions body.
        data_class: How far the request may travel.
        stdin: Read a chat-completions body from standard input.
    """
    config, request = options.load(), request_of("-" if stdin else model)
    plan = plan_of(config, snapshot_of(config), request, Wish(data_class=DATA_CLASSES[data_class]))
    if options.json:
        print_json(plan)
    else:
        _show(plan)


def plan_of(config: Config, snapshot: Snapshot, request: Request, wish: Wish) -> PlanView:
    """The plan; endpoints to which no connection would be opened, above all offline, count as rejected."""
    plan = view(snapshot, request, wish)
    whys = [(e, refusal(config, config.providers[e.endpoint.partition("/")[0]])) for e in plan.endpoints]
    refused = [RejectedEndpoint(endpoint=e.endpoint, reason="not_contacted", detail=why) for e, why in whys if why]
    kept = tuple(e for e, why in whys if not why)
    return msgspec.structs.replace(plan, endpoints=kept, rejected=(*plan.rejected, *refused))


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
    print(f"{plan.requested}: route {plan.route}, strategy {plan.strategy}, data class {plan.data_class}")
    print_table(
        ("try", "endpoint", "road", "cost up to", "notes"),
        [
            (number, e.endpoint, e.access, _cost(e.expected_cost_usd), ", ".join(e.notes))
            for number, e in enumerate(plan.endpoints, 1)
        ],
    )
    if plan.rejected:
        print_table(("rejected", "reason", "detail"), [(r.endpoint, r.reason, r.detail) for r in plan.rejected])


def _cost(usd: float | None) -> str | None:
    return None if usd is None else f"${usd:.6f}"
