"""Cohere's `POST /rerank`, second version.

Source: https://docs.cohere.com/reference/rerank
"""

from __future__ import annotations

import msgspec

from trivium.dialects.base import AnswerContext, Built
from trivium.dialects.cohere_v2 import DIALECT as CHAT
from trivium.dialects.common import Json
from trivium.dialects.ranking import ranking, results
from trivium.dialects.request import Losses, given, own_extra
from trivium.dialects.retrieval import asked
from trivium.types.response import Response
from trivium.types.retrieval import RerankRequest

_OWN = frozenset({"priority", "relevant_spans"})
"""Fields of its own that are written back."""


def build_request(request: RerankRequest) -> Built:
    losses = Losses()
    losses.add("user", when=request.user)
    wire = given(
        model=request.model,
        query=request.query,
        documents=request.documents,
        top_n=request.top_n,
        max_tokens_per_doc=request.max_tokens_per_doc,
    )
    return Built(msgspec.json.encode(wire | own_extra(request.extra, _OWN, losses)), tuple(losses))


def encode_answer(response: Response, context: AnswerContext) -> Built:
    request, usage = asked(context, RerankRequest), response.usage
    units = {"search_units": usage.search_units} if usage and usage.search_units else {}
    read = {"input_tokens": usage.prompt_tokens} if usage and usage.prompt_tokens else {}
    body: Json = {
        "id": context.id,
        "results": results(response, request, documents=request.return_documents is True),
        "meta": {"api_version": {"version": "2"}, "billed_units": units} | ({"tokens": read} if read else {}),
    }
    return Built(msgspec.json.encode(body))


DIALECT = ranking(CHAT, name="cohere_rerank", build_request=build_request, encode_answer=encode_answer)
