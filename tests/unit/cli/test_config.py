from __future__ import annotations

from pathlib import Path

import msgspec

from trivium.catalog.rows import Provider
from trivium.cli.config import redacted
from trivium.cli.providers import facts_of
from trivium.config.schema import BoundProvider, Config
from trivium.types.secret import Secret

ROW = Provider(id="lab", base_url="https://lab.example/v1", headers={"x-lab": "hush-header"})


def test_what_is_shown_holds_no_secret() -> None:
    bound = BoundProvider(row=ROW, credential=Secret("hush-key"), credential_from="LAB_KEY")
    said = msgspec.json.encode(redacted(Config(home=Path("/home"), providers={"lab": bound})))
    assert b"hush" not in said
    assert b"LAB_KEY" in said


def test_facts_of_a_provider_hide_the_values_of_headers() -> None:
    facts = facts_of(ROW)
    assert facts["headers"] == {"x-lab": "hidden"}
    assert facts["region"] is None
