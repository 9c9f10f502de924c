"""Calls that begin while another speaks wait until that has ended."""

from __future__ import annotations

from trivium.dialects.calls import CallOrder
from trivium.types.event import ToolCallDelta, ToolCallStart


def start(index: int) -> ToolCallStart:
    return ToolCallStart(index=index, id=f"c{index}", name="f")


def delta(index: int, arguments: str) -> ToolCallDelta:
    return ToolCallDelta(index=index, arguments=arguments)


def test_the_next_call_comes_as_soon_as_the_first_can_say_no_more() -> None:
    order = CallOrder()
    assert order.add(start(0)) == [start(0)]
    assert order.add(start(1)) == []
    assert order.add(delta(1, "{")) == []
    assert order.add(delta(0, '{"a":1}')) == [delta(0, '{"a":1}')]
    assert order.add(delta(1, "}")) == [start(1), delta(1, "{}")]
    assert order.add(delta(1, " ")) == [delta(1, " ")]
    assert order.add(delta(0, " ")) is None
    assert order.rest() == []


def test_what_waits_is_said_at_the_end() -> None:
    order = CallOrder()
    order.add(start(0))
    order.add(start(1))
    order.add(start(2))
    order.add(delta(2, '{"b'))
    assert order.rest() == [start(1), start(2), delta(2, '{"b')]
    assert order.add(delta(2, '":1}')) is None
    assert order.add(start(3)) == [start(3)]
