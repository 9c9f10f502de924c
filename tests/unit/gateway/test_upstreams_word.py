"""What an upstream says about money and keys, and what is made of it."""

from __future__ import annotations

import copy
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from trivium import Trivium
from trivium.access.bind import Binding
from trivium.errors import UpstreamError
from trivium.types.secret import Secret
from unit.gateway.test_found import OLLAMA, server

PRICED = """
[[providers]]
id = "acme"
access = "{access}"
base_url = "{url}"
api_key = "sk-0123456789abcdef"

[[models]]
id = "acme/m"
price = {{ input = 1.0, output = 2.0 }}
"""


@pytest.mark.parametrize(
    ("access", "told", "usd"),
    [
        ("direct", None, 7e-6),  # 3 tokens in, 2 out
        ("direct", 0, 7e-6),
        ("direct", 999_999, 7e-6),
        ("routed", None, 7e-6),
        ("routed", 0, 0.0),
        ("routed", 0.25, 0.25),
        ("routed", -1, 7e-6),
    ],
)
def test_only_a_routing_service_says_what_it_charges(
    access: str, told: float | None, usd: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVIUM_HOME", str(tmp_path / "home"))
    answers = copy.deepcopy(OLLAMA)
    answers["/v1/chat/completions"]["usage"] |= {} if told is None else {"cost": told}
    file = tmp_path / "trivium.toml"
    with server(answers) as url:
        file.write_text(PRICED.format(access=access, url=url))
        with Trivium(file) as trivium:
            assert trivium.chat("Hello", "acme/m").cost_usd == pytest.approx(usd)
    with closing(sqlite3.connect(tmp_path / "home" / "ledger.db")) as database:
        bill = "SELECT coalesce(upstream_cost_nanos, attempt.cost_nanos), request.cost_nanos FROM attempt JOIN request"
        assert database.execute(f"{bill} USING (id)").fetchall() == [(round(usd * 1e9),) * 2]
        assert database.execute("SELECT nanos FROM daily").fetchone() == (round(usd * 1e9),)


def test_our_key_is_not_quoted() -> None:
    binding = Binding(
        endpoint=None,  # type: ignore[arg-type]
        dialect=None,  # type: ignore[arg-type]
        upstream=None,  # type: ignore[arg-type]
        head=b"",
        stream_head=b"",
        replaceable=(),
        quirks=(),
        credential=Secret("sk-0123456789abcdef"),
    )
    assert binding.censored("bad key sk-0123456789abcdef given") == "bad key [our key] given"


def test_an_error_of_the_upstream_never_holds_our_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVIUM_HOME", str(tmp_path / "home"))
    quoting = {"error": {"message": "bad key sk-0123456789abcdef given", "type": "invalid_request_error"}}
    file = tmp_path / "trivium.toml"
    with server({"/v1/chat/completions": quoting}) as url:
        file.write_text(PRICED.format(access="direct", url=url))
        with Trivium(file) as trivium, pytest.raises(UpstreamError, match=r"bad key \[our key\] given"):
            trivium.chat("Hello", "acme/m")
