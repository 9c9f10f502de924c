"""Faults of a download across processes: a kill in the middle, two at once."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from engines_help import Site, gguf_bytes, serve
from trivium.engines.store import Store

DATA = gguf_bytes(rows=1 << 14)  # 2 MiB
DIGEST = hashlib.sha256(DATA).hexdigest()
COMMIT = "c" * 40
BYTES = f"/o/r/resolve/{COMMIT}/m.gguf"

PULL = """
import os, sys
from pathlib import Path
import httpx2
from trivium.engines.pull import Puller, pull
from trivium.engines.store import Store
seen = []
by = Puller(store=Store(Path(sys.argv[1])), connect=httpx2.Client, rows={}, env=dict(os.environ))
manifest = pull(by, "hf:o/r/m.gguf", progress=lambda done, total: seen.append((done, total)))
print(manifest.weights.digest, max(done for done, _ in seen), seen[-1][1])
"""


@pytest.fixture
def site():
    with serve() as made:
        main = "/o/r/resolve/main/m.gguf"
        made.files[main] = made.files[BYTES] = DATA
        made.headers[main] = {"x-repo-commit": COMMIT, "x-linked-etag": f'"{DIGEST}"', "x-linked-size": str(len(DATA))}
        made.headers[BYTES] = {"etag": '"e"'}
        made.files[f"/api/models/o/r/revision/{COMMIT}"] = json.dumps({}).encode()
        yield made


def pulling(site: Site, root: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "HF_ENDPOINT": site.url, "HF_HUB_CACHE": str(root / "none")}
    return subprocess.Popen(
        [sys.executable, "-c", PULL, str(root)],
        env={name: value for name, value in environment.items() if not name.lower().endswith("_proxy")},
        stdout=subprocess.PIPE,
        text=True,
    )


def until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_pull_leaves_a_part_and_the_next_goes_on_with_it(site: Site, tmp_path: Path) -> None:
    site.gate = threading.Event()
    store = Store(tmp_path)
    part = store.partial / f"sha256-{DIGEST}"
    with pulling(site, tmp_path) as first:
        until(lambda: part.exists() and part.stat().st_size >= len(DATA) // 2)
        first.kill()
    site.gate.set()
    assert list(store.blobs.iterdir()) == []
    with pulling(site, tmp_path) as second:
        assert second.communicate(timeout=60)[0].split()[0] == f"sha256:{DIGEST}"
    assert site.seen("GET", BYTES)[-1]["range"] == f"bytes={len(DATA) // 2}-"
    assert store.blob(f"sha256:{DIGEST}").read_bytes() == DATA
    assert list(store.partial.iterdir()) == []


def test_two_processes_fetch_a_model_once_and_both_show_progress(site: Site, tmp_path: Path) -> None:
    site.gate = threading.Event()
    store = Store(tmp_path)
    part = store.partial / f"sha256-{DIGEST}"
    with pulling(site, tmp_path) as first:
        until(lambda: part.exists() and part.stat().st_size >= len(DATA) // 2)
        with pulling(site, tmp_path) as second:
            until(lambda: len(site.seen("GET", f"/api/models/o/r/revision/{COMMIT}")) == 2)
            time.sleep(0.5)  # it waits for the first and looks at its part
            site.gate.set()
            told = [process.communicate(timeout=60)[0].split() for process in (first, second)]
    assert len(site.seen("GET", BYTES)) == 1
    assert told[0] == [f"sha256:{DIGEST}", str(len(DATA)), str(len(DATA))]
    assert told[1][0] == f"sha256:{DIGEST}"
    assert int(told[1][1]) >= len(DATA) // 2
