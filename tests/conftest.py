"""What the whole suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines_help import ROWS
from trivium.engines.pull import Puller, pull
from trivium.engines.store import Store

MODEL = "smollm2-135m"


@pytest.fixture(scope="session")
def model_blob() -> Path:
    """The demo model's file, fetched once for all runs into $TRIVIUM_TEST_CACHE.

    The one place where the suite reaches the network, and only on a machine that has not fetched it yet.
    """
    cache = Path(os.environ.get("TRIVIUM_TEST_CACHE") or Path.home() / ".cache" / "trivium-test")
    store = Store(cache / "models")
    puller = Puller(store=store, rows=ROWS, env=dict(os.environ))
    manifest = store.find(MODEL) or pull(puller, MODEL, progress=lambda _done, _total: None)
    return store.weights(manifest)


@pytest.fixture(scope="session")
def model_home(model_blob: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TRIVIUM_HOME of this session whose store holds the demo model, linked from the cache."""
    home = tmp_path_factory.mktemp("home")
    row = ROWS[MODEL]
    Store(home / "models").add(MODEL, f"sha256:{row.sha256}", source=row.source, licence=row.licence, link=model_blob)
    return home
