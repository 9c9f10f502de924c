"""What of an upstream's head a caller gets: limits by known names, bounded, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from trivium.gateway import limits

HEAD = {
    b"content-type": b"application/json",
    b"date": b"Tue, 01 Dec 2026 00:00:00 GMT",
    b"server": b"cloudflare",
    b"x-request-id": b"req_1",
    b"set-cookie": b"session=secret",
    b"openai-organization": b"acme",
}
SAID = {
    b"x-ratelimit-limit-requests": b"5000",
    b"x-ratelimit-remaining-tokens": b"3999985",
    b"x-ratelimit-reset-requests": b"6m0s",
    b"x-ratelimit-limit": b"10",
    b"anthropic-ratelimit-input-tokens-reset": b"2026-12-01T00:00:00Z",
    b"anthropic-ratelimit-unified-status": b"allowed",
}


def told(status: int, fields: dict[bytes, bytes]) -> dict[bytes, bytes]:
    found = limits.lines(status, fields)
    assert found == b"" or found.endswith(b"\r\n")
    return dict(line.split(b": ", 1) for line in found.split(b"\r\n") if line)


def test_limits_and_nothing_else_of_a_head() -> None:
    assert told(200, HEAD | SAID) == SAID
    assert told(429, HEAD | SAID) == SAID
    assert told(200, HEAD) == {}


def test_when_to_try_again_is_said_by_the_error_where_there_is_one() -> None:
    again = {b"retry-after": b"2", b"retry-after-ms": b"2000"}
    assert told(200, HEAD | again) == again
    assert told(429, HEAD | again) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x-ratelimit-", b"1"),
        (b"x-ratelimit-limit-requests-", b"1"),
        (b"x-ratelimit-set-cookie", b"1"),
        (b"x-ratelimit-reset\r\nset-cookie", b"1"),
        (b"xx-ratelimit-reset", b"1"),
        (b"x-ratelimit-reset", b"1\r\nset-cookie: x"),
        (b"x-ratelimit-reset", b"\xc3\xa9"),
        (b"x-ratelimit-reset", b""),
        (b"x-ratelimit-reset", b"1" * 129),
        (b"retry-after-never", b"1"),
    ],
)
def test_what_is_no_limit_of_a_known_form_stays_behind(name: bytes, value: bytes) -> None:
    assert told(200, {name: value, b"x-ratelimit-limit-tokens": b"7"}) == {b"x-ratelimit-limit-tokens": b"7"}


def test_there_is_a_bound() -> None:
    assert len(limits.NAMES) > limits.LINES_MAX
    assert len(told(200, dict.fromkeys(limits.NAMES, b"1"))) == limits.LINES_MAX


def test_a_head_that_limits_nothing_is_not_gone_through() -> None:
    class Names(dict[bytes, bytes]):
        def items(self) -> Any:
            raise AssertionError("every field was looked at")

    many = Names(HEAD | {b"x-field-%d" % number: b"x" for number in range(100)})
    assert limits.lines(200, many) == b""
    with pytest.raises(AssertionError, match="looked at"):
        limits.lines(200, Names(many | SAID))
