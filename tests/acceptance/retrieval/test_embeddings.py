"""The vendors' own clients, unmodified, ask for vectors: of every upstream's shape, and of a model on this machine."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Sequence
from operator import mul
from typing import Any

import cohere
import httpx2
import ollama
import openai
import pytest
from google import genai
from google.genai import types
from ollama._types import EmbedRequest as OllamaRequest
from openai.types.embedding_create_params import EmbeddingCreateParams

from acceptance.world import World
from trivium.testing.retrieval import vector

PROVIDERS = ("oai", "coh", "gem", "oll")
TEXTS = ["The cat sits on the mat.", "A kitten is sitting.", "Stock prices fell sharply."]
LOCAL = "local/minilm"

everywhere = pytest.mark.parametrize("at", PROVIDERS)


def by_openai(world: World, model: str, texts: list[str], **more: Any) -> list[Sequence[float]]:
    done = world.openai().embeddings.create(model=model, input=texts, **more)
    assert done.object == "list"
    assert done.model in {model, model.rpartition("/")[2], "ok"}  # what passes keeps the upstream's own name
    assert [one.index for one in done.data] == list(range(len(texts)))
    assert done.usage.total_tokens == done.usage.prompt_tokens > 0
    return [one.embedding for one in done.data]


def by_openai_as_floats(world: World, model: str, texts: list[str], **more: Any) -> list[Sequence[float]]:
    return by_openai(world, model, texts, encoding_format="float", **more)


def by_cohere(world: World, model: str, texts: list[str], **more: Any) -> list[Sequence[float]]:
    client: cohere.ClientV2 = world._client(cohere.ClientV2, world.served.origin, "any")
    if dimensions := more.pop("dimensions", None):
        more["output_dimension"] = dimensions
    done = client.embed(model=model, texts=texts, input_type="search_query", embedding_types=["float"], **more)
    assert done.response_type == "embeddings_by_type"
    assert done.texts == texts
    assert done.meta
    assert done.meta.billed_units
    assert (done.meta.billed_units.input_tokens or 0) > 0
    return done.embeddings.float_ or []


def by_google(world: World, model: str, texts: list[str], **more: Any) -> list[Sequence[float]]:
    options = types.HttpOptions(base_url=world.served.origin)
    with genai.Client(api_key="any", http_options=options) as client:
        settings = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY", output_dimensionality=more.get("dimensions"))
        done = client.models.embed_content(model=model, contents=texts, config=settings)
    assert done.usage_metadata
    return [one.values or [] for one in done.embeddings or []]


def by_ollama(world: World, model: str, texts: list[str], **more: Any) -> list[Sequence[float]]:
    with ollama.Client(world.served.origin) as client:
        done = client.embed(model=model, input=texts, **more)
    assert done.model in {model, model.partition("/")[2]}
    assert (done.prompt_eval_count or 0) > 0
    return list(done.embeddings)


Ask = Callable[..., list[Sequence[float]]]
callers = pytest.mark.parametrize("ask", [by_openai, by_openai_as_floats, by_cohere, by_google, by_ollama])


def near(found: Sequence[Sequence[float]], texts: list[str], dimensions: int | None = None) -> bool:
    wanted = [vector(text, dimensions) for text in texts]
    pairs = [pair for one, other in zip(found, wanted, strict=True) for pair in zip(one, other, strict=True)]
    return all(math.isclose(a, b, abs_tol=1e-6) for a, b in pairs)


@everywhere
@callers
def test_every_client_reads_the_same_vectors_of_every_upstream(library: World, ask: Ask, at: str) -> None:
    assert near(ask(library, f"{at}/ok", TEXTS), TEXTS)


@everywhere
@callers
def test_the_dimensions_that_were_asked_for(library: World, ask: Ask, at: str) -> None:
    assert near(ask(library, f"{at}/ok", TEXTS, dimensions=4), TEXTS, 4)


@everywhere
def test_what_a_server_makes_of_dimensions_is_looked_at(library: World, at: str) -> None:
    """It ignores them: the vectors are cut, and that is named; strictly, nothing is approximated."""
    asked = {"model": f"{at}/fixed", "input": TEXTS, "dimensions": 4, "encoding_format": "float"}
    answer = httpx2.post(f"{library.served.base_url}/embeddings", json=asked)
    vectors = [one["embedding"] for one in answer.json()["data"]]
    assert [len(one) for one in vectors] == [4] * 3
    assert all(math.isclose(math.hypot(*one), 1, abs_tol=1e-6) for one in vectors)
    cosines = [sum(map(mul, one, vector(text)[:4])) for one, text in zip(vectors, TEXTS, strict=True)]
    assert all(math.isclose(c, math.hypot(*vector(t)[:4]), abs_tol=1e-6) for c, t in zip(cosines, TEXTS, strict=True))
    assert answer.headers["x-trivium-dropped"] == "dimensions"
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        library.openai().embeddings.create(**asked, extra_headers={"x-trivium-strict": "1"})  # type: ignore[arg-type]


@everywhere
def test_what_upstreams_are_sent_is_what_their_clients_send(library: World, at: str) -> None:
    """Nothing but the parameters of the vendor's own library; the fake upstream refuses the rest too."""
    by_openai(library, f"{at}/shape", TEXTS, dimensions=4)
    seen = [seen for seen in library.upstream.requests if seen.model == "shape" or "shape" in seen.path][-1]
    sent = json.loads(seen.body)
    match at:
        case "oai":
            assert sent.keys() <= EmbeddingCreateParams.__annotations__.keys()
        case "coh":
            assert sent.keys() <= inspect.signature(cohere.ClientV2.embed).parameters.keys()
            assert sent["input_type"] == "search_document"
        case "gem":
            assert seen.path == "/v1beta/models/shape:batchEmbedContents"
            known = {"model", "content", "taskType", "title", "outputDimensionality"}
            assert all(one.keys() <= known for one in sent["requests"])
            assert [types.Content.model_validate(one["content"]).parts for one in sent["requests"]]
        case _:
            assert sent.keys() <= OllamaRequest.model_fields.keys()
            OllamaRequest.model_validate(sent)


