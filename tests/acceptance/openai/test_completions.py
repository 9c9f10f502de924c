"""The unmodified `openai` client's legacy completions: passed where the server has them, translated elsewhere."""

from __future__ import annotations

import openai
import pytest

from acceptance.world import LOCAL, PROVIDERS, TEXT, World

everywhere = pytest.mark.parametrize("at", [f"{name}/echo" for name in PROVIDERS])


@everywhere
def test_a_prompt_is_answered(trivium: World, at: str) -> None:
    done = trivium.openai().completions.create(model=at, prompt="Say this", max_tokens=20)
    assert (done.object, done.choices[0].text, done.choices[0].finish_reason) == ("text_completion", "Say this", "stop")
    assert done.usage
    assert done.usage.completion_tokens == 2


@everywhere
def test_a_stream(trivium: World, at: str) -> None:
    options = {"include_usage": True}
    stream = trivium.openai().completions.create(model=at, prompt="Say this", stream=True, stream_options=options)  # type: ignore[call-overload]
    chunks = list(stream)
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "Say this"
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [2]


def test_passed_where_they_are_spoken_and_translated_elsewhere(trivium: World) -> None:
    for name, path in (("oai", "/v1/completions"), ("ant", "/v1/messages")):
        trivium.openai().completions.create(model=f"{name}/echo", prompt="Where", max_tokens=3)
        assert trivium.last("echo").path == path


def test_what_only_a_server_of_its_own_can_do(trivium: World) -> None:
    with pytest.raises(openai.BadRequestError, match="prompt"):
        trivium.openai().completions.create(model="ant/ok", prompt=["a", "b"])
    with pytest.raises(openai.BadRequestError, match="suffix"):
        trivium.openai().completions.create(model="ant/ok", prompt="a", suffix="b")


def test_the_embedded_model_goes_on(trivium: World) -> None:
    done = trivium.openai().completions.create(model=LOCAL, prompt="One, two, three,", max_tokens=8)
    assert done.choices[0].text
    assert done.usage
    assert done.usage.completion_tokens <= 8


def test_an_error(trivium: World) -> None:
    with pytest.raises(openai.NotFoundError):
        trivium.openai().completions.create(model="nobody/x", prompt=TEXT)
