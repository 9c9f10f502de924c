"""`trivium providers test`: the conformance suite for one provider, against a double of it or against itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from trivium.cli.call import check_place, provider_named
from trivium.cli.reach import is_usable
from trivium.cli.terminal import OPTIONS, Options, confirm, interactive, note, print_rows
from trivium.config.schema import BoundProvider, Config
from trivium.errors import EXIT_FAILED, UsageError
from trivium.testing import conformance as suite
from trivium.testing.upstream import FakeUpstream
from trivium.transport import platform
from trivium.types.money import dollars

PROMPT_TOKENS = 400
"""More than any of the suite's questions has, with its tools."""


def conform(
    provider: str, *, model: str | None = None, live: bool = False, yes: bool = False, options: Options = OPTIONS
) -> int:
    """Put the conformance suite to a provider's row: each case passes, fails with its reason, or is not offered.

    Args:
        provider: The provider's id, as `trivium providers` lists it.
        model: The model to ask there; by default the provider's own default model.
        live: Ask the provider itself, with its key and for money. Without it, a fake upstream on this machine
            stands for it.
        yes: Spend without a question; needed where nobody can be asked.
    """
    config = options.load()
    bound = provider_named(config, provider)
    if not bound.row.base_url:
        raise UsageError("Engines of this machine are no providers.", remedy="Ask one: trivium ask -m local/NAME Hello")
    results = _live(config, bound, model, yes) if live else _fake(config, bound)
    if results is None:
        note("Not asked.")
        return EXIT_FAILED
    print_rows(results, ("case", "verdict", "why", "cost"), _cells, json=options.json, right=("cost",))
    return EXIT_FAILED if any(result.verdict == "fail" for result in results) else 0


def _live(config: Config, bound: BoundProvider, model: str | None, yes: bool) -> list[suite.Result] | None:
    row = bound.row
    check_place(bound)
    if not is_usable(config, bound):
        raise UsageError(f"{row.name} has no key.", remedy=f"Run `trivium login {row.id}`.")
    model = model or row.default_model
    if model is None:
        raise UsageError(f"{row.name} has no default model.", remedy="Name one with --model.")
    price = suite.endpoint_of(config, row.id, model).price
    count = suite.QUESTIONS
    bill = None if price is None else price.upper_bound(PROMPT_TOKENS * count, suite.TOKENS_MAX * count)
    spends = f"{count} questions to `{row.id}/{model}`; the most that they can cost: {dollars(bill)}"
    if not yes and not interactive():
        raise UsageError(f"This asks {spends}.", remedy="Add --yes to spend it without a question.")
    if not yes and not confirm(f"Ask {spends}. Go on?"):
        return None
    return platform.run(suite.run(config, row.id, model))


def _fake(config: Config, bound: BoundProvider) -> list[suite.Result]:
    """In a home of its own, so that nothing of it is in the ledger."""
    row = bound.row
    note(f"Against a fake upstream that speaks `{row.dialect}`; --live asks {row.name or row.id} itself.")
    key = None if row.auth == "none" else suite.KEY
    with tempfile.TemporaryDirectory() as home, FakeUpstream(text=suite.LONG_ANSWER, key=key) as upstream:
        made, model, instead = suite.fake(msgspec.structs.replace(config, home=Path(home)), row.id, upstream)
        return platform.run(suite.run(made, row.id, model, instead=instead))


def _cells(result: suite.Result) -> tuple[str, ...]:
    cost = dollars(None if result.cost_usd is None else round(result.cost_usd * 1e9))
    return result.case, result.verdict, result.detail, cost
