"""Which route with conditions is for a request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.routing.route import Route, When
from trivium.routing.when import Occasion, chosen, holds


def route(name: str = "r", **when: Any) -> Route:
    return Route(name=name, targets=("acme/small",), when=When(**when))


@pytest.mark.parametrize(
    ("when", "yes", "no"),
    [
        ({"keys": ("ci", "team-*")}, {"key": "team-a"}, {"key": "other"}),
        ({"metadata": {"tier": "gold"}}, {"metadata": {"tier": "gold", "x": "y"}}, {"metadata": {"tier": "lead"}}),
        ({"tokens_min": 100}, {"tokens": 100}, {"tokens": 99}),
        ({"tokens_max": 100}, {"tokens": 100}, {"tokens": 101}),
        ({"tools": True}, {"tools": True}, {"tools": False}),
        ({"tools": False}, {"tools": False}, {"tools": True}),
        ({"images": True}, {"images": True}, {"images": False}),
        ({"tools": True, "keys": ("a",)}, {"tools": True, "key": "a"}, {"tools": True, "key": "b"}),
    ],
)
def test_a_condition(when: dict[str, Any], yes: dict[str, Any], no: dict[str, Any]) -> None:
    assert chosen([route(**when)], Occasion("r", **yes)) == 0
    assert chosen([route(**when)], Occasion("r", **no)) is None


@pytest.mark.parametrize(
    ("models", "named", "taken"),
    [
        ((), "r", True),
        ((), "openai/gpt-5", False),
        (("openai/*",), "openai/gpt-5", True),
        (("openai/gpt-5",), "openai/gpt-5-mini", False),
        (("*",), "anything", True),
        (("openai/*",), "r", True),
    ],
)
def test_a_route_is_for_its_name_and_for_the_models_that_it_takes(
    models: tuple[str, ...], named: str, taken: bool
) -> None:
    assert (chosen([route(models=models)], Occasion(named)) is not None) == taken


def test_the_first_that_is_for_it_is_taken() -> None:
    routes = [route(tools=True), route("other"), route(tokens_min=10), route()]
    assert chosen(routes, Occasion("r", tokens=10)) == 2
    assert chosen(routes, Occasion("r")) == 3
    assert chosen(routes, Occasion("other")) == 1


@given(st.builds(When, tools=st.none() | st.booleans(), tokens_min=st.none() | st.integers(1, 9)), st.integers(0, 9))
def test_fewer_conditions_hold_wherever_more_do(when: When, tokens: int) -> None:
    occasion = Occasion("r", tokens=tokens, tools=bool(tokens % 2))
    if holds(when, occasion):
        assert holds(When(tools=when.tools), occasion)
        assert holds(When(tokens_min=when.tokens_min), occasion)
