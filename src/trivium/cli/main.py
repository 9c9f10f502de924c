"""The command line's entry: reads the words, runs the command, and says how it ended."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from trivium.errors import EXIT_INTERRUPTED, InternalError, TriviumError


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0, 1 failed, 2 usage, 69 upstream unavailable, 78 configuration, 130 interrupted."""
    words = sys.argv[1:] if arguments is None else arguments
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr, sys.stdin):
        if isinstance(stream, TextIOWrapper):  # a character that a terminal cannot show is no reason to fail
            stream.reconfigure(errors="strict" if stream is sys.stdin else "replace")
    try:
        _read_dotenv(Path.cwd() / ".env")
        code = _run(words, aside=arguments is None)
    except TriviumError as error:
        _failed(error, words)
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
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        _failed(InternalError(f"this is a defect, please report it: {said} (TRIVIUM_DEBUG=1 shows where)"), words)
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Give a standard stream that was closed the null device: else the next file or socket would be taken for it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  # as long as the process
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _run(words: list[str], *, aside: bool) -> int | None:
    """Call the command that the words name. Raises TriviumError and what the command raises."""
    gc.disable()  # what is imported stays, so looking at it again and again is time lost
    try:
        # `transport.platform` knows the platform, but is a large part of what is to be loaded meanwhile.
        forks = hasattr(os, "fork") and os.environ.get("TRIVIUM_PORTABLE") != "1"
        if aside and forks and words[:1] == ["serve"]:
            # It waits until the server can heed it; its default is to end us.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
            from trivium.cli.aside import parse
        else:
            from trivium.cli.app import parse
        call = parse(words)
    finally:
        gc.freeze()
        gc.enable()
    try:
        return call()
    finally:
        sys.stdout.flush()  # here, where a closed pipe is understood


def _failed(error: TriviumError, words: list[str]) -> NoReturn:
    from trivium.cli.terminal import print_error

    with suppress(OSError):  # nobody reads it; the exit code tells still
        print_error(error, json="--json" in words)
    sys.exit(error.exit_code)


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
