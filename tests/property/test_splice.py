"""For every body: the spliced one decodes to the original with `model` replaced, or is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from trivium.dialects.openai_chat.head import pass_request, peek
from trivium.errors import InvalidRequest
from trivium.wire.splice import splice_model

SPACE = st.sampled_from(["", " ", "\n", "\t", "\r\n "])
KEYS = st.sampled_from(
    [
        '"model"',
        '"mod\\u0065l"',
        '"\\u006dodel"',
        '"messages"',
        '"mess\\u0061ges"',
        '"x"',
        '"tools"',
        '"m\\"odel"',
        '"é"',
    ]
)
SCALARS = st.sampled_from(
    ['"a"', '"b"', '"\\u0061"', '"x\\"y"', '""', "1", "-1.5e3", "true", "null", '"é😀"', '"}"', '"]"']
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
        st.lists(st.tuples(KEYS, inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f"{k}: {v}" for k, v in pairs) + "}"
        ),
    ),
    max_leaves=6,
)
MODELS = st.tuples(
    st.sampled_from(['"model"', '"model"', '"mod\\u0065l"']), st.sampled_from(['"a"', '"a"', '"\\u0061"', '"b"'])
)
MESSAGES = st.tuples(
    st.just('"messages"'), st.lists(VALUES, min_size=1, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    members = draw(st.lists(st.one_of(st.tuples(KEYS, VALUES), MODELS, MESSAGES), max_size=5))
    members += [draw(MODELS), draw(MESSAGES)]
    members = draw(st.permutations(members))
    space = draw(SPACE)
    text = "{" + ",".join(f"{space}{key}{space}:{space}{value}{space}" for key, value in members) + "}"
    return (draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf"]))) + (space + text + space).encode()


def decoded(body: bytes) -> dict[str, Any]:
    return msgspec.json.decode(body, type=dict[str, Any])


@given(bodies(), st.sampled_from(["other", 'q"\\é', "a"]))
def test_only_the_model_changes(body, new):
    try:
        head = peek(body)
    except InvalidRequest:
        return
    assert decoded(pass_request(body, head, new)) == decoded(body) | {"model": new}


@given(
    bodies(),
    st.sampled_from([None, True, False]),
    st.booleans(),
    st.sampled_from(["", '"stream":true', '"stream":null']),
)
def test_additions_are_the_only_other_change(body, stream, ask, present):
    if present:
        body = body.replace(b"{", b"{" + present.encode() + b",", 1)
    try:
        head = peek(body)
    except InvalidRequest:
        return
    passed = decoded(pass_request(body, head, "other", stream=stream, ask_usage=ask))
    streams = head.stream if stream is None else stream
    expected = decoded(body) | {"model": "other"}
    if streams != head.stream:
        expected["stream"] = streams
    if streams and ask:
        expected["stream_options"] = {"include_usage": True}
    assert passed == expected


@given(bodies())
def test_a_second_model_is_refused(body):
    keys: list[str] = []

    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys[:] = [key for key, _ in pairs]
        return dict(pairs)

    try:
        json.loads(body, object_pairs_hook=hook)
    except ValueError:
        return
    if keys.count("model") > 1:
        try:
            peek(body)
        except InvalidRequest:
            return
        raise AssertionError("a second model passed")


NAMES = (
    st.text(st.sampled_from(["a", "b", "/", '"', "\\", "é", "😀", "\n", "\x7f", "\u2028", "%", "{", "}", ","]))
    | st.text()
)
EXTRAS = st.sampled_from([b"", b'"stream":true', b'"x":1,"y":"model"'])
RESTS = st.sampled_from(["", ',"messages":[{"model":"a"}]', ' , "x":"\\"","messages":[]', ',"n":1}garbage', "\r\n"])


@given(NAMES, NAMES, EXTRAS, RESTS, st.sampled_from(["", " "]), st.booleans())
def test_the_quick_way_says_what_the_walk_says(
    current: str, new: str, extra: bytes, rest: str, space: str, escaped: bool
) -> None:
    value = json.dumps(current) if escaped else msgspec.json.encode(current).decode()
    body = f'{{"model":{space}{value}{rest}}}'.encode("utf-8", "surrogatepass")
    messages = msgspec.Raw(b"[]")
    quick = splice_model(body, current, new, messages, extra)
    # A blank in front keeps its bytes from the quick way, and changes nothing for the walk.
    walked = splice_model(b" " + body, current, new, messages, extra)
    if quick is not None and walked is not None:
        assert b" " + quick == walked
    if walked is not None:
        assert quick is not None
    if quick is not None:
        spliced = f'{{"model":{space}'.encode() + msgspec.json.encode(new) + (b"," + extra if extra else b"")
        assert quick == spliced + f"{rest}}}".encode()


@given(NAMES, NAMES)
def test_a_name_that_only_begins_like_the_model_is_another(current: str, longer: str) -> None:
    body = msgspec.json.encode({"model": current + longer, "messages": []})
    assert (splice_model(body, current, "new", msgspec.Raw(b"[]")) is None) == bool(longer)


@given(bodies(), NAMES)
def test_both_ways_agree_on_any_body(body: bytes, new: str) -> None:
    try:
        head = peek(body)
    except InvalidRequest:
        return
    quick = splice_model(body, head.model, new, head.messages)
    walked = splice_model(b" " + body, head.model, new, head.messages)
    if quick is not None and walked is not None:
        assert b" " + quick == walked
    for spliced in (quick, walked):
        assert spliced is None or decoded(spliced) == decoded(body) | {"model": new}
