"""An answer as the command line gives it: printed while it comes, then one line about its road and price."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from trivium.cli.pull import offer_and_pull
from trivium.cli.terminal import duration, interactive, note, write
from trivium.client import Trivium
from trivium.config import shipped
from trivium.config.home import Paths, user_path
from trivium.config.schema import Config
from trivium.engines.gguf import GGUFError
from trivium.engines.store import Store
from trivium.errors import EngineUnavailable, UsageError
from trivium.types.event import Failure, Finish, FinishReason, ReasoningDelta, RefusalDelta, TextDelta
from trivium.types.money import dollars
from trivium.types.response import Response
from trivium.types.usage import Usage

Messages = Sequence[Mapping[str, Any]]
DEMO_TOKENS = 512
"""A demo model's longest answer where nobody named one: so small a model often does not end by itself."""
MaxTokens = Annotated[
    int | None,
    Parameter(
        name="--max-tokens",
        validator=Number(gte=0),
        help=f"The longest answer, in tokens; 0 for no bound. By default {DEMO_TOKENS} of a demo model, else no bound.",
    ),
]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was said and what is known about it; times in seconds."""

    text: str
    response: Response
    finish_reason: FinishReason | None
    ttft_s: float | None
    duration_s: float

    @property
    def tokens_per_s(self) -> float | None:
        """Output tokens a second, from the first of them on; None where nothing was counted."""
        usage, writing_s = self.response.usage, self.duration_s - (self.ttft_s or 0.0)
        if usage is None or not usage.output_tokens or writing_s <= 0:
            return None
        return usage.output_tokens / writing_s


def whole(client: Trivium, messages: Messages, model: str, parameters: Mapping[str, Any]) -> Answer:
    """Wait for the whole answer; raises TriviumError."""
    began = time.monotonic()
    response = client.chat(messages, model, **parameters)
    finish, took_s = response.finish_reason, time.monotonic() - began
    return Answer(text=response.text, response=response, finish_reason=finish, ttft_s=None, duration_s=took_s)


def streamed(client: Trivium, messages: Messages, model: str, parameters: Mapping[str, Any]) -> Answer:
    """Print the answer while it comes; raises TriviumError, also after a part of it. Ctrl-C stops the upstream."""
    began, first, finish = time.monotonic(), None, None
    said: list[str] = []
    known = [Response()]
    try:
        for event in client.stream(messages, model, finished=known.append, **parameters):
            match event:
                case TextDelta(text=text) | RefusalDelta(text=text):
                    first = first or time.monotonic()
                    said.append(text)
                    write(text)
                case ReasoningDelta():
                    first = first or time.monotonic()
                case Finish(reason=reason):
                    finish = reason
                case Failure(error=error):
                    raise error
                case _:
                    pass
    finally:
        if said:
            write("" if said[-1].endswith("\n") else "\n")
    now = time.monotonic()
    ttft_s = None if first is None else first - began
    text = "".join(said)
    return Answer(text=text, response=known[-1], finish_reason=finish, ttft_s=ttft_s, duration_s=now - began)


def about(config: Config, answer: Answer) -> list[str]:
    """What people are told after an answer: road, endpoint, tokens, speed, cost, and whether it was a fallback."""
    response, speed = answer.response, answer.tokens_per_s
    usage = response.usage or Usage()
    parts = [
        f"{response.access} · {response.endpoint}",
        f"{usage.prompt_tokens} in, {usage.output_tokens} out{' (estimated)' if usage.estimated else ''}",
        duration(answer.duration_s) if speed is None else f"{speed:.1f} tokens/s",
        cost(response),
    ]
    if is_demo(config, response.endpoint):
        parts.append("a demo model")
    lines = [" · ".join(parts)]
    if answer.finish_reason == "length" and is_demo(config, response.endpoint):
        lines.append("cut at its bound; `--max-tokens 0` lifts it")
    if response.fallback:
        lines.append(f"answered by {response.endpoint} because {response.fallback}")
    return lines


def described(answer: Answer) -> dict[str, Any]:
    """The answer as `--json` prints it; null is unknown."""
    response = answer.response
    return {
        "id": response.id,
        "text": answer.text,
        "model": response.model,
        "endpoint": response.endpoint,
        "access": response.access,
        "attempts": response.attempts,
        "finish_reason": answer.finish_reason,
        "usage": response.usage,
        "cost_usd": response.cost_usd,
        "fallback": response.fallback,
        "timings": {"duration_s": answer.duration_s, "tokens_per_s": answer.tokens_per_s},
    }


def cost(response: Response) -> str:
    """The price of an answer in words: unknown stays unknown, and a local answer says what is not counted."""
    if response.access != "local" or response.cost_nanos:
        return f"cost {dollars(response.cost_nanos)}"
    return "local; electricity not counted" + ("; earlier attempts unknown" if response.attempts > 1 else "")


def is_demo(config: Config, endpoint: str) -> bool:
    """Whether an endpoint is one of the models that only show that everything works, under whichever name."""
    road, _, name = endpoint.partition("/")
    if road != "local":
        return False
    engine = config.engines.get(name)
    name = engine.model if engine else name
    rows = shipped.catalog().local_models
    manifest = Store(Paths(config.home).models).find(name)
    row = rows.get(name)
    if manifest is not None:
        row = next((r for r in rows.values() if manifest.weights.digest == f"sha256:{r.sha256}"), None)
    return row is not None and "demo model" in row.note


def model_named(config: Config, model: str) -> str:
    """The model id that `-m` means: a GGUF file's path brings it into the store. Raises UsageError."""
    path = user_path(model)
    if not path.is_file():
        if model.endswith(".gguf") and not model.startswith("hf:"):
            raise UsageError(f"There is no file `{model}`.", remedy="Name an existing .gguf file, or `provider/model`.")
        return model
    try:
        return f"local/{Store(Paths(config.home).models).add_file(path, by_path=True).name}"
    except (GGUFError, OSError) as error:
        raise UsageError(f"`{model}` cannot be used: {error}.", remedy="Name a whole .gguf file.") from error


def bring_model(config: Config, client: Trivium, messages: Messages, model: str, data_class: str | None) -> str:
    """The endpoint to be asked first; offers a local model where only its absence leaves nobody to answer.

    Raises EngineUnavailable where it stays away.
    """
    plan = client.plan(messages, model, data_class=data_class)
    missing = [row.endpoint for row in plan.rejected if row.reason == "not_pulled"]
    if plan.endpoints or not missing:
        return plan.endpoints[0].endpoint if plan.endpoints else ""
    name = missing[0].partition("/")[2]
    if interactive():
        note("Nothing can answer yet, but this model could, on this machine:")
        if offer_and_pull(config, name) is not None:
            return missing[0]
    raise EngineUnavailable(
        f"The model `{name}` is not on this machine, and nothing else can answer.",
        remedy=f"Fetch it with `trivium models pull {name}`, or set a key with `trivium login PROVIDER`.",
    )


def bound(config: Config, endpoint: str, max_tokens: int | None) -> dict[str, int]:
    """The bound of an answer as a parameter, if there is one: what was asked for (0 is none), else a demo model's."""
    if max_tokens is None and is_demo(config, endpoint):
        max_tokens = DEMO_TOKENS
    return {"max_tokens": max_tokens} if max_tokens else {}
