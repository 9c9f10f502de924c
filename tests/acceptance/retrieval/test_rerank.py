"""The vendors' own clients, unmodified, ask for rankings: of every upstream's shape, of a model on this machine."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import cohere
import httpx2
import pytest
from openrouter import OpenRouter
from openrouter.operations.creatererank import CreateRerankRequestBody

from acceptance.world import World
from trivium.testing.retrieval import score

QUERY = "Where is the Louvre?"
DOCUMENTS = ["Bananas are yellow.", "The Louvre is in Paris.", "Paris is a city; where is the Louvre?"]
LOCAL = "local/minilm"


def by_cohere(world: World, model: str, **more: Any) -> list[tuple[int, float]]:
    client: cohere.ClientV2 = world._client(cohere.ClientV2, world.served.origin, "any")
    done = client.rerank(model=model, query=QUERY, documents=DOCUMENTS, **more)
    assert done.id
    return [(one.index, one.relevance_score) for one in done.results]


def by_coheres_first(world: World, model: str, **more: Any) -> list[tuple[int, float]]:
    client: cohere.Client = world._client(cohere.Client, world.served.origin, "any")
    documents: Any = [{"text": text} for text in DOCUMENTS]
    done = client.rerank(model=model, query=QUERY, documents=documents, return_documents=True, **more)
    assert all(one.document and one.document.text == DOCUMENTS[one.index] for one in done.results)
    return [(one.index, one.relevance_score) for one in done.results]


def by_openrouter(world: World, model: str, **more: Any) -> list[tuple[int, float]]:
    with OpenRouter(api_key="any", server_url=world.served.base_url) as client:
        done: Any = client.rerank.rerank(model=model, query=QUERY, documents=DOCUMENTS, **more)
    assert done.model in {model, model.partition("/")[2]}
    assert done.results[0].document.text == DOCUMENTS[done.results[0].index]
    return [(one.index, one.relevance_score) for one in done.results]


Ask = Callable[..., list[tuple[int, float]]]
callers = pytest.mark.parametrize("ask", [by_cohere, by_coheres_first, by_openrouter])
everywhere = pytest.mark.parametrize("at", ["oai", "coh"])

RANKED = sorted(((i, score(QUERY, text)) for i, text in enumerate(DOCUMENTS)), key=lambda one: (-one[1], one[0]))


@everywhere
@callers
def test_every_client_reads_the_same_ranking_of_every_upstream(library: World, ask: Ask, at: str) -> None:
    assert ask(library, f"{at}/ok") == RANKED
    assert ask(library, f"{at}/ok", top_n=1) == RANKED[:1]


@everywhere
def test_what_upstreams_are_sent_is_what_their_clients_send(library: World, at: str) -> None:
    by_cohere(library, f"{at}/shape", top_n=2)
    sent = json.loads(library.last("shape").body)
    if at == "coh":
        assert sent.keys() <= inspect.signature(cohere.ClientV2.rerank).parameters.keys()
    else:
        assert sent.keys() - {"return_documents"} <= CreateRerankRequestBody.model_fields.keys()
        CreateRerankRequestBody.model_validate(sent)


def test_what_cannot_be_said_is_named(library: World) -> None:
    asked = {"model": "oai/ok", "query": QUERY, "documents": DOCUMENTS, "max_tokens_per_doc": 99}
    answer = httpx2.post(f"{library.served.origin}/v2/rerank", json=asked)
    assert answer.headers["x-trivium-dropped"] == "max_tokens_per_doc"
    strict = httpx2.post(f"{library.served.origin}/v2/rerank", json=asked, headers={"x-trivium-strict": "1"})
    assert strict.status_code == 400
    assert "max_tokens_per_doc" in strict.json()["message"]


def test_errors_come_in_the_callers_dialect(library: World) -> None:
    with pytest.raises(cohere.TooManyRequestsError):
        by_cohere(library, "oai/429-forever")
    for model in ("gem/ok", "oll/ok", "ant/chat"):
        with pytest.raises(cohere.BadRequestError, match="does not rerank"):
            by_cohere(library, model)


@callers
def test_the_model_on_this_machine_ranks_by_the_cosine(library: World, ask: Ask) -> None:
    found = ask(library, LOCAL)
    assert found[-1][0] == 0
    assert {index for index, _ in found} == {0, 1, 2}
    assert found[0][1] > 0.6
    assert 0 <= found[-1][1] < 0.3
    assert ask(library, LOCAL, top_n=1) == found[:1]


def test_which_is_an_approximation_and_says_so(library: World) -> None:
    asked = {"model": LOCAL, "query": QUERY, "documents": DOCUMENTS}
    answer = httpx2.post(f"{library.served.base_url}/rerank", json=asked, timeout=60)
    assert answer.headers["x-trivium-dropped"] == "rerank.cosine"
    strict = httpx2.post(f"{library.served.base_url}/rerank", json=asked, headers={"x-trivium-strict": "1"}, timeout=60)
    assert strict.status_code == 400
