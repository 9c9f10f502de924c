"""A credential that does not show itself: not in a repr, a log, an error or a serialisation."""

from __future__ import annotations


class Secret:
    """Wraps a secret text; `reveal()` is the one way to it, and easy to search for."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        raise TypeError("compare secrets with hmac.compare_digest on reveal()")

    def __hash__(self) -> int:
        raise TypeError("a Secret is not a dictionary key")

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not serialised")
