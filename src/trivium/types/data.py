"""How far a request may travel, and what an operator does with what it is sent."""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

Access = Literal["direct", "routed", "local"]


class DataClass(enum.IntEnum):
    """Ordered: a higher class may travel less far. An endpoint's ceiling must be at least the request's class."""

    ANY = 0
    NO_TRAINING = 1
    ZERO_RETENTION = 2
    PREMISES = 3

    @property
    def word(self) -> str:
        """The name in configuration, headers and messages."""
        return self.name.lower()


DATA_CLASSES: dict[str, DataClass] = {member.word: member for member in DataClass}


class DataPolicy(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an operator says that it does with requests. None is *unknown*, and counts as the worst."""

    trains: bool | None = None
    retains_days: int | None = None
    premises: bool = False

    @property
    def ceiling(self) -> DataClass:
        """The highest class of request that may be sent there."""
        if self.premises:
            return DataClass.PREMISES
        if self.trains is not False:
            return DataClass.ANY
        return DataClass.ZERO_RETENTION if self.retains_days == 0 else DataClass.NO_TRAINING
