"""The last road is always open: real processes, the primary goes down and comes back."""

from __future__ import annotations

import time
from pathlib import Path

import openai

from acceptance.world import LOCAL, TEXT
from support import config, provider, serve
from trivium.testing import FakeUpstream

ROUTE = {
    "name": "assistant",
    "targets": ["primary/ok", LOCAL],
    "breaker": {"failures": 2, "cooldown": "500ms"},
}


def test_the_local_model_answers_while_the_primary_is_down(model_home: Path) -> None:
    up = FakeUpstream()
    up.start()
    try:
        with serve(config([provider(up)], [ROUTE], scale=2), home=model_home) as served:
            client = openai.OpenAI(base_url=served.base_url, api_key="any", max_retries=0, timeout=60)
            with client:
                assert _ask(client) == ("primary/ok", None, TEXT)
                up.stop()
                for _ in range(4):  # more than the breaker takes
                    endpoint, fallback, text = _ask(client)
                    assert endpoint == LOCAL
                    assert fallback
                    assert "primary" in fallback
                    assert text
                assert _stream(client)
                up.start()
                _await_primary(client)
                assert _ask(client) == ("primary/ok", None, TEXT)
    finally:
        up.stop()


def _ask(client: openai.OpenAI) -> tuple[str, str | None, str | None]:
    raw = client.chat.completions.with_raw_response.create(
        model="assistant", messages=[{"role": "user", "content": "What is the capital of France?"}], max_tokens=12
    )
    told = raw.headers
    return told["x-trivium-endpoint"], told.get("x-trivium-fallback"), raw.parse().choices[0].message.content


def _stream(client: openai.OpenAI) -> str:
    with client.chat.completions.create(
        model="assistant", messages=[{"role": "user", "content": "Say hello."}], max_tokens=5, stream=True
    ) as stream:
        assert stream.response.headers["x-trivium-endpoint"] == LOCAL
        return "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)


def _await_primary(client: openai.OpenAI) -> None:
    end = time.monotonic() + 15
    while _ask(client)[0] != "primary/ok":
        assert time.monotonic() < end, "the primary is back, and is not asked"
        time.sleep(0.2)
