"""Whatever a request says in one dialect is said in the other or named as a loss: 39 things, 36 pairs of dialects."""

from __future__ import annotations

import pytest

from matrix.features import DIALECTS, FEATURES, Feature, fate
from trivium.dialects import get


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("caller", DIALECTS)
@pytest.mark.parametrize("feature", [pytest.param(feature, id=feature.name) for feature in FEATURES])
def test_what_is_said_arrives_or_is_named(feature: Feature, caller: str, upstream: str) -> None:
    found = fate(feature, get(caller), get(upstream))
    assert found.word != "lost"
    if caller == upstream:
        assert found.word in ("kept", "unsaid", "fetched"), found


def test_each_thing_can_be_said_somewhere() -> None:
    said = {
        feature.name for feature in FEATURES for name in DIALECTS if fate(feature, get(name), get(name)).word == "kept"
    }
    unsaid = {feature.name for feature in FEATURES} - said
    assert unsaid <= {"min_p", "repetition_penalty"}, "a feature that no dialect can say tests nothing"
