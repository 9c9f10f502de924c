"""A key of ours that an upstream refuses is our trouble in every dialect: no caller is told that its own is bad."""

from __future__ import annotations

import re

import pytest

from trivium import dialects, errors
from trivium.dialects.base import AnswerContext

NAMES = sorted(dialects.MODULES)
OURS = [
    errors.UpstreamAuthError("The upstream refused our credential (401).", upstream_status=401, provider_code="x"),
    errors.UpstreamAuthError("The upstream refused our credential (403).", upstream_status=403),
    errors.UpstreamTokenError("There is no token for `acme`."),
]
THEIRS = re.compile(
    rb"authentication|unauthenticated|unauthori[sz]ed|invalid_api_key|permission|forbidden|\b401\b|\b403\b",
    re.IGNORECASE,
)
"""What a client takes for a bad key of its own, in any vendor's words."""


def without_our_sentence(data: bytes) -> bytes:
    return data.replace(b"(401)", b"").replace(b"(403)", b"")


@pytest.mark.parametrize("error", OURS, ids=lambda error: error.message)
@pytest.mark.parametrize("name", NAMES)
def test_it_looks_like_trouble_upstream(name: str, error: errors.UpstreamError) -> None:
    dialect = dialects.get(name)
    assert error.status == 502
    body = dialect.encode_error(error, "gen-1")
    assert error.message.split("(")[0].encode() in body
    assert not THEIRS.search(without_our_sentence(body)), body
    if dialect.operation == "chat" and dialect.stream_type:
        context = AnswerContext(id="gen-1", model="m", created=0)
        frame = dialect.encoder(context).fail(error)
        assert not THEIRS.search(without_our_sentence(frame)), frame


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_key_of_the_callers_does_say_so(name: str) -> None:
    error = errors.AuthenticationFailed("No valid key came with the request.")
    assert error.status == 401
    assert dialects.get(name).encode_error(error, "gen-1") != dialects.get(name).encode_error(
        errors.UpstreamAuthError("No valid key came with the request."), "gen-1"
    )
