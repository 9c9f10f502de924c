"""Quirks: a body is bent where its provider needs it and nowhere else, and whatever a caller wrote goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import msgspec
import pytest

from trivium.access.quirks import PREFILLS, QUIRKS, continue_final_message, max_completion_tokens, prefill_grammar
from trivium.catalog.rows import QuirkName

MESSAGES = b'[{"role":"user","content":"say \\"max_tokens\\" \\u00e9 \xc3\xa9"}]'


@pytest.mark.parametrize(
    ("body", "bent"),
    [
        (b'{"model":"m","max_tokens":5,"n":1}', b'{"model":"m","max_completion_tokens":5,"n":1}'),
        (b'{"max_tokens":5,"n":1,"max_completion_tokens":7}', b'{"n":1,"max_completion_tokens":7}'),
        (b'{"max_completion_tokens":null,"max_tokens":5}', b'{"max_completion_tokens":5}'),
        (b'{"max_tokens":5,"max_completion_tokens":null}', b'{"max_completion_tokens":5}'),
        (b'{"max_tokens":null}', b'{"max_completion_tokens":null}'),
        (b'{"max_tokens":5,"max_tokens":6}', b'{"max_completion_tokens":6}'),
        (b'{"user":{"max_tokens":1},"max_tokens":5}', b'{"user":{"max_tokens":1},"max_completion_tokens":5}'),
    ],
)
def test_the_limit_has_its_new_name_in_its_old_place(body: bytes, bent: bytes) -> None:
    assert max_completion_tokens(body) == bent


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{ "n" : 1.50, "x":1e400 }',
        b'{ "max_completion_tokens" : 5 }',
        b'{ "metadata": {"max_tokens":5} }',
        b'{"messages": ' + MESSAGES + b"}",
    ],
)
def test_a_body_without_it_stays_as_it_is(body: bytes) -> None:
    assert max_completion_tokens(body) is body


@pytest.mark.parametrize("quirk", QUIRKS.values(), ids=QUIRKS)
def test_values_go_on_as_they_were_written(quirk: Callable[[bytes], bytes]) -> None:
    values = [b"1e400", b"-0.0", b"0.10000000000000000555", b"123456789012345678901234567890", b'{"b" : 1, "a":[ ]}']
    rest = b",".join(b'"f%d":%b' % (i, value) for i, value in enumerate([*values, MESSAGES]))
    bent = quirk(b'{"max_tokens":5,' + rest + b"}")
    assert bent.endswith(b"," + rest + b"}")


def test_every_quirk_that_can_be_named_is_there() -> None:
    assert set(get_args(QuirkName)) == QUIRKS.keys() | PREFILLS.keys()


def test_a_server_is_told_that_it_goes_on_with_the_last_message() -> None:
    bent = continue_final_message(b'{"messages":[], "x": 1e400}', " and")
    assert bent == b'{"messages":[],"x":1e400,"continue_final_message":true,"add_generation_prompt":false}'


@pytest.mark.parametrize(
    ("repeat", "grammar"),
    [
        (" bro", r'root ::= " bro" .*'),
        ('"\\', r'root ::= "\U00000022\U0000005C" .*'),
        ("\n\x00é🛰", 'root ::= "\\U0000000A\\U00000000é🛰" .*'),
    ],
)
def test_a_grammar_begins_with_what_must_be_repeated(repeat: str, grammar: str) -> None:
    bent = msgspec.json.decode(prefill_grammar(b'{"messages":[]}', repeat))
    assert bent == {"messages": [], "grammar": grammar}


@pytest.mark.parametrize(("body", "repeat"), [(b'{"a":1}', ""), (b'{"response_format":{"type":"json_object"}}', "x")])
def test_no_grammar_where_there_is_nothing_to_repeat_or_another_one(body: bytes, repeat: str) -> None:
    assert prefill_grammar(body, repeat) == body
