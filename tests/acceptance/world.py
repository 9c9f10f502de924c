"""What the acceptance tests talk to: one `trivium serve` before one fake upstream that speaks both dialects."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import cohere
import openai

from support import Served, config, provider, serve
from trivium.testing import FakeUpstream, Seen

PROVIDERS = ("oai", "ant")
"""Two direct providers at the same upstream, one of each dialect."""
DIALECT_OF = {"oai": "openai_chat", "ant": "anthropic_messages"}
FURTHER = {"res": ("openai_responses", "/v1"), "gem": ("gemini", "/v1beta")}
"""Providers at the same upstream, for the clients that speak their dialects: the dialect, and where it is served."""
LOCAL = "local/smollm2-135m"
TEXT = "The capital of France is Paris."
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # 1 by 1
IMAGE_URL = "https://example.com/cat.png"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
ARGUMENTS = {"city": "Paris", "days": 2}
"""What the fake upstream calls a tool of that schema with."""
PRICES = """
[[models]]
id = "oai/priced"
price = { input = 1.0, output = 10.0 }
[[models]]
id = "ant/priced"
price = { input = 1.0, output = 10.0 }
[[models]]
id = "coh/priced"
price = { input = 1.0, output = 10.0 }
"""


@dataclass
class World:
    """A running server and what is behind it."""

    served: Served
    upstream: FakeUpstream

    clients: dict[Any, Any] = field(default_factory=dict[Any, Any])

    def openai(self, key: str = "any") -> openai.OpenAI:
        return self._client(openai.OpenAI, self.served.base_url, key)

    def anthropic(self, key: str = "any") -> anthropic.Anthropic:
        return self._client(anthropic.Anthropic, self.served.origin, key)

    def cohere(self, key: str = "any") -> cohere.ClientV2:
        return self._client(cohere.ClientV2, self.served.origin, key)

    def _client(self, kind: Any, url: str, key: str) -> Any:
        """One a key, closed with the world."""
        if (kind, key) not in self.clients:
            self.clients[kind, key] = kind(base_url=url, api_key=key, max_retries=0, timeout=30)
        return self.clients[kind, key]

    def async_openai(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=self.served.base_url, api_key="any", max_retries=0, timeout=30)

    def async_anthropic(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=self.served.origin, api_key="any", max_retries=0, timeout=30)

    def async_cohere(self) -> cohere.AsyncClientV2:
        return cohere.AsyncClientV2(base_url=self.served.origin, api_key="any", max_retries=0, timeout=30)

    def last(self, model: str) -> Seen:
        """The last request for a model that the upstream saw."""
        return [seen for seen in self.upstream.requests if seen.model == model][-1]

    def await_cancelled(self, model: str, within_s: float = 5.0) -> None:
        """The upstream of the last such request has lost its client. Promised is 1 s; five times that is a defect."""
        self.upstream.wait_until(lambda: self.last(model).client_gone_at is not None, within_s)


def configuration(upstream: FakeUpstream, routes: Sequence[dict[str, Any]] = (), **tables: Any) -> str:
    rows = [provider(upstream, name, dialect=DIALECT_OF[name]) for name in PROVIDERS]  # type: ignore[arg-type]
    rows[0]["dialects"] = ["openai_completions"]
    rows.append(provider(f"{upstream.origin}/v2", "coh", dialect="cohere_v2"))  # type: ignore[arg-type]
    rows += [provider(f"{upstream.origin}{at}", name, dialect=speaks) for name, (speaks, at) in FURTHER.items()]  # type: ignore[arg-type]
    return config(rows, routes, scale=4, **tables) + PRICES


@contextlib.contextmanager
def world(home: Path, more: str = "", routes: Sequence[dict[str, Any]] = (), **tables: Any) -> Generator[World]:
    with FakeUpstream() as up, serve(configuration(up, routes, **tables) + more, home=home) as served:
        made = World(served, up)
        try:
            yield made
        finally:
            with contextlib.ExitStack() as stack:
                for client in made.clients.values():
                    stack.enter_context(client)  # of which they all know the end


@dataclass
class Elsewhere:
    """A call on another thread; `result` raises what it raised."""

    thread: threading.Thread
    outcome: list[Any]

    def result(self, timeout_s: float = 30) -> Any:
        self.thread.join(timeout_s)
        assert self.outcome, "the call did not return"
        if isinstance(self.outcome[0], BaseException):
            raise self.outcome[0]
        return self.outcome[0]


def elsewhere(call: Any) -> Elsewhere:
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return Elsewhere(thread, outcome)
