"""Calls that begin while another speaks wait until that has ended."""

from __future__ import annotations

from time import process_time

import pytest

from trivium.dialects.calls import CallOrder, SpokenCall
from trivium.dialects.request import is_object
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


PIECES = ['{"a', '":"\\', '"}{', '\\\\"', ',"b":[{', "}", "]", "}", "\n"]


def test_a_call_is_complete_once_its_object_is_wherever_it_was_cut() -> None:
    call = SpokenCall(start(0))
    for piece in PIECES:
        call.pieces.append(piece)
        assert call.is_complete() == is_object(call.arguments)


@pytest.mark.parametrize("text", ["[]", "{]", "}{", '{"a":1}}', '{"a"}', "5", ""])
def test_what_is_no_object_completes_no_call(text: str) -> None:
    call = SpokenCall(start(0))
    call.pieces.append(text)
    assert not call.is_complete()


def test_a_long_call_is_read_once_however_many_pieces_of_others_come_between() -> None:
    order = CallOrder()
    order.add(start(0))
    order.add(delta(0, '{"a":[' + "{}," * 200_000 + "{}"))
    order.add(start(1))
    began = process_time()
    for _ in range(2000):
        assert order.add(delta(1, "1")) == []
    assert process_time() - began < 1
