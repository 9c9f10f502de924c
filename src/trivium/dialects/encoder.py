"""What encoders of streams share: whom they write for, what the answer took, and what they could not say."""

from __future__ import annotations

from trivium.dialects.base import AnswerContext
from trivium.dialects.request import Losses
from trivium.types.usage import Usage


class Encoder:
    """One stream to a caller."""

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._losses = Losses()
        self._usage: Usage | None = None

    @property
    def losses(self) -> tuple[str, ...]:
        return tuple(self._losses)

    def wrote(self, text: bytes) -> None:
        """A text that went out as it is written; where nobody counts, nothing is to do."""
