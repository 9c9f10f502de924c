"""What the whole suite shares."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from connects import LOG_VARIABLE
from engines_help import ROWS
from trivium.engines.store import Store
from trivium.transport.platform import PORTABLE

if PORTABLE:
    # The twin stands for platforms that lack it; `testing/site` does the same in child processes.
    sys.modules["uvloop"] = None  # type: ignore[assignment]

# No test is timed.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["pytest_connects"]  # no test leaves this machine
MODEL = "smollm2-135m"
EMBEDDER = "minilm"


@pytest.fixture(scope="session")
def model_blob() -> Path:
    """The demo model's file, fetched once for all runs into $TRIVIUM_TEST_CACHE."""
    return _fetched(MODEL)


def _fetched(name: str) -> Path:
    """The file of a model that `trivium models pull` knows.

    The one place where the suite reaches the network, and only on a machine that has not fetched it yet: by a
    command of its own, the one process whose connections nobody watches.
    """
    cache = Path(os.environ.get("TRIVIUM_TEST_CACHE") or Path.home() / ".cache" / "trivium-test")
    store = Store(cache / "models")
    if store.find(name) is None:
        env = {name: value for name, value in os.environ.items() if name != LOG_VARIABLE}
        pull = [sys.executable, "-m", "trivium.cli.main", "models", "pull", name, "--yes"]
        subprocess.run(pull, env=env | {"TRIVIUM_HOME": str(cache)}, check=True, stdin=subprocess.DEVNULL)
    manifest = store.find(name)
    assert manifest is not None
    return store.weights(manifest)


@pytest.fixture(scope="session")
def model_home(model_blob: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TRIVIUM_HOME of this session whose store holds the demo model, linked from the cache."""
    return _with_model(tmp_path_factory.mktemp("home"), model_blob)


@pytest.fixture
def own_model_home(model_blob: Path, tmp_path: Path) -> Path:
    """The same for one test alone, where nobody else can own it."""
    return _with_model(tmp_path / "home", model_blob)


@pytest.fixture(scope="session")
def embedder_home(model_blob: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TRIVIUM_HOME of this session with the demo model and one that makes vectors."""
    home = _with_model(tmp_path_factory.mktemp("embedder"), model_blob)
    return _with_model(home, _fetched(EMBEDDER), EMBEDDER)


def _with_model(home: Path, blob: Path, name: str = MODEL) -> Path:
    row = ROWS[name]
    Store(home / "models").add(name, f"sha256:{row.sha256}", source=row.source, licence=row.licence, link=blob)
    return home
