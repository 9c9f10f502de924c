"""The command line's entry: one application, a file a command, each loaded when it is called."""

from __future__ import annotations

import sys

from cyclopts import App

from trivium import __version__
from trivium.errors import EXIT_INTERRUPTED, EXIT_USAGE, TriviumError

app = App(
    name="trivium",
    help="One endpoint and one Python API over the three roads to a language model: direct, routed, local.",
    version=__version__,
    help_epilogue="Without a key and without a configuration, `trivium ask` answers with a local model.",
)

COMMANDS = ("serve",)
for _name in COMMANDS:
    app.command(f"trivium.cli.{_name}:{_name}", name=_name)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0, 1 failed, 2 usage, 69 upstream unavailable, 78 configuration, 130 interrupted."""
    try:
        app(arguments, exit_on_error=False, print_error=True)
    except TriviumError as error:
        print(f"trivium: {error.message}", file=sys.stderr)
        if error.remedy:
            print(error.remedy, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()

__all__ = ["EXIT_USAGE", "app", "main"]
