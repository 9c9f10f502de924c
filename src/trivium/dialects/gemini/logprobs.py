"""Log-probabilities of an answer, both ways: ours are a list of `{token, logprob, bytes, top_logprobs}`."""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.dialects.common import Json


class _Token(msgspec.Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class _Step(msgspec.Struct):
    candidates: list[_Token] = []


class WireLogprobs(msgspec.Struct, rename="camel"):
    chosen_candidates: list[_Token] = []
    top_candidates: list[_Step] = []


def logprobs_of(wire: WireLogprobs) -> list[Json]:
    tops = [step.candidates for step in wire.top_candidates]
    tops += [[]] * (len(wire.chosen_candidates) - len(tops))
    return [
        _token(chosen) | {"top_logprobs": [_token(token) for token in top]}
        for chosen, top in zip(wire.chosen_candidates, tops, strict=False)
    ]


def _token(wire: _Token) -> Json:
    return {
        "token": wire.token,
        "logprob": wire.log_probability,
        "bytes": list(wire.token.encode("utf-8", "replace")),
    }


def wire_logprobs(content: list[Json]) -> Json:
    return {
        "chosenCandidates": [_wire(token) for token in content],
        "topCandidates": [{"candidates": [_wire(top) for top in token.get("top_logprobs") or ()]} for token in content],
    }


def _wire(token: Json) -> dict[str, Any]:
    return {"token": token.get("token", ""), "logProbability": token.get("logprob", 0.0)}
