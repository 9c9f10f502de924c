"""A handover: a file without a name, in which every worker of a master finds the configuration that was checked.

Its descriptor is inherited, so that credentials stand in no folder, argument or environment.
"""

from __future__ import annotations

import hashlib
import os
import struct

import msgspec

from trivium.config.schema import Config
from trivium.errors import ConfigError
from trivium.types.secret import Secret

_HEAD = struct.Struct("=QQ32s")
"""Where the configuration begins, its length and its SHA-256."""


def nameless() -> int:
    """The descriptor of a new one. Raises OSError."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("trivium-config")
    import tempfile  # rarely needed, and large

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def put(fd: int, config: Config) -> None:
    """Put `config` in place of the one before. Raises ConfigError; that one stays then."""
    try:
        data = msgspec.msgpack.encode(
            config, enc_hook=lambda value: os.fsencode(value.reveal() if isinstance(value, Secret) else value)
        )
        old, size, _ = _HEAD.unpack(os.pread(fd, _HEAD.size, 0) or bytes(_HEAD.size))
        # Beside the one before, which is read until the head, written last, says otherwise.
        at = _HEAD.size if _HEAD.size + len(data) <= old else max(old + size, _HEAD.size)
        for part, where in ((data, at), (_HEAD.pack(at, len(data), hashlib.sha256(data).digest()), 0)):
            if os.pwrite(fd, part, where) != len(part):
                raise OSError("no space left")
    except (OSError, OverflowError, UnicodeEncodeError) as error:
        remedy = "Free memory, or look for text that is not UTF-8 and for huge numbers."
        raise ConfigError(f"the configuration cannot be handed to the workers: {error}.", remedy=remedy) from error


def get(fd: int) -> Config:
    """The configuration that counts now. Raises ConfigError."""
    for _ in range(1000):  # again while the master is just writing the head, which is a matter of microseconds
        at, size, digest = _HEAD.unpack(os.pread(fd, _HEAD.size, 0))
        if hashlib.sha256(data := os.pread(fd, size, at)).digest() == digest:
            return msgspec.msgpack.decode(data, type=Config, dec_hook=lambda kind, value: kind(os.fsdecode(value)))
    raise ConfigError("the master's configuration cannot be read.", remedy="Restart `trivium serve`.")
