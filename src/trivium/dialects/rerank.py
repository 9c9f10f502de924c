"""`POST /rerank` as routing services and open servers have it beside OpenAI's paths.

Source: https://openrouter.ai/docs/api-reference/rerank, https://jina.ai/reranker, the servers of vLLM and llama.cpp.
"""

from __future__ import annotations

import msgspec

from trivium.dialects.base import AnswerContext, Built
from trivium.dialects.common import Json
from trivium.dialects.openai_chat import DIALECT as CHAT
from trivium.dialects.ranking import ranking, results
from trivium.dialects.request import Losses, given, own_extra
from trivium.dialects.retrieval import asked
from trivium.types.response import Response
from trivium.types.retrieval import RerankRequest

_OWN = frozenset({"provider", "truncate_prompt_tokens", "priority", "rank_fields", "max_chunks_per_doc"})
"""Fields of relatives that are written back."""


def build_request(request: RerankRequest) -> Built:
    losses = Losses()
    losses.add("max_tokens_per_doc", when=request.max_tokens_per_doc is not None)
    wire = given(
        model=request.model,
        query=request.query,
        documents=request.documents,
        top_n=request.top_n,
        return_documents=False,  # they are here
        user=request.user,
    )
    return Built(msgspec.json.encode(wire | own_extra(request.extra, _OWN, losses)), tuple(losses))


def encode_answer(response: Response, context: AnswerContext) -> Built:
    """With what callers of all relatives look for: `meta` is that of Cohere, whose first version is asked here too."""
    request, usage = asked(context, RerankRequest), response.usage
    count = usage.prompt_tokens if usage else context.input_tokens_estimate
    figures: Json = {"prompt_tokens": count, "total_tokens": count}
    billed: Json = {"search_units": usage.search_units} if usage and usage.search_units else {}
    if usage and usage.cost_usd is not None:
        figures["cost"] = usage.cost_usd
    body: Json = {
        "id": context.id,
        "object": "list",
        "model": context.model,
        "provider": context.provider,
        "results": results(response, request, documents=request.return_documents is not False),
        "usage": figures | billed,
        "meta": {"api_version": {"version": "1"}, "billed_units": billed},
    }
    return Built(msgspec.json.encode(body))


DIALECT = ranking(CHAT, name="rerank", build_request=build_request, encode_answer=encode_answer)
