"""`trivium ask`: one question, one answer."""

from __future__ import annotations

import os
import stat
import sys
from typing import Annotated

from cyclopts import Parameter

from trivium.cli.answer import MaxTokens, about, bound, bring_model, described, model_named, streamed, whole
from trivium.cli.terminal import OPTIONS, Options, from_stdin, note, print_json, write
from trivium.client import Trivium
from trivium.config.raw import DataClassWord
from trivium.errors import UsageError

STDIN_MAX = 32 << 20
"""Characters; no model reads more."""


def ask(
    *question: str,
    model: Annotated[str, Parameter(name=["--model", "-m"])] = "auto",
    system: str | None = None,
    stream: bool = True,
    data_class: DataClassWord | None = None,
    max_tokens: MaxTokens = None,
    stdin: Annotated[bool, Parameter(name="-", negative="")] = False,
    options: Options = OPTIONS,
) -> None:
    """Ask one question; the answer streams to stdout, its road and cost to stderr.

    Args:
        question: The question. What is piped in is appended.
        model: `provider/model`, a route, `auto`, or the path of a .gguf file.
        system: The system prompt.
        stream: Print the answer while it comes.
        data_class: How far the question may travel.
        stdin: Read standard input, also where it is a terminal.
    """
    text = question_of(question, _piped(stdin))
    messages = [{"role": "user", "content": text}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    config = options.load()
    model = model_named(config, model)
    with Trivium(config) as client:
        first = bring_model(config, client, messages, model, data_class)
        give = whole if options.json or not stream else streamed
        answer = give(client, messages, model, {"data_class": data_class} | bound(config, first, max_tokens))
    if options.json:
        print_json(described(answer))
        return
    if not stream:
        write(f"{answer.text}\n")
    for line in about(config, answer):
        note(line)


def question_of(words: tuple[str, ...], piped: str) -> str:
    """The question from the command's words and what was piped in. Raises UsageError for none."""
    said = " ".join(words).strip()
    text = "\n\n".join(part for part in (said, piped.strip()) if part)
    if not text:
        raise UsageError("There is no question.", remedy='For example: trivium ask "What is a trivium?"')
    return text


def _piped(asked_for: bool) -> str:
    """What is piped in: a pipe or a file, never a terminal or /dev/null unless `-` asks for it."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):  # there is no standard input
        return ""
    if asked_for or stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode):
        return from_stdin(lambda: sys.stdin.read(STDIN_MAX))
    return ""
