from __future__ import annotations

import msgspec
import pytest

from trivium.wire.json import NULL, is_null, join, members, raw


def test_values_stay_as_they_were_written():
    body = b'{"a":1.0,"b":123456789012345678901234567890,"c":"\\u00e9"}'
    assert join(members(body)) == body
    assert join({**members(body), "a": raw("x")}) == body.replace(b"1.0", b'"x"')


@pytest.mark.parametrize("body", [b"[]", b"1", b"", b"{"])
def test_only_objects_have_members(body):
    with pytest.raises(msgspec.DecodeError):
        members(body)


def test_null_and_absent_are_the_same():
    assert is_null(NULL)
    assert is_null(msgspec.Raw())
    assert not is_null(msgspec.Raw(b"0"))
