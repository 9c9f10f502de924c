"""Named functions that bend a request's body for a provider; a catalog row lists those that it needs.

The only code that may know a provider by name. A caller's own values go on as it wrote them.
"""

from __future__ import annotations

from collections.abc import Callable

from trivium.wire.json import NULL, is_null, join, members, raw

Quirk = Callable[[bytes], bytes]
Prefill = Callable[[bytes, str], bytes]
"""Bends a request whose last message is the start of the answer, which must go on with the given text."""

_OLD, _NEW = "max_tokens", "max_completion_tokens"


def max_completion_tokens(body: bytes) -> bytes:
    """OpenAI's reasoning models refuse `max_tokens`; all of its chat models take `max_completion_tokens`."""
    if b'"max_tokens"' not in body:
        return body
    fields = members(body)
    if _OLD not in fields:
        return body
    superseded = _NEW if is_null(fields.get(_NEW, NULL)) else _OLD
    return join({_NEW if name == _OLD else name: value for name, value in fields.items() if name != superseded})


QUIRKS: dict[str, Quirk] = {"max_completion_tokens": max_completion_tokens}


def continue_final_message(body: bytes, _repeat: str) -> bytes:
    """Without these, vLLM begins another message behind the one that it is given."""
    return join({**members(body), "continue_final_message": True, "add_generation_prompt": False})


def prefill_grammar(body: bytes, repeat: str) -> bytes:
    """llama.cpp holds the grammar of a `response_format` from the start of what it is given, any other from its end."""
    fields = members(body)
    if not repeat or "response_format" in fields:
        return body
    return join({**fields, "grammar": raw(f"root ::= {_literal(repeat)} .*")})


def _literal(text: str) -> str:
    """A text in GBNF; what could end it or the line is written by its code."""
    plain = (char if char.isprintable() and char not in '"\\' else f"\\U{ord(char):08X}" for char in text)
    return f'"{"".join(plain)}"'


PREFILLS: dict[str, Prefill] = {
    "continue_final_message": continue_final_message,
    "prefill_grammar": prefill_grammar,
}
