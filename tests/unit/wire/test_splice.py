"""Splicing: what is found, what is left to whoever decodes, and that nothing else changes."""

from __future__ import annotations

import msgspec
import pytest

from trivium.wire.splice import splice_model

MESSAGES = b'[{"role":"user","content":"say \\"model\\":\\"a\\""}]'


def splice(body: bytes, current: str = "a", new: str = "b", extra: bytes = b"") -> bytes | None:
    return splice_model(body, current, new, msgspec.Raw(MESSAGES), extra)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"a","messages":%s}', b'{"model":"b","messages":%s}'),
        (b' {\n "model" :\t"a" , "messages":%s}\n', b' {\n "model" :\t"b" , "messages":%s}\n'),
        (b'{"messages":%s,"model":"a"}', b'{"messages":%s,"model":"b"}'),
        (
            b'{"max_tokens":1,"messages": %s ,"model":"a","x":[]}',
            b'{"max_tokens":1,"messages": %s ,"model":"b","x":[]}',
        ),
        (
            b'{"a":-1.5e+3,"b":true,"c":null,"d":"x","model":"a"}',
            b'{"a":-1.5e+3,"b":true,"c":null,"d":"x","model":"b"}',
        ),
    ],
)
def test_model_is_replaced_in_place(body, expected):
    assert splice(body.replace(b"%s", MESSAGES)) == expected.replace(b"%s", MESSAGES)


def test_members_are_inserted_after_the_model():
    assert splice(b'{"model":"a","n":1}', extra=b'"stream":true') == b'{"model":"b","stream":true,"n":1}'
    assert splice(b'{"model":"a"}', extra=b'"x":1,"y":2') == b'{"model":"b","x":1,"y":2}'


def test_names_are_encoded():
    assert splice(b'{"model":"a"}', new='q"\\é') == '{"model":"q\\"\\\\é"}'.encode()
    assert splice('{"model":"é"}'.encode(), current="é") == b'{"model":"b"}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"mod\\u0065l":"a"}',
        b'{"model":"\\u0061"}',
        b'{"model":"other"}',
        b'{"model":1}',
        b'{"tools":[{"model":"a"}],"model":"a"}',
        b'{"x":"\\"","model":"a"}',
        b'{"x":{"model":"a"}}',
        b'{"messages":[1],"model":"a"}',
        b'{"messages":"x"}',
        b"{}",
        b"[]",
        b"",
    ],
)
def test_what_the_walk_cannot_follow_is_left(body):
    assert splice(body) is None


def test_a_shorter_first_messages_does_not_mislead():
    # Stepping by the length of the last `messages` alone would land in `pad`, before a nested `model`.
    filler = b"1" * (len(MESSAGES) - len(b'[],"pad":{"z":'))
    body = b'{"messages":[],"pad":{"z":' + filler + b',"model":"a"},"messages":' + MESSAGES + b',"model":"a"}'
    assert splice(body) is None
