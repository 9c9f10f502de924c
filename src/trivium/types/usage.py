"""How many tokens an answer took, by kind.

Kinds are disjoint so that a price can be put on each and nothing is billed twice: `input_tokens`
excludes what was read from or written to a prompt cache, `output_tokens` *includes*
`reasoning_tokens` (all vendors bill reasoning as output). Dialects add them up as their wire wants.
"""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Part of the cache writes that were asked to live an hour; not contained in `cache_write_tokens`."""
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    """Contained in `input_tokens`."""
    output_audio_tokens: int = 0
    """Contained in `output_tokens`."""
    input_image_tokens: int = 0
    search_units: int = 0
    """What some services bill for reranking: a query with as many documents as they count as one."""
    requests: int = 1
    estimated: bool = False
    """True where the upstream reported nothing and the figures come from lengths."""
    cost_usd: float | None = None
    """What the upstream itself says that it charges, in USD (routing services do); None where it is silent."""

    @property
    def prompt_tokens(self) -> int:
        """Everything that went in: OpenAI's `prompt_tokens`."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens + self.cache_write_1h_tokens

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens

    def plus(self, other: Usage) -> Usage:
        """The sum of two usages, for a request of several attempts."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        cost = None if self.cost_usd is None or other.cost_usd is None else self.cost_usd + other.cost_usd
        return Usage(**sums, estimated=self.estimated or other.estimated, cost_usd=cost)


_SUMMED = frozenset(Usage.__struct_fields__) - {"estimated", "cost_usd"}
