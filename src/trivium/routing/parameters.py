"""Parameters: which of a request's an endpoint does something with, by OpenRouter's names, as far as rows tell.

A table of what is said in the dialects that servers speak and of what models are stated to be capable of.
"""

from __future__ import annotations

from functools import lru_cache

from trivium.catalog.rows import Endpoint

_EVERYWHERE = frozenset({"max_tokens", "max_completion_tokens", "temperature", "top_p", "stop"})
_USUAL = frozenset({"frequency_penalty", "presence_penalty", "seed", "logit_bias"})
_WIDE = _USUAL | {"top_k", "min_p", "repetition_penalty"}
_BY_DIALECT = {
    "openai_chat": _USUAL,
    "openai_completions": _USUAL,
    "anthropic_messages": frozenset({"top_k"}),
    "gemini": _USUAL - {"logit_bias"} | {"top_k"},
    "cohere_v2": _USUAL - {"logit_bias"} | {"top_k"},
    "ollama": _WIDE - {"logit_bias"},
}
_CAPABLE = {
    "tools": ("tools", "tool_choice", "parallel_tool_calls"),
    "json_schema": ("response_format", "structured_outputs"),
    "json_object": ("response_format",),
    "reasoning": ("reasoning", "include_reasoning", "reasoning_effort"),
    "logprobs": ("logprobs", "top_logprobs"),
}
_SERVICE = ("top_a", "verbosity", "web_search_options", "prediction")
PARAMETERS = frozenset[str]().union(_EVERYWHERE, _WIDE, _SERVICE, *_CAPABLE.values())
"""All that have a name in the catalog; other fields of a body are none."""


def supported(endpoint: Endpoint) -> frozenset[str]:
    """The parameters that an endpoint is known to heed."""
    return _supported(endpoint.dialects[0], endpoint.access, endpoint.capabilities)


@lru_cache(maxsize=512)
def _supported(dialect: str, access: str, capabilities: frozenset[str]) -> frozenset[str]:
    base = _WIDE if access in ("routed", "local") else _BY_DIALECT.get(dialect, frozenset[str]())
    able = (name for capability, names in _CAPABLE.items() if capability in capabilities for name in names)
    return _EVERYWHERE.union(base, able)
