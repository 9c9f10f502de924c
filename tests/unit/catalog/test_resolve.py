import pytest

from trivium.catalog.catalog import Catalog, PriceBook, PriceList, PriceRow
from trivium.catalog.resolve import endpoint
from trivium.catalog.rows import Model, Price, Provider
from trivium.types.data import DataClass, DataPolicy

BOOK = PriceBook("v", "", {}, {"p": PriceList((PriceRow(10, 20, context=1000),), {"big": 0, "odd": 0})})
BIG = Model(id="big", family="bigs", weights="big-w", capabilities=("tools",), context=2000, spellings={"acme": "big"})
CATALOG = Catalog(providers={}, models={"big": BIG}, local_models={}, prices=BOOK, spellings={("acme", "big"): BIG})
ACME = Provider(
    id="acme",
    base_url="https://acme.example/v1",
    prices_id="p",
    capabilities=("images",),
    data=DataPolicy(trains=False, retains_days=0),
)
OURS = Provider(id="local", access="local", data=DataPolicy(trains=False, retains_days=0, premises=True))


def test_a_known_model_has_its_own_facts():
    found = endpoint(CATALOG, ACME, "big", trusted_origin=True)
    assert found.id == "acme/big"
    assert found.price == Price(input=10, output=20, version="v")
    assert (found.context, found.family, found.weights) == (2000, "bigs", "big-w")
    assert found.capabilities == {"tools"}
    assert not found.silent_thinker
    assert found.trusted_origin
    assert found.engine is None


def test_a_model_known_by_price_only_takes_the_context_of_the_price_list_and_the_row_s_capabilities():
    found = endpoint(CATALOG, ACME, "odd")
    assert (found.context, found.capabilities, found.weights) == (1000, {"images"}, None)


def test_an_unknown_model_has_no_price_and_counts_as_a_silent_thinker():
    found = endpoint(CATALOG, ACME, "never/heard:of-it")
    assert found.id == "acme/never/heard:of-it"
    assert found.model == "never/heard:of-it"
    assert found.price is None
    assert found.context is None
    assert found.silent_thinker


def test_the_configuration_overrides_the_catalog_field_by_field():
    mine = Model(id="acme/big", price=Price(input=0, output=0), context=5)
    found = endpoint(CATALOG, ACME, "big", override=mine)
    assert found.price == Price(input=0, output=0)
    assert found.context == 5
    assert (found.capabilities, found.weights) == ({"tools"}, "big-w")


def test_an_override_may_take_capabilities_away():
    assert endpoint(CATALOG, ACME, "big", override=Model(id="x", capabilities=())).capabilities == set()


def test_our_engine_is_premises_whatever_the_model_is_called():
    found = endpoint(CATALOG, OURS, "mine-cloud")
    assert found.ceiling is DataClass.PREMISES
    assert found.engine == "mine-cloud"
    assert found.price is None
    assert not found.silent_thinker


@pytest.mark.parametrize("name", ["gpt-oss:120b-cloud", "glm-4.6:cloud", "x-CLOUD"])
def test_a_model_that_a_local_server_runs_elsewhere_is_never_premises(name: str):
    configured = Provider(id="found", access="local", base_url="http://127.0.0.1:1/v1", data=DataPolicy(premises=True))
    assert endpoint(CATALOG, configured, name).ceiling is DataClass.ANY
    assert endpoint(CATALOG, configured, "cloudy").ceiling is DataClass.PREMISES


def test_a_policy_that_holds_for_some_models_says_nothing_about_others():
    partial = Provider(id="acme", base_url="https://a.example", data=ACME.data, data_for="own/.+")
    assert endpoint(CATALOG, partial, "own/model").ceiling is DataClass.ZERO_RETENTION
    assert endpoint(CATALOG, partial, "elsewhere/own/model").ceiling is DataClass.ANY


def test_an_unknown_policy_is_the_worst():
    assert endpoint(CATALOG, Provider(id="x", base_url="https://x.example"), "m").ceiling is DataClass.ANY
