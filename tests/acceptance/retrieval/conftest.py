"""A server before upstreams of every shape of embeddings and reranking, which has a model that makes vectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.world import World
from support import config, provider, serve
from trivium.testing import FakeUpstream

AT = {"oai": ("openai_chat", "/v1"), "coh": ("cohere_v2", "/v2"), "gem": ("gemini", "/v1beta"), "oll": ("ollama", "")}
"""Providers at one upstream: the dialect of their chat, and where it is served."""
PRICED = """
[[models]]
id = "oai/priced"
price = { input = 2.0, output = 0.0 }
[[providers]]
id = "ant"
dialect = "anthropic_messages"
base_url = "http://127.0.0.1:9/v1"
api_key = "k"
"""
ROUTES = [
    {"name": "second", "targets": ["oai/503", "coh/ok"], "retries": 0},
    {"name": "mixed", "targets": ["ant/chat", "oai/ok"]},
]


@pytest.fixture(scope="session")
def library(embedder_home: Path) -> Iterator[World]:
    with FakeUpstream() as up:
        rows = [provider(f"{up.origin}{at}", name, dialect=speaks) for name, (speaks, at) in AT.items()]  # type: ignore[arg-type]
        with serve(config(rows, ROUTES, scale=4) + PRICED, home=embedder_home) as served:
            made = World(served, up)
            try:
                yield made
                assert served.process.poll() is None, served.log()
            finally:
                for client in made.clients.values():
                    client.__exit__(None, None, None)
