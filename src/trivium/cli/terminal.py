"""The terminal: the one place where commands print, ask, and read the options that they share.

Answers go to stdout, everything said about them to stderr. What a model, an upstream or a file said is printed
through `clean`, so that it cannot move the cursor, set a title or write to the clipboard.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from cyclopts import Parameter

from trivium.errors import ConfigError, TriviumError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from trivium.config.schema import Config

# ECMA-48: control sequences, control strings, and the shorter escapes.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[P\]X^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
# C0 but tab and line feed, C1, and what overrides the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_T = TypeVar("_T")
PIPE_WIDTH = 1 << 16
"""Columns, where nobody looks at them."""


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What every command understands."""

    config: Annotated[Path | None, Parameter(help="The configuration file.")] = None
    offline: Annotated[bool, Parameter(negative="", help="Open no connection off this machine.")] = False
    json: Annotated[bool, Parameter(negative="", help="Print JSON.")] = False

    def load(self) -> Config:
        """The configuration; its notes go to stderr. Raises ConfigError."""
        from trivium.config.load import load

        config = load(file=self.config, offline=self.offline, env=os.environ, cwd=Path.cwd())
        for line in config.notes:
            note(line)
        return config


OPTIONS = Options()
"""Where none was given."""


@functools.cache
def out() -> Console:
    """The console for answers and tables."""
    from rich.console import Console

    # A pipe has no width: nothing is folded there.
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


@functools.cache
def err() -> Console:
    """The console for what is said beside them."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def clean(text: str) -> str:
    """`text` without escape sequences and control characters; line feeds and tabs stay.

    A sequence that is cut between two pieces loses its escape in the first and is harmless text in the second.
    """
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


def write(text: str) -> None:
    """A piece of an answer, at once."""
    sys.stdout.write(clean(text))
    sys.stdout.flush()


def note(text: str) -> None:
    """One dim line on stderr."""
    if sys.stderr.isatty():
        err().print(clean(text), style="dim", markup=False, emoji=False)
    else:
        print(clean(text), file=sys.stderr)


def print_json(value: Any) -> None:
    """One JSON document on stdout; structs and paths are understood."""
    print(_json(value, indent=2 if sys.stdout.isatty() else 0))


def tell(value: Any, text: str, *, json: bool) -> None:
    """What a command did: one JSON document if that was asked for, else a line for people."""
    if json:
        print_json(value)
    else:
        print(clean(text))


def print_table(columns: Sequence[str], rows: Iterable[Iterable[object]], *, right: Sequence[str] = ()) -> None:
    """A table on stdout; the columns named in `right` hold figures. None is `unknown`."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("unknown" if cell is None else clean(str(cell))) for cell in row))
    out().print(table)


def print_rows(
    rows: Sequence[_T],
    columns: Sequence[str],
    cells: Callable[[_T], Iterable[object]],
    *,
    json: bool,
    right: Sequence[str] = (),
) -> None:
    """Rows as `{"rows": …}`, or as a table of the `cells` of each."""
    if json:
        print_json({"rows": rows})
    else:
        print_table(columns, map(cells, rows), right=right)


def print_error(error: TriviumError, *, json: bool) -> None:
    """An error on stderr, with its remedy."""
    if json:
        said = {"kind": error.kind, "message": error.message, "remedy": error.remedy, "param": error.param}
        if isinstance(error, ConfigError):
            said |= {"file": error.file, "line": error.line, "key": error.key}
        print(_json({"error": said}, indent=0), file=sys.stderr)
        return
    print(f"trivium: {clean(error.message)}", file=sys.stderr)
    if error.remedy:
        print(clean(error.remedy), file=sys.stderr)


def _json(value: Any, *, indent: int) -> str:
    """JSON that is safe on a terminal too: its own rules let DEL, C1 and overrides of direction pass as they are."""
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=indent).decode()
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def from_stdin(read: Callable[[], str]) -> str:
    """What `read` reads from standard input. Raises UsageError for what is no text."""
    try:
        return read()
    except UnicodeDecodeError as error:
        raise UsageError(f"Standard input is not {error.encoding} text.", remedy="Pipe in plain text.") from error


def no_such(what: str, name: str, known: Iterable[str], remedy: str) -> UsageError:
    """The error for a name that there is not, with the nearest ones, or what to do where none is near."""
    import difflib

    near = difflib.get_close_matches(name.lower(), list(known), n=3)
    remedy = f"Did you mean {', '.join(near)}?" if near else remedy
    return UsageError(f"There is no {what} `{name[:80]}`.", remedy=remedy)


def confirm(question: str) -> bool:
    """Ask a person; everything but `y` or `yes` is no. Ask only where `interactive()`."""
    print(f"{clean(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def duration(seconds: float | None) -> str:
    """A time for people: `12 ms`, `3.4 s`, `5 min`, `2.5 h`."""
    if seconds is None:
        return "unknown"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: int | None) -> str:
    """Bytes for people, decimal: `144 MB`."""
    if count is None:
        return "unknown size"
    if count < 1000:
        return f"{count} B"
    step = min(4, (len(str(count)) - 1) // 3)
    return f"{count / 1000**step:.3g} {('kB', 'MB', 'GB', 'TB')[step - 1]}"
