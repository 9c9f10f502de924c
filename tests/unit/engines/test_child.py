"""An engine's process and what is kept of its words."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from trivium.engines.child import Child
from trivium.engines.log import EngineLog


def test_a_secret_is_blotted_out_also_where_a_line_is_cut(tmp_path: Path) -> None:
    log = EngineLog(tmp_path / "logs" / "e.log")
    log.add(b"x" * 1990 + b"the-secret-key", hide="the-secret-key")
    assert log.tail() == ["x" * 1990 + "…"]
    assert "the-secret" not in log.path.read_text()


def test_words_without_an_end_of_line_do_not_pile_up(tmp_path: Path) -> None:
    log, ended = EngineLog(tmp_path / "e.log"), threading.Event()
    said = "import sys; sys.stderr.write('x' * (1 << 18)); sys.stderr.flush()"
    Child(
        [sys.executable, "-c", said],
        b"\n",
        folder=tmp_path,
        log=log,
        hide="",
        on_line=lambda _: None,
        on_exit=lambda _: ended.set(),
    )
    assert ended.wait(60)
    assert len(log.tail(100)) == 4
