"""Whether a model fits into memory, and how much context it can have there. An estimate, and said so.

`total = weights + KV cache + compute + process`; it fits at 80 % of what is available.
"""

from __future__ import annotations

import msgspec

from trivium.engines.gguf import Facts

SHARE = 0.8
_CONTEXT_DEFAULT = 8192
_CONTEXT_LEAST = 512
_KV_ELEMENT_BYTES = 2  # f16
_UBATCH = 512
_COMPUTE_BYTES = 80  # an element of one micro-batch, as measured on a small model
_PROCESS_BYTES = 12 << 20


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """The prediction for one way to run a model. Sizes are bytes, `context` is tokens a request."""

    context: int
    slots: int
    weights: int
    kv_cache: int
    compute: int
    available: int | None

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.compute + _PROCESS_BYTES

    @property
    def fits(self) -> bool:
        """True also where nobody knows how much is available."""
        return self.available is None or self.total <= SHARE * self.available


def fit(facts: Facts, file_size: int, *, context: int | None, slots: int, available: int | None) -> Fit:
    """The largest automatic context that fits, or the stated one as it is: a user's figure is never changed."""
    if context is not None:
        return _predict(facts, file_size, context, slots, available)
    tokens = min(facts.context or _CONTEXT_DEFAULT, _CONTEXT_DEFAULT)
    found = _predict(facts, file_size, tokens, slots, available)
    while not found.fits and tokens // 2 >= _CONTEXT_LEAST:
        tokens //= 2
        found = _predict(facts, file_size, tokens, slots, available)
    return found


def _predict(facts: Facts, file_size: int, context: int, slots: int, available: int | None) -> Fit:
    per_cell = 2 * (facts.kv_heads or 0) * (facts.head_dim or 0) * _KV_ELEMENT_BYTES * (facts.layers or 0)
    return Fit(
        context=context,
        slots=slots,
        weights=facts.tensor_bytes or file_size,
        kv_cache=per_cell * context * slots,
        compute=(facts.embedding or 0) * (_UBATCH if facts.operation == "chat" else context) * _COMPUTE_BYTES,
        available=available,
    )
