from __future__ import annotations

import pytest

from trivium.engines.fit import fit
from trivium.engines.gguf import RANKS, Facts

MIB = 1 << 20
SMOLLM2 = Facts(
    params=134_515_008, tensor_bytes=96_576_768, context=8192, layers=30, embedding=576, kv_heads=3, head_dim=64
)


def test_the_figures_of_a_measured_model() -> None:
    found = fit(SMOLLM2, 0, context=8192, slots=1, available=None)
    assert found.kv_cache == 180 * MIB
    assert 300 * MIB < found.total < 320 * MIB  # measured: 307
    assert found.fits


def test_an_automatic_context_shrinks_until_it_fits() -> None:
    roomy = fit(SMOLLM2, 0, context=None, slots=1, available=1000 * MIB)
    tight = fit(SMOLLM2, 0, context=None, slots=1, available=250 * MIB)
    assert (roomy.context, roomy.fits) == (8192, True)
    assert (tight.context, tight.fits) == (2048, True)


def test_what_cannot_fit_says_so_and_a_stated_context_is_never_changed() -> None:
    assert not fit(SMOLLM2, 0, context=None, slots=1, available=100 * MIB).fits
    stated = fit(SMOLLM2, 0, context=8192, slots=4, available=220 * MIB)
    assert (stated.context, stated.fits) == (8192, False)


@pytest.mark.parametrize(("trained", "expected"), [(2048, 2048), (131072, 8192), (None, 8192)])
def test_the_automatic_context_is_no_larger_than_the_trained_one(trained: int | None, expected: int) -> None:
    assert fit(Facts(context=trained), 1, context=None, slots=1, available=None).context == expected


@pytest.mark.parametrize("pooling", [1, RANKS])
def test_a_model_that_does_not_chat_takes_a_text_in_one_batch(pooling: int) -> None:
    chats = fit(Facts(embedding=1024), 1, context=8192, slots=1, available=None)
    embeds = fit(Facts(embedding=1024, pooling=pooling), 1, context=8192, slots=1, available=None)
    assert embeds.compute == 16 * chats.compute
