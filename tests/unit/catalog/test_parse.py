import msgspec
import pytest

from trivium.catalog.catalog import parse

PROVIDERS = b"""
[[providers]]
id = "zeta"
[[providers]]
id = "alpha"
"""
MODELS = b"""
local_models = []
[[models]]
id = "m"
spellings = { zeta = "zeta-m" }
"""
PRICES = (
    b'{"version":"v","checked":"","counts":{},"providers":{"p":{"rows":[[1,2,null,3],[]],"exact":{"m":0},"rules":[]}}}'
)


def test_rows_keep_their_order_and_models_their_spellings():
    catalog = parse(PROVIDERS, MODELS, PRICES)
    assert list(catalog.providers) == ["zeta", "alpha"]
    model = catalog.model("zeta", "zeta-m")
    assert model is catalog.models["m"]
    assert catalog.model("alpha", "zeta-m") is None


def test_short_price_rows_are_unknown_at_their_end():
    rows = parse(PROVIDERS, MODELS, PRICES).prices.providers["p"].rows
    assert (rows[0].cache_read, rows[0].cache_write, rows[0].context) == (None, 3, None)
    assert rows[1].input is None


@pytest.mark.parametrize(
    "providers", [b'[[providers]]\nid = "x"\naccess = "teleport"', b"[[providers]]\n", b'[[provider]]\nid = "x"']
)
def test_a_defect_in_a_shipped_file_is_loud(providers: bytes):
    with pytest.raises(msgspec.ValidationError):
        parse(providers, MODELS, PRICES)
