"""The shipped files themselves: rows are complete, sourced and consistent with each other."""

import datetime as dt
import importlib.util
import re
from importlib import metadata
from pathlib import Path

import httpx2
import msgspec
import pytest

from trivium.catalog.resolve import endpoint
from trivium.catalog.rows import Provider
from trivium.config.origin import check_base_url, placed
from trivium.config.shipped import catalog
from trivium.types.data import DataClass

CATALOG = catalog()
ROWS = list(CATALOG.providers.values())
REMOTE = [row for row in ROWS if row.access != "local"]
KEYLESS = {"vertex", "watsonx", "alibaba-us", "alibaba-cn", "minimax-cn", "moonshot-cn"}
"""Rows whose key no variable holds: a command says a token, or the variable is read for a sister in another region."""
TOOL = Path(__file__).parents[3] / "tools/refresh_prices.py"


def test_there_are_enough_rows_and_auto_asks_them_in_the_stated_order():
    assert len(REMOTE) >= 60
    ready = [row.id for row in ROWS if row.default_model]
    assert ready[:5] == ["openai", "anthropic", "google", "mistral", "groq"]
    assert ready[-1] == "openrouter"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_is_sourced_and_well_formed(row: Provider):
    assert row.name
    assert row.source
    assert dt.date.fromisoformat(row.checked) <= dt.date(2027, 1, 1)
    address = placed(row.base_url, dict.fromkeys(row.places, "its-own.example"))
    if address:
        assert check_base_url(address) == address
    if row.access != "local":
        assert address.startswith("https://")
        assert bool(row.key_env) == (row.id not in KEYLESS)
        for path in (row.key_check, row.models_path):
            assert str(httpx2.URL(f"{address}{path or ''}")).startswith(f"https://{httpx2.URL(address).host}/")
    for pattern in (row.key_form, row.data_for):
        re.compile(pattern or "")


def test_ids_and_key_variables_belong_to_one_row_each():
    names = [name for row in ROWS for name in row.key_env]
    assert len(names) == len(set(names))


def test_no_key_form_matches_a_key_of_another_form():
    keys = {
        "openai": "sk-proj-" + "a" * 40,
        "anthropic": "sk-ant-api03-" + "a" * 40,
        "openrouter": "sk-or-v1-" + "a" * 64,
        "groq": "gsk_" + "a" * 52,
        "xai": "xai-" + "a" * 80,
        "google": "AIza" + "a" * 35,
        "huggingface": "hf_" + "a" * 34,
    }
    for owner, key in keys.items():
        assert [row.id for row in ROWS if row.key_form and re.fullmatch(row.key_form, key)] == [owner]


def test_auto_never_takes_a_model_whose_price_is_unknown():
    unpriced = [row.id for row in REMOTE if row.default_model and not CATALOG.price(row, row.default_model)]
    assert unpriced == []


def test_only_our_engines_are_premises_out_of_the_box():
    premises = [row.id for row in ROWS if endpoint(CATALOG, row, "any-model").ceiling is DataClass.PREMISES]
    assert premises == ["local"]


def test_every_spelling_belongs_to_a_row_of_the_catalog():
    strangers = {provider for model in CATALOG.models.values() for provider in model.spellings} - set(CATALOG.providers)
    assert strangers == set()


def test_the_demo_model_says_that_it_is_one_and_cannot_do_tools():
    demo = CATALOG.model("local", "smollm2-135m")
    assert demo is not None
    assert "demo model" in demo.note
    assert demo.family == "smollm2"
    assert demo.context == 8192
    assert not {"tools", "images"} & set(demo.capabilities or ())
    pull = CATALOG.local_models["smollm2-135m"]
    assert pull.source.startswith("pypi:")
    assert pull.member.endswith(pull.file)
    assert {len(pull.sha256), len(pull.archive_sha256)} == {64}
    assert pull.licence == "Apache-2.0"


def test_the_model_that_makes_vectors_is_made_here_of_pinned_bytes():
    known, pull = CATALOG.model("local", "minilm"), CATALOG.local_models["minilm"]
    assert known is not None
    assert (known.operations, pull.operation, known.context) == (("embed",), "embed", pull.context)
    assert {len(pull.sha256), len(pull.archive_sha256), len(pull.member_sha256)} == {64}
    assert pull.licence == "Apache-2.0"
    assert [row.name for row in CATALOG.local_models.values() if row.operation == "chat"] == ["smollm2-135m"]


def test_a_known_price_to_the_nano_dollar():
    price = CATALOG.price(CATALOG.providers["openai"], "gpt-5-mini")
    assert price is not None
    assert (price.input, price.output, price.cache_read) == (250_000_000, 2_000_000_000, 25_000_000)
    assert price.version.startswith("genai-prices ")


def test_the_price_file_is_what_the_tool_makes_of_the_installed_prices():
    book = CATALOG.prices
    assert book.version == f"genai-prices {metadata.version('genai-prices')}", "run tools/refresh_prices.py"
    made = _tool().price_book(dt.date.fromisoformat(book.checked))
    assert msgspec.json.decode(msgspec.json.encode(made), type=type(book)) == book


def test_look_ups_agree_with_genai_prices_for_every_name_that_it_knows():
    tool = _tool()
    day = dt.date.fromisoformat(CATALOG.prices.checked)
    checked = 0
    for row in ROWS:
        provider = next((p for p in tool.data.providers if p.id == row.prices_id), None)
        for model in provider.models if provider else ():
            for name in [model.id, *(t[0][1] for t in tool.clauses(model.match) if t[0][0] == "equals")]:
                theirs = next((m for m in provider.models if m.is_match(name)), None)
                price = tool.current(theirs, day, tool.Counter()) if theirs else None
                expected = (tool.columns(price, tool.Counter()) or [None])[0] if price else None
                mine = CATALOG.price(row, name)
                assert (mine.input if mine else None) == expected, (row.id, name)
                checked += 1
    assert checked > 1000


def _tool():
    spec = importlib.util.spec_from_file_location("refresh_prices", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
