"""What the engine is told: one model, and nothing else open; vectors only where that is what the model is for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from trivium.engines.gguf import RANKS
from trivium.engines.llamacpp import Launch
from trivium.engines.llamacpp_worker import _parameters

LAUNCH: dict[str, Any] = {"path": "m.gguf", "alias": "m", "key": "k", "parent": 1, "slots": 2, "threads": 3}


def told(**fields: Any) -> Any:
    parts = {name: SimpleNamespace() for name in ("model", "cpuparams", "cpuparams_batch")}
    return _parameters(Launch(**LAUNCH | fields), SimpleNamespace(**parts))


def test_a_chat() -> None:
    params = told(context=2048)
    assert (params.n_ctx, params.n_parallel, params.n_ubatch) == (4096, 2, 512)
    assert (params.api_keys, params.hostnames, params.server_tools) == (["k"], ["127.0.0.1"], [])
    assert (params.model.path, params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == ("m.gguf", 3, 3)
    assert not hasattr(params, "embedding")


@pytest.mark.parametrize("context", [512, 8192])
@pytest.mark.parametrize("operation", ["embed", "rerank"])
def test_vectors_and_rankings_are_made_of_a_whole_text_at_once(context: int, operation: str) -> None:
    params = told(context=context, operation=operation)
    assert params.embedding
    assert (params.n_batch, params.n_ubatch) == (context, context)
    assert getattr(params, "pooling_type", None) == (RANKS if operation == "rerank" else None)


def test_the_operators_own_options_count_last() -> None:
    assert told(context=512, operation="embed", options={"n_ubatch": 64}).n_ubatch == 64
