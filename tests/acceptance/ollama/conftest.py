"""A server whose upstreams speak Ollama's dialect, OpenAI's and Anthropic's, and which has an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.world import World, configuration
from support import serve
from trivium.testing import FakeUpstream

MORE = """
[[engines]]
id = "tiny"
model = "smollm2-135m"

[aliases]
small = "local/tiny"

[[models]]
id = "oll/priced"
price = {{ input = 1.0, output = 10.0 }}
context = 4096
capabilities = ["tools", "images", "reasoning"]

[[providers]]
id = "oll"
access = "local"
dialect = "ollama"
base_url = "{origin}"
upstream_stream = "always"
timeouts = {{ first_content = "4s", idle = "5s" }}
"""


@pytest.fixture(scope="session")
def kennel(model_home: Path) -> Iterator[World]:
    with FakeUpstream() as up, serve(configuration(up) + MORE.format(origin=up.origin), home=model_home) as served:
        yield World(served, up)
        assert served.process.poll() is None, served.log()
