from __future__ import annotations

import pytest

from trivium.dialects import get


def test_dialects_are_found_by_name():
    assert get("openai_chat").name == "openai_chat"
    assert get("openai_chat") is get("openai_chat")


@pytest.mark.parametrize("name", ["nope", "common", "base", "", "../x"])
def test_other_names_are_none(name):
    with pytest.raises(ValueError, match="there is no dialect"):
        get(name)
