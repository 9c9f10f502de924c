"""A provider whose credential a command says, behind `trivium serve` with workers: what callers and operators see."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support import DIALECTS, Dialect, ask_raw, config, provider, serve
from trivium.testing import FakeUpstream

SCRIPT = """
import pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "runs").open("a") as runs:
    runs.write("run\\n")
if (here / "broken").exists():
    print("no log-in: sesame-9876", file=sys.stderr)
    sys.exit(3)
print('{"access_token": "tok-sesame-0123", "expires_in": 3600}')
"""


class Cloud:
    """A command, and how often it ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "say.py").write_text(SCRIPT)

    @property
    def runs(self) -> int:
        runs = self.folder / "runs"
        return runs.read_text().count("run") if runs.exists() else 0

    def text(self, upstream: FakeUpstream, **tables: object) -> str:
        row = {"id": "cloud", "base_url": upstream.base_url, "token_command": [sys.executable, self.folder / "say.py"]}
        row["token_command"] = [str(word) for word in row["token_command"]]
        routes = [{"name": "both", "targets": ["cloud/ok", "keyed/ok"]}]
        return config([row, provider(upstream, "keyed", key="tok-sesame-0123")], routes, **tables)


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def test_each_worker_asks_once_and_nobody_sees_the_token(cloud: Cloud) -> None:
    with FakeUpstream(key="tok-sesame-0123") as up, serve(cloud.text(up, server={"workers": 2})) as served:
        answers = [ask_raw(served.port, "openai_chat", "cloud/ok") for _ in range(20)]
        assert [raw.status for raw in answers] == [200] * 20
        assert 1 <= cloud.runs <= 2
        assert {seen.headers["authorization"] for seen in up.requests} == {"Bearer tok-sesame-0123"}
    said = served.log() + "".join(served.stdout) + "".join(str(raw.head + raw.body) for raw in answers)
    assert "sesame" not in said


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_broken_command_is_ours_to_mend_and_the_next_endpoint_answers(cloud: Cloud, dialect: Dialect) -> None:
    (cloud.folder / "broken").touch()
    with FakeUpstream(key="tok-sesame-0123") as up, serve(cloud.text(up)) as served:
        alone = ask_raw(served.port, dialect, "cloud/ok")
        assert alone.status == 502
        assert b"`token_command` ended with status 3" in alone.payload
        assert b"authentication_error" not in alone.payload
        both = ask_raw(served.port, dialect, "both")
        assert (both.status, both.header("x-trivium-endpoint")) == (200, "keyed/ok")
        assert both.header("x-trivium-fallback") == "cloud has no token"
        assert cloud.runs == 1
    assert "no log-in: sesame-9876" in served.log()
    assert b"sesame" not in alone.head + alone.body + both.head + both.body
