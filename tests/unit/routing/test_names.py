"""Model ids taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.routing.names import ROADS, SORTS, Named, Suffixed, parse, suffixed

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
        ("small", None),
        ("", None),
        ("/", None),
        (":", None),
        ("acme/", None),
        ("acme:", None),
        ("/small", None),
        ("nobody/small", None),
        ("nobody:small", None),
        ("Acme/small", None),
    ],
)
def test_a_name(name: str, found: Named | None) -> None:
    assert parse(name, PROVIDERS) == found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("acme/small", Suffixed("acme/small")),
        ("acme/small:direct", Suffixed("acme/small", "direct")),
        ("hub/acme/small:routed", Suffixed("hub/acme/small", "routed")),
        ("local/llama3:8b:local", Suffixed("local/llama3:8b", "local")),
        ("acme:small:local", Suffixed("acme:small", "local")),
        ("auto:local", Suffixed("auto", "local")),
        ("acme/small:floor", Suffixed("acme/small", sort="cheapest")),
        ("acme/small:nitro:routed", Suffixed("acme/small", "routed", "fastest")),
        ("acme/small:routed:nitro", Suffixed("acme/small", "routed", "fastest")),
        ("acme/small:floor:nitro", Suffixed("acme/small:floor", sort="fastest")),
        ("hub/acme/small:free", Suffixed("hub/acme/small:free")),
        (":direct", Suffixed(":direct")),
        ("", Suffixed("")),
    ],
)
def test_suffixes_of_ours(name: str, found: Suffixed) -> None:
    assert suffixed(name) == found


@given(st.text(max_size=60))
def test_what_is_found_is_what_was_said(name: str) -> None:
    found = parse(name, PROVIDERS)
    if found is not None:
        assert found.provider in PROVIDERS
        assert found.model
        assert name in {f"{found.provider}{mark}{found.model}" for mark in "/:"}


@given(st.text(max_size=40), st.sampled_from([*ROADS, *SORTS, None]))
def test_a_suffix_is_taken_off_once(name: str, suffix: str | None) -> None:
    found = suffixed(f"{name}:{suffix}" if suffix else name)
    assert name.startswith(found.name) or not name
    if name and name.rpartition(":")[2] not in {*ROADS, *SORTS}:
        assert found == Suffixed(name, suffix if suffix in ROADS else None, SORTS.get(suffix or ""))


@given(st.sampled_from(sorted(PROVIDERS)), st.text(min_size=1, max_size=40))
def test_every_model_of_a_provider_can_be_named(provider: str, model: str) -> None:
    assert parse(f"{provider}/{model}", PROVIDERS) == Named(provider, model)
