"""Listening addresses: `host:port`, and who may listen where."""

from __future__ import annotations

import re

from trivium.config.origin import is_loopback

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:\[\]]*)):(\d{1,5})", re.ASCII)


def split_address(text: str) -> tuple[str, int]:
    """Host and port; an empty host means every address. Raises ValueError that says how to write one."""
    match = _ADDRESS.fullmatch(text.strip())
    if not match or int(match[3]) > 65535:
        raise ValueError(f'{text!r} is no address: write "127.0.0.1:3333" or "[::1]:3333"')
    return match[1] or match[2] or "", int(match[3])


def refusal(text: str, *, guarded: bool) -> str | None:
    """Why nobody may listen there, or None. Beyond loopback every path must be guarded by keys. Raises ValueError."""
    host, _ = split_address(text)
    if guarded or is_loopback(host):
        return None
    return f"{text} can be reached from other machines, and no key guards it"
