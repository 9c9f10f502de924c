"""A token: a credential that lives for minutes, as an operator's command says it.

The command has no shell, no standard input, no terminal and no folder of its caller's, ten seconds and 64 KiB. It has
our environment, because the clouds' own tools find their log-in there. What it says on standard error is for the
operator's log; what it says on standard output is a secret and goes nowhere else.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from trivium.config.credentials import is_sendable
from trivium.config.home import make_private
from trivium.config.quantity import moment
from trivium.config.schema import TokenCommand
from trivium.errors import UpstreamTokenError
from trivium.transport.platform import spawn_kwargs
from trivium.types.secret import Secret

log = logging.getLogger("trivium.token")

RUN_S_MAX = 10.0
"""Longer than any token is fetched, and shorter than a caller waits."""
SAID_BYTES_MAX = 64 * 1024
"""No token is longer; what is, is a page of something else."""
COMPLAINT_BYTES_MAX = 4096
LAST_WORDS_S = 1.0
"""How long its pipes are read after its end, which something that it left behind may hold open."""
_WORD = re.compile(r"""[^\s"'\\,={}[\]]{8,}""")
"""A token wherever it stands in an output, of JSON or of any other form; what is shorter is none."""
_TOKEN = ("token", "access_token", "accessToken")
_SECONDS = "expires_in"
_MOMENT = ("expiry", "expires_on")

Started = Callable[[subprocess.Popen[Any]], object]


class Token(msgspec.Struct, frozen=True):
    secret: Secret
    good_s: float
    """For how long from now."""


class _Unusable(Exception):
    """Why a command gave no token, in words that complete a sentence about it."""


def fetch(provider: str, command: TokenCommand, folder: Path, started: Started = lambda _: None) -> Token:
    """Run a provider's command in `folder` and read what it says; blocks. `started` gets the process.

    Raises UpstreamTokenError.
    """
    said, complaint = bytearray(), bytearray()
    try:
        _run(command.argv, folder, said, complaint, started)
        return read(bytes(said), command.ttl_s, time.time())
    except _Unusable as error:
        words = complaint.decode("utf-8", "replace")
        if len(complaint) == COMPLAINT_BYTES_MAX:
            words = " ".join(words.split()[:-1])  # of a secret that was cut something would be left
        for secret in _secrets(said.decode("utf-8", "replace").strip()):
            words = words.replace(secret, "[its output]")
        log.warning("The `token_command` of `%s` %s. It complained: %r", provider, error, " ".join(words.split()))
        raise UpstreamTokenError(
            f"There is no token for `{provider}`: its `token_command` {error}.",
            remedy="The log of this server has what it complained of; its operator can run it by hand.",
        ) from None


def _secrets(said: str) -> list[str]:
    """What of an output its command may repeat and nobody may read, the longest first: it, and each of its words."""
    return sorted({said, *_WORD.findall(said)} - {""}, key=len, reverse=True)


def read(said: bytes, ttl_s: float, now_s: float) -> Token:
    """The token that a command printed, alone or in a JSON object with `expires_in` or `expiry`; `now_s`: Unix time."""
    text, good_s = said.decode("ascii", "replace").strip(), ttl_s
    if text.startswith("{"):
        try:
            fields = msgspec.json.decode(said, type=dict[str, Any])
        except msgspec.DecodeError:
            raise _Unusable("printed broken JSON") from None
        text = next((fields[name] for name in _TOKEN if isinstance(fields.get(name), str)), "")
        stated = [fields[name] for name in (_SECONDS, *_MOMENT) if fields.get(name) is not None]
        if stated:
            good_s = _seconds(stated[0]) - (0.0 if fields.get(_SECONDS) is not None else now_s)
    if not is_sendable(text):
        raise _Unusable("printed nothing that could be a token")
    if good_s <= 0:
        raise _Unusable("printed a token that has expired")
    return Token(Secret(text), good_s)


def _seconds(stated: object) -> float:
    """A number of seconds, or the Unix time of an ISO text; a time without a zone is UTC."""
    with suppress(ValueError, OverflowError):
        if isinstance(stated, int | float):
            return float(stated)
        if isinstance(stated, str):
            if stated.isascii() and stated.isdigit():
                return float(stated)
            return moment(stated)
    raise _Unusable("printed an expiry that is none")


def _run(argv: tuple[str, ...], folder: Path, said: bytearray, complaint: bytearray, started: Started) -> None:
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=make_private(folder),
            env={name: value for name, value in os.environ.items() if name != "TRIVIUM_SECRET"},
            **spawn_kwargs(),
        )
    except (OSError, ValueError) as error:
        raise _Unusable(f"could not be started ({getattr(error, 'strerror', None) or error})") from None
    started(process)
    pipes = (
        (process.stdout, said, SAID_BYTES_MAX + 1, lambda: kill(process)),
        (process.stderr, complaint, COMPLAINT_BYTES_MAX, lambda: None),
    )
    readers = [threading.Thread(target=_read, args=pipe, daemon=True) for pipe in pipes]
    for reader in readers:
        reader.start()
    try:
        code = process.wait(RUN_S_MAX)
    except BaseException as error:
        kill(process)  # an interruption does not reach it: it has a session of its own
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise _Unusable(f"took longer than {RUN_S_MAX:g} s") from None
        raise
    finally:
        for reader in readers:
            reader.join(LAST_WORDS_S)
    if len(said) > SAID_BYTES_MAX:
        raise _Unusable(f"printed more than {SAID_BYTES_MAX} bytes")
    if code:
        raise _Unusable(f"ended with status {code}")


def _read(pipe: Any, kept: bytearray, size: int, full: Callable[[], object]) -> None:
    """Read a pipe to its end, and keep its beginning."""
    with pipe:
        while data := pipe.read1(COMPLAINT_BYTES_MAX):
            kept += data[: size - len(kept)]
            if len(kept) == size:
                full()


def kill(process: subprocess.Popen[Any]) -> None:
    """End a command and what it has started."""
    with suppress(ProcessLookupError, PermissionError):  # it has ended
        if sys.platform == "win32":
            process.kill()
        elif process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # its pid is its group's: it began a session