def test_one_text_and_lists_of_tokens(library: World) -> None:
    client = library.openai()
    one = client.embeddings.create(model="coh/ok", input=TEXTS[0])
    assert near([one.data[0].embedding], TEXTS[:1])
    assert len(client.embeddings.create(model="oai/ok", input=[[1, 2], [3]]).data) == 2
    with pytest.raises(openai.BadRequestError, match="tokens"):
        client.embeddings.create(model="coh/ok", input=[1, 2])


def test_a_purpose_travels_where_the_upstream_has_a_word_for_it(library: World) -> None:
    by_cohere(library, "gem/purpose", TEXTS)
    seen = [seen for seen in library.upstream.requests if "purpose" in seen.path][-1]
    assert {one["taskType"] for one in json.loads(seen.body)["requests"]} == {"RETRIEVAL_QUERY"}


def test_types_of_fewer_bits_are_their_own_servers(library: World) -> None:
    client: cohere.ClientV2 = library._client(cohere.ClientV2, library.served.origin, "any")
    asked: Any = {"texts": TEXTS, "input_type": "search_query", "embedding_types": ["int8", "float"]}
    own = client.embed(model="coh/ok", **asked)
    assert own.embeddings.int8
    other = client.embed(model="oai/ok", **asked)
    assert other.embeddings.int8 is None
    assert near(other.embeddings.float_ or [], TEXTS)


def test_the_elder_paths_of_ollama_and_gemini(library: World) -> None:
    with ollama.Client(library.served.origin) as client:
        old = client.embeddings(model="oai/ok", prompt=TEXTS[0])
    assert near([old.embedding], TEXTS[:1])
    for at in PROVIDERS:
        url = f"{library.served.origin}/v1beta/models/{at}/ok:embedContent"
        answer = httpx2.post(url, json={"content": {"parts": [{"text": TEXTS[0]}]}})
        assert near([answer.json()["embedding"]["values"]], TEXTS[:1])


