"""The command line of `serve`, read by a child while this process loads what will serve.

The reader of command lines takes as long to import as the server. In a child it costs no time where there is a
second core, and its memory ends with it instead of staying in the master and its workers.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

from trivium.cli.serve import load, serve


def parse(words: list[str]) -> partial[Any]:
    """The call of `serve` that the words mean. Only while this process has one thread.

    Exits as the child does where the words mean something else: help is shown, or they are refused.
    """
    ours, childs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        _read(words, childs)
        sys.exit()
    os.close(childs)
    load()
    with os.fdopen(ours) as pipe:
        told = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not told:
        sys.exit(code)
    import msgspec

    return partial(serve, **msgspec.json.decode(told))


def _read(words: list[str], pipe: int) -> None:
    import json

    from trivium.cli import app

    call = app.parse(words)
    if call.func is serve:
        os.write(pipe, json.dumps(call.keywords, default=str).encode())
    else:
        call()
