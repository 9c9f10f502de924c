"""The servers of the acceptance tests, started once a session."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.world import World, world

ROUTES = [
    {"name": "claude-as-we-call-it", "targets": ["oai/ok"]},
    {"name": "second", "targets": ["oai/503", "ant/ok"], "retries": 0},
    {"name": "homely", "targets": ["oai/ok"], "data_class": "premises"},
]


@pytest.fixture(scope="module", autouse=True)
def _tidied() -> Iterator[None]:
    """What some vendors' clients leave behind (a loop of the main thread, a pool) goes here, not in a later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loop = asyncio.get_event_loop_policy().get_event_loop()
        except RuntimeError:
            pass  # nobody left one
        else:
            if not loop.is_running():
                loop.close()
            asyncio.set_event_loop(None)
        gc.collect()


@pytest.fixture(scope="session")
def trivium(model_home: Path) -> Iterator[World]:
    """A server without keys, over the fake upstream and the embedded model."""
    with world(model_home, routes=ROUTES) as made:
        yield made
        assert made.served.process.poll() is None, made.served.log()


KEYS = """
[[keys]]
name = "plain"
key = "tv-plain-0000"
[[keys]]
name = "homely"
key = "tv-homely-0000"
data_class = "premises"
[[keys]]
name = "narrow"
key = "tv-narrow-0000"
models = ["oai/ok"]
[[keys]]
name = "inside"
key = "tv-inside-0000"
roads = ["local"]
[[keys]]
name = "late"
key = "tv-late-0000"
expires = 2020-01-01T00:00:00Z
"""


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with `[[keys]]`, no local model."""
    with world(tmp_path_factory.mktemp("guarded"), KEYS) as made:
        yield made
