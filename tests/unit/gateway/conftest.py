"""A gateway inside the test's own loop, over fake upstreams."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from trivium.testing import FakeUpstream


@pytest.fixture
def up() -> Iterator[FakeUpstream]:
    with FakeUpstream(time_scale=20) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIVIUM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
