"""The unmodified `anthropic` client asks how large a request is: its provider's word where there is one."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from acceptance.world import LOCAL, PNG, SCHEMA, World

ASK: Any = [{"role": "user", "content": "What is the capital of France?"}]
TOOLS: Any = [{"name": "weather", "description": "Look.", "input_schema": SCHEMA}]


def test_the_provider_is_asked_where_it_can_tell(trivium: World) -> None:
    told = trivium.anthropic().messages.count_tokens(model="ant/ok", messages=ASK, tools=TOOLS, system="Be brief.")
    seen = trivium.last("ok")
    assert seen.path == "/v1/messages/count_tokens"
    assert seen.json["model"] == "ok"
    assert told.input_tokens > 20


@pytest.mark.parametrize("model", ["oai/ok", LOCAL, "auto"])
def test_elsewhere_it_is_estimated_and_nobody_is_asked(trivium: World, model: str) -> None:
    before = len(trivium.upstream.requests)
    client = trivium.anthropic()
    small = client.messages.count_tokens(model=model, messages=ASK).input_tokens
    large = client.messages.count_tokens(model=model, messages=ASK * 51, tools=TOOLS).input_tokens
    assert 5 < small < 60
    assert large > 10 * small
    assert len(trivium.upstream.requests) == before


def test_the_bytes_of_an_image_are_no_text(trivium: World) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PNG * 400}
    shown: Any = [{"role": "user", "content": [{"type": "image", "source": source}, *[{"type": "text", "text": "?"}]]}]
    assert trivium.anthropic().messages.count_tokens(model="oai/ok", messages=shown).input_tokens < 100


@pytest.mark.parametrize(
    ("model", "messages", "kind"),
    [
        ("nobody/x", ASK, anthropic.NotFoundError),
        ("oai/ok", [{"role": "user", "content": [{"type": "nonsense"}]}], anthropic.BadRequestError),
        ("oai/ok", [], anthropic.BadRequestError),
    ],
)
def test_what_cannot_be_counted(trivium: World, model: str, messages: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        trivium.anthropic().messages.count_tokens(model=model, messages=messages)
