"""`trivium chat`: a talk with a model, in memory; what was said is kept in a private file unless you say no."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from trivium.cli.answer import MaxTokens, about, bound, bring_model, described, model_named, streamed, whole
from trivium.cli.terminal import OPTIONS, Options, clean, from_stdin, note, print_error, print_json, tell
from trivium.client import Trivium
from trivium.config.home import Paths, make_private
from trivium.config.raw import DataClassWord
from trivium.config.schema import Config
from trivium.engines.store import Store
from trivium.errors import TriviumError, UsageError
from trivium.types.money import dollars

RECALLED_MAX = 1000
"""Earlier questions that the arrow keys reach."""


class Turn(msgspec.Struct, frozen=True):
    """A line of the history file."""

    time_s: int
    model: str
    question: str
    answer: str


@dataclass
class Talk:
    """What a talk remembers."""

    config: Config
    client: Trivium
    model: str
    data_class: str | None
    max_tokens: int | None
    system: list[dict[str, Any]]
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    costs: list[int | None] = field(default_factory=list[int | None])


def chat(
    *,
    model: Annotated[str, Parameter(name=["--model", "-m"])] = "auto",
    system: str | None = None,
    data_class: DataClassWord | None = None,
    max_tokens: MaxTokens = None,
    history: bool = True,
    forget: Annotated[bool, Parameter(negative="")] = False,
    options: Options = OPTIONS,
) -> None:
    """Talk with a model; /help lists what can be said to Trivium itself.

    Args:
        model: `provider/model`, a route, `auto`, or the path of a .gguf file.
        system: The system prompt.
        data_class: How far the talk may travel.
        history: Keep what was said in `$TRIVIUM_HOME/chat/history`, readable by you only.
        forget: Delete what was kept, and do nothing else.
    """
    config = options.load()
    file = history_file(config)
    if forget:
        had = delete(file)
        tell({"forgotten": had}, "Forgotten." if had else "There was nothing to forget.", json=options.json)
        return
    with Trivium(config) as client:
        said = [] if system is None else [{"role": "system", "content": system}]
        talk = Talk(config, client, model_named(config, model), data_class, max_tokens, said)
        _converse(talk, file if history else None, _reader(file if history else None), json=options.json)


def _converse(talk: Talk, file: Path | None, read: Callable[[], str], *, json: bool) -> None:
    """Read and answer until the input ends; an error ends it only where no person reads it."""
    person = sys.stdin.isatty()
    if person:
        note(f"Talking with {talk.model}. /help lists commands; Ctrl-D ends.")
    while True:
        try:
            line = read().strip()
        except (EOFError, KeyboardInterrupt):
            return
        except UsageError as error:  # this line is no text; the next one may be
            print_error(error, json=json)
            continue
        if line == "/quit":
            return
        try:
            if line.startswith("/"):
                command(talk, line)
            elif line:
                reply(talk, line, file, json=json)
        except TriviumError as error:
            if not person:
                raise
            print_error(error, json=json)
        except KeyboardInterrupt:
            if not person:
                raise
            note("Stopped.")


def reply(talk: Talk, question: str, file: Path | None, *, json: bool) -> None:
    """Answer one question and remember both; a question without an answer is forgotten. Raises TriviumError."""
    messages = [*talk.system, *talk.messages, {"role": "user", "content": question}]
    first = bring_model(talk.config, talk.client, messages, talk.model, talk.data_class)
    give = whole if json else streamed
    parameters = {"data_class": talk.data_class} | bound(talk.config, first, talk.max_tokens)
    answer = give(talk.client, messages, talk.model, parameters)
    talk.messages = [*messages[len(talk.system) :], {"role": "assistant", "content": answer.text}]
    talk.costs.append(answer.response.cost_nanos)
    if file is not None:
        try:
            append(file, Turn(int(time.time()), answer.response.endpoint, question, answer.text))
        except OSError as error:  # no reason to end a talk
            note(f"This is not kept: `{file}` cannot be written: {error.strerror}.")
    if json:
        print_json(described(answer))
        return
    for said in about(talk.config, answer):
        note(said)


def command(talk: Talk, line: str) -> None:
    """What begins with a slash. Raises TriviumError."""
    name, _, rest = line.partition(" ")
    match name, rest.strip():
        case "/model", "":
            note(f"The model is {talk.model}.")
        case "/model", wanted:
            model = model_named(talk.config, wanted)
            talk.client.plan("?", model)  # raises NotFound for a name that means nothing
            talk.model = model
            note(f"Now talking with {talk.model}.")
        case "/models", _:
            for known in models(talk.config):
                note(known)
        case "/cost", _:
            note(spent(talk.costs))
        case "/clear", _:
            talk.messages.clear()
            note("A new talk.")
        case "/forget", _:
            talk.messages.clear()
            note("Forgotten." if delete(history_file(talk.config)) else "There was nothing to forget.")
        case "/help", _:
            note(HELP)
        case _:
            note(f"There is no command {name}; /help lists them.")


HELP = """\
/model NAME  talk with another model from here on
/models      what you could name
/cost        what this talk has cost
/clear       begin anew; the file keeps what was said
/forget      begin anew, and delete what was kept
/quit        end (also Ctrl-D); Ctrl-C stops an answer"""


def models(config: Config) -> list[str]:
    """Names that can be talked to: `auto`, routes, aliases, engines, the store, and default models with a key."""
    store = Store(Paths(config.home).models)
    local = [f"local/{name}" for name in (*config.engines, *(manifest.name for manifest in store.list()))]
    remote = [
        f"{id_}/{bound.row.default_model}"
        for id_, bound in config.providers.items()
        if bound.has_key and bound.row.default_model
    ]
    return list(dict.fromkeys(["auto", *config.routes, *config.aliases, *local, *remote]))


def spent(costs: list[int | None]) -> str:
    """The price of a talk; answers with an unknown price are counted, not guessed."""
    unknown = costs.count(None)
    text = f"{len(costs)} answers, {dollars(sum(cost for cost in costs if cost is not None))}"
    return f"{text}, and {unknown} whose cost is unknown or not counted" if unknown else text


# ---- the file


def history_file(config: Config) -> Path:
    return config.home / "chat" / "history"


def append(file: Path, turn: Turn) -> None:
    """Add a turn; the file is readable by its owner only. Raises OSError."""
    make_private(file.parent)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.encode(turn) + b"\n")


def delete(file: Path) -> bool:
    """Whether there was something to delete."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True


def recalled(file: Path) -> list[str]:
    """Earlier questions, oldest first; what cannot be read is left out."""
    try:
        lines = file.read_bytes().splitlines()[-RECALLED_MAX:]
    except OSError:
        return []
    questions: list[str] = []
    for line in lines:
        try:
            questions.append(msgspec.json.decode(line, type=Turn).question)
        except msgspec.DecodeError:
            continue
    return questions


def _reader(file: Path | None) -> Callable[[], str]:
    """How a line is read: with editing and earlier questions on a terminal, else plainly."""
    if not sys.stdin.isatty():
        return _next_line
    try:
        import readline
    except ImportError:  # Windows: its console edits lines itself
        return lambda: input("> ")
    for question in recalled(file) if file is not None else ():
        readline.add_history(clean(question))  # it refuses a NUL
    return lambda: from_stdin(lambda: input("> "))


def _next_line() -> str:
    # Of its own: a reader of text would lose the good lines behind a bad one.
    line = from_stdin(lambda: sys.stdin.buffer.readline().decode())
    if not line:
        raise EOFError
    return line