def test_passed_bytes_stay_as_they_are(library: World) -> None:
    raw = b'{"model":"oai/ok","input":["a"], "user" : "u","encoding_format":"float"}'
    answer = httpx2.post(
        f"{library.served.base_url}/embeddings", content=raw, headers={"content-type": "application/json"}
    )
    assert answer.json()["model"] == "ok"
    assert library.last("ok").body == raw.replace(b"oai/ok", b"ok")
    assert (answer.headers["x-trivium-access"], answer.headers["x-trivium-endpoint"]) == ("direct", "oai/ok")


def test_what_it_costs(library: World) -> None:
    answer = httpx2.post(f"{library.served.base_url}/embeddings", json={"model": "oai/priced", "input": TEXTS})
    tokens = answer.json()["usage"]["prompt_tokens"]
    assert answer.headers["x-trivium-cost-usd"] == f"{tokens * 2e-6:.9f}"


def test_errors_come_in_the_callers_dialect(library: World) -> None:
    with pytest.raises(openai.RateLimitError):
        by_openai(library, "coh/429-forever", TEXTS)
    with pytest.raises(cohere.NotFoundError):
        by_cohere(library, "oai/404", TEXTS)
    with pytest.raises(genai.errors.ServerError):
        by_google(library, "oai/500", TEXTS)
    with pytest.raises(ollama.ResponseError):
        by_ollama(library, "gem/503", TEXTS)
    with pytest.raises(openai.BadRequestError, match="does not embed"):
        by_openai(library, "ant/chat", TEXTS)
    with pytest.raises(openai.BadRequestError, match="auto"):
        by_openai(library, "auto", TEXTS)
    with pytest.raises(openai.BadRequestError, match="does not embed"):
        by_openai(library, "local/smollm2-135m", TEXTS)
    with pytest.raises(openai.BadRequestError, match="does not chat"):
        library.openai().chat.completions.create(model=LOCAL, messages=[{"role": "user", "content": "hi"}])


@everywhere
@pytest.mark.parametrize("fault", ["empty", "html", "zero-choices", "malformed-chunk", "error-200", "cut-at-40"])
def test_answers_that_are_none_are_the_upstreams_fault(library: World, at: str, fault: str) -> None:
    for ask in (by_openai, by_ollama):
        with pytest.raises((openai.InternalServerError, ollama.ResponseError)) as caught:
            ask(library, f"{at}/{fault}", TEXTS)
        assert caught.value.status_code in {502, 503}


def test_a_route_goes_on_to_the_same_weights_only(library: World) -> None:
    assert near(by_openai(library, "mixed", TEXTS), TEXTS)
    before = library.upstream.count(model="ok", path="/v2/embed")
    with pytest.raises(openai.InternalServerError):
        by_openai(library, "second", TEXTS)
    assert library.upstream.count(model="ok", path="/v2/embed") == before


# ---- the model on this machine


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(map(mul, one, other)) / math.hypot(*one) / math.hypot(*other)


@callers
def test_vectors_of_this_machine_are_near_where_the_sense_is(library: World, ask: Ask) -> None:
    found = ask(library, LOCAL, TEXTS)
    assert [len(one) for one in found] == [384] * 3
    assert cosine(found[0], found[1]) > 0.5
    assert cosine(found[0], found[2]) < 0.2


def test_they_are_those_of_the_published_model(library: World) -> None:
    """The similarities that its own card shows."""
    texts = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    first, *others = by_openai(library, LOCAL, texts)
    shown = (0.6946, 0.9429, 0.2569)
    assert all(math.isclose(cosine(first, one), c, abs_tol=2e-3) for one, c in zip(others, shown, strict=True))


def test_a_text_that_is_too_long_is_the_callers_error(library: World) -> None:
    with pytest.raises(openai.BadRequestError, match="512") as caught:
        by_openai(library, LOCAL, ["word " * 600])
    assert caught.value.code == "context_length_exceeded"
    assert len(by_openai(library, LOCAL, ["word " * 400] * 3)) == 3


def test_dimensions_of_this_machine_are_cut_and_named(library: World) -> None:
    answer = httpx2.post(
        f"{library.served.base_url}/embeddings", json={"model": LOCAL, "input": "a", "dimensions": 64}, timeout=60
    )
    found = answer.json()["data"][0]["embedding"]
    assert (len(found), answer.headers["x-trivium-dropped"]) == (64, "dimensions")
    assert answer.headers["x-trivium-access"] == "local"
