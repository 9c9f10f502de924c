"""The command line's entry: one application, a file a command, each loaded when it is called."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path

from cyclopts import App, CycloptsError

from trivium.errors import EXIT_FAILED, EXIT_INTERRUPTED, TriviumError, UsageError
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


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0, 1 failed, 2 usage, 69 upstream unavailable, 78 configuration, 130 interrupted."""
    words = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a character that a terminal cannot show is no reason to fail
            stream.reconfigure(errors="replace")
    try:
        _read_dotenv(Path.cwd() / ".env")
        try:
            app(words, exit_on_error=False, print_error=False)
        finally:
            sys.stdout.flush()  # here, where a closed pipe is understood
    except TriviumError as error:
        _failed(error, words)
    except CycloptsError as error:
        _failed(UsageError(_one_line(str(error)), remedy="`trivium --help` lists the commands."), words)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read stdout has gone; nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        where = f"`{error.filename}`: " if error.filename else ""
        _failed(TriviumError(f"{where}{error.strerror or error}."), words)
    except Exception as error:
        if os.environ.get("TRIVIUM_DEBUG") == "1":
            raise
        said = f"{type(error).__name__}: {_one_line(str(error))}"
        print(f"trivium: this is a defect, please report it: {said} (TRIVIUM_DEBUG=1 shows where)", file=sys.stderr)
        sys.exit(EXIT_FAILED)


def _failed(error: TriviumError, words: list[str]) -> None:
    from trivium.cli.terminal import print_error

    print_error(error, json="--json" in words)
    sys.exit(error.exit_code)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _read_dotenv(file: Path) -> None:
    """Add what a trusted `.env` says to the environment, which wins over it."""
    if not file.is_file():
        return
    from trivium.cli.terminal import note
    from trivium.config.dotenv import read_dotenv
    from trivium.config.home import home_of

    values, said = read_dotenv(file, home_of(os.environ))
    if said:
        note(said)
    for name, value in values.items():
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    main()
