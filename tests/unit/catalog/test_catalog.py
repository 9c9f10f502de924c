import pytest

from trivium.catalog.catalog import Catalog, PriceBook, PriceList, PriceRow, PriceRule
from trivium.catalog.rows import Price, Provider

A, B, C = PriceRow(1, 2), PriceRow(3, 4, context=8), PriceRow(5, 6)


def prices(exact: dict[str, int], *rules: PriceRule) -> PriceList:
    return PriceList(rows=(A, B, C), exact=exact, rules=rules)


def test_an_exact_name_is_found_whatever_its_case():
    assert prices({"gpt": 1}).row("GPT") is B


def test_an_unknown_name_has_no_row():
    assert prices({"gpt": 1}, PriceRule(2, (("starts", "claude"),))).row("gpt-5") is None


@pytest.mark.parametrize(
    ("test", "text"),
    [("starts", "claude-"), ("ends", "-5"), ("contains", "haiku"), ("regex", r"^claude-haiku-\d$")],
)
def test_each_kind_of_pattern_matches(test: str, text: str):
    book = prices({}, PriceRule(1, ((test, text),)))  # type: ignore[arg-type]
    assert book.row("claude-haiku-5") is B
    assert book.row("gpt") is None


def test_the_lowest_row_wins_over_exact_names_and_patterns_alike():
    early, late = PriceRule(0, (("starts", "gpt"),)), PriceRule(2, (("starts", "gpt"),))
    assert prices({"gpt-5": 1}, early, late).row("gpt-5") is A
    assert prices({"gpt-5": 1}, late).row("gpt-5") is B


def test_all_tests_of_a_rule_must_hold():
    rule = PriceRule(0, (("starts", "gemini"), ("regex", "^(?!.*-tts)")))
    assert prices({}, rule).row("gemini-flash") is A
    assert prices({}, rule).row("gemini-flash-tts") is None


def test_a_row_without_prices_keeps_the_price_unknown_but_tells_the_context():
    book = PriceBook(
        "v1", "2026-01-01", {}, {"p": PriceList((PriceRow(context=4096), PriceRow(7, 0)), {"a": 0, "b": 1})}
    )
    catalog = Catalog(providers={}, models={}, local_models={}, prices=book, spellings={})
    provider = Provider(id="x", prices_id="p")
    assert catalog.price(provider, "a") is None
    assert catalog.context(provider, "a") == 4096
    assert catalog.price(provider, "b") == Price(input=7, output=0, version="v1")
    assert catalog.price(Provider(id="y"), "a") is None
