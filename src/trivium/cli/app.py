"""The application: every command by name, each in a file of its own that is loaded when it is called."""

from __future__ import annotations

from functools import partial
from typing import Any

from cyclopts import App, CycloptsError, UnusedCliTokensError

from trivium.errors import UsageError
from trivium.version import __version__

app = App(
    name="trivium",
    help="One endpoint and one Python API over the three roads to a language model: direct, routed, local.",
    version=__version__,
    help_epilogue="Without a key and without a configuration, `trivium ask` answers with a local model.",
    help_format="plaintext",  # a Markdown reader takes 0.08 s to import
    suppress_keyboard_interrupt=False,
)

# The summary stands here so that `--help` imports no command.
COMMANDS = {
    "ask": "Ask one question.",
    "chat": "Talk with a model.",
    "serve": "Serve all dialects on one address.",
    "usage": "Sum up requests, tokens and money.",
    "log": "List requests, each with its attempts.",
    "doctor": "Say what is reachable, which keys are set, what would answer, and what to do.",
    "routes": "List the routes and aliases.",
    "advise": "Compare the three roads by cost, latency, control and privacy.",
    "explain": "Show who would be asked, without asking.",
    "replay": "Run recorded traffic through another configuration and say what changes.",
    "connect": "Point a coding tool, an editor or a notebook at this server.",
    "login": "Keep the key of a provider.",
    "logout": "Forget the key of a provider.",
    "completion": "Print or install the completion for a shell.",
}
for _name, _summary in COMMANDS.items():
    app.command(f"trivium.cli.{_name}:{_name}", name=_name, help=_summary)

APPS = {
    "providers": "Who can be named, and every fact of one.",
    "engines": "Local engines: which there are, and how they are.",
    "config": "The configuration: check, trust, show, reload.",
    "models": "Models on this machine, models that could be, models of providers.",
}
for _name, _summary in APPS.items():
    app.command(f"trivium.cli.{_name}:app", name=_name, help=_summary)


def parse(words: list[str]) -> partial[Any]:
    """The call that the words mean. Raises UsageError."""
    if any("\ud800" <= character <= "\udfff" for character in "".join(words)):
        raise UsageError("An argument is not UTF-8 text.", remedy="Write it in UTF-8.")
    try:
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    except UnusedCliTokensError as error:
        stray = ", ".join(f"`{word[:80]}`" for word in error.unused_tokens or ())
        raise UsageError(f"This command takes no {stray}.", remedy="`trivium COMMAND --help` shows it.") from error
    except CycloptsError as error:
        raise UsageError(" ".join(str(error).split()), remedy="`trivium --help` lists the commands.") from error
    return partial(command, *bound.args, **bound.kwargs)
