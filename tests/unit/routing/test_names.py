"""Model ids taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.routing.names import ROADS, Named, parse

PROVIDERS = {"acme", "hub", "local"}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("acme/small", Named("acme", "small")),
        ("hub/acme/small", Named("hub", "acme/small")),
        ("acme:small", Named("acme", "small")),
        ("acme:llama3:8b", Named("acme", "llama3:8b")),
        ("acme/llama3:8b", Named("acme", "llama3:8b")),
        ("hub/acme/small:free", Named("hub", "acme/small:free")),
        ("acme/small:direct", Named("acme", "small", "direct")),
        ("hub/acme/small:routed", Named("hub", "acme/small", "routed")),
        ("local/llama3:8b:local", Named("local", "llama3:8b", "local")),
        ("acme:small:local", Named("acme", "small", "local")),
        ("local:local", None),
        ("small", None),
        ("", None),
        ("/", None),
        (":", None),
        ("acme/", None),
        ("acme:", None),
        ("/small", None),
        ("nobody/small", None),
        ("nobody:small", None),
        ("small:direct", None),
        (":direct", None),
        ("Acme/small", None),
    ],
)
def test_a_name(name: str, found: Named | None) -> None:
    assert parse(name, PROVIDERS) == found


@given(st.text(max_size=60))
def test_what_is_found_is_what_was_said(name: str) -> None:
    found = parse(name, PROVIDERS)
    if found is not None:
        assert found.provider in PROVIDERS
        assert found.model
        suffix = f":{found.road}" if found.road else ""
        assert name in {f"{found.provider}{mark}{found.model}{suffix}" for mark in "/:"}


@given(st.sampled_from(sorted(PROVIDERS)), st.text(min_size=1, max_size=40), st.sampled_from([*ROADS, None]))
def test_every_model_of_a_provider_can_be_named(provider: str, model: str, road: str | None) -> None:
    named = parse(f"{provider}/{model}" + (f":{road}" if road else ""), PROVIDERS)
    if road or model.rpartition(":")[2] not in ROADS:
        assert named == Named(provider, model, road)
