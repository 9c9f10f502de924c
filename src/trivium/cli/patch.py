"""A patch: our part of a file that is somebody else's, put in and taken out again.

JSON has no comments: there our part is known by its values. Every other format has it in a marked block, and what the
user said of the same names stays beside it as comments. The first patch of a file leaves a copy of it behind.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from trivium.config import private
from trivium.errors import TriviumError

ANY = "\0"
"""In what is taken out: whatever stands there."""
BEGIN, END, KEPT = "# >>> trivium connect >>>", "# <<< trivium connect <<<", "# trivium kept: "
_BLOCK = re.compile(rf"^{BEGIN}\n.*?^{END}\n?", re.MULTILINE | re.DOTALL)
_SETS = re.compile(r"(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*[:=]")
_KNOWN = {
    "yaml": re.compile(r"\s|#|$|-(\s|$)|[\"'\w.-]+[ \t]*:(\s|$)"),
    "env": re.compile(r"[ \t]*(#|$|(export[ \t]+)?\w+[ \t]*=)"),
}
"""How every line of a file begins that we understand well enough to add to it."""

BY_HAND = "Leave it as it is, and add the lines that `trivium connect` prints yourself."


class Form(msgspec.Struct, frozen=True):
    """A format, as functions on what a file says. A file that is not there says UNSET."""

    load: Callable[[str], Any]
    dump: Callable[[Any, str], str]
    """A value as text that is laid out like another."""
    put: Callable[[Any, Any], Any]
    take: Callable[[Any, Any, Any], Any]
    """`take(now, ours, before)`."""


def form_of(path: Path) -> Form:
    """The format that a file's name promises."""
    kind = {".json": "json", ".toml": "toml", ".yml": "yaml", ".yaml": "yaml"}.get(path.suffix, "env")
    if kind == "json":
        return Form(json.loads, _laid_out, merged, taken)
    return Form(str, lambda text, _: text, lambda text, lines: _block_in(text or "", lines, kind), _block_out)


class Patch(msgspec.Struct, frozen=True, kw_only=True):
    """A file, and our part of it as values (JSON) or lines."""

    path: Path
    ours: Any
    was: Any = UNSET
    """What it was when it was last put in; UNSET where nobody knows, and then only a block can be taken out."""

    @property
    def backup(self) -> Path:
        return self.path.with_name(f"{self.path.name}.trivium-backup")

    def put(self, *, secret: bool, dry: bool = False) -> bool:
        """Put our part in; False where it is there already. `secret`: nobody else may read the file.

        Raises TriviumError for a file that cannot be patched, before anything is written.
        """
        text, form = _read(self.path), form_of(self.path)
        now, before = self._said(self.path, text), self._said(self.backup, _read(self.backup))
        base = now if now is UNSET or self.was is UNSET else form.take(now, self.was, before)
        after = self._checked(form.put, base)
        mode = self.path.stat().st_mode & 0o777 if text is not None else 0o600
        if secret and mode & 0o077 and os.name == "posix":
            remedy = f"Run `chmod 600 {self.path}` first, or leave --key out."
            raise TriviumError(f"Others can read `{self.path}`, so no key is written there.", remedy=remedy)
        if after == now or dry:
            return after != now
        if text is not None and not self.backup.exists():
            _write(self.backup, text if base == now else form.dump(base, text), mode)
        _write(self.path, form.dump(after, text or ""), mode)
        return True

    def take(self) -> Literal["nothing", "restored", "removed", "taken out"]:
        """Take our part out; where nothing else changed the file has its old bytes back, or is gone again."""
        text, form = _read(self.path), form_of(self.path)
        kept = _read(self.backup)
        now, before = self._said(self.path, text), self._said(self.backup, kept)
        base = now if now is UNSET else form.take(now, self.was, before)
        if text is None or base == now:
            return "nothing"
        mode = self.path.stat().st_mode & 0o777
        if kept is not None and _same(base, before):
            _write(self.path, kept, mode)
            self.backup.unlink()
            return "restored"
        if kept is None and not base:
            self.path.unlink()
            return "removed"
        _write(self.path, form.dump({} if base is UNSET else base, text), mode)
        return "taken out"

    def _said(self, path: Path, text: str | None) -> Any:
        """What a text says. Raises TriviumError for what is not what its program reads."""
        if not text or not text.strip():
            return UNSET
        try:
            said = form_of(self.path).load(text)
        except (ValueError, RecursionError) as error:
            raise TriviumError(f"`{path}` cannot be read: {error}.", remedy=BY_HAND) from None
        if not isinstance(said, type(self.ours)):
            raise TriviumError(f"`{path}` holds something else than its program reads.", remedy=BY_HAND)
        return said

    def _checked(self, put: Callable[[Any, Any], Any], base: Any) -> Any:
        try:
            return put(base, self.ours)
        except ValueError as error:
            raise TriviumError(f"Nothing can be added to `{self.path}`: {error}.", remedy=BY_HAND) from None


def merged(theirs: Any, ours: Any) -> Any:
    """`theirs` with what `ours` says; an item of a list is replaced by that of ours which goes by the same name."""
    if _both(dict, theirs, ours):
        return theirs | {name: merged(theirs.get(name, UNSET), our) for name, our in ours.items()}
    if _both(list, theirs, ours):
        new = [our for our in ours if _like(our, theirs) is UNSET]
        return [item if (our := _like(item, ours)) is UNSET else our for item in theirs] + new
    return ours


def taken(now: Any, ours: Any, before: Any) -> Any:
    """`now` without what `ours` says, and with what stood `before` in its place. What was changed since stays."""
    if _both(dict, now, ours):
        old = _or(before, {})
        rest = {n: taken(item, ours[n], old.get(n, UNSET)) if n in ours else item for n, item in now.items()}
        left = {name: item for name, item in rest.items() if item is not UNSET}
    elif _both(list, now, ours):
        rest = [item if _like(item, ours) is UNSET else _like(item, _or(before, [])) for item in now]
        left = [item for item in rest if item is not UNSET]
    else:
        return before if ours in (ANY, now) else now
    return left if left or isinstance(before, type(left)) else before


def _both(kind: type, one: Any, other: Any) -> bool:
    return isinstance(one, kind) and isinstance(other, kind)


def _or(value: Any, empty: Any) -> Any:
    return value if isinstance(value, type(empty)) else empty


def _like(item: Any, items: list[Any]) -> Any:
    """The one of the items that goes by the same `id`, else by the same `name`; UNSET if there is none."""
    return next((other for other in items if _both(dict, item, other) and _name(item) == _name(other)), UNSET)


def _name(item: dict[str, Any]) -> Any:
    return item.get("id", item.get("name", UNSET))


def _same(text: Any, other: Any) -> bool:
    """Equal; lines are too if they differ in the end of the last, which a block needs before it."""
    text, other = text or "", other or ""
    return text == other or (isinstance(text, str) and isinstance(other, str) and text.rstrip() == other.rstrip())


def _laid_out(value: Any, like: str) -> str:
    """JSON as a person has it: with that text's indent, and an end of line if that has one."""
    indent = re.search(r"^([ \t]+)\S", like, re.MULTILINE)
    text = json.dumps(value, indent=indent[1] if indent else 2, ensure_ascii=False)
    return text if like and not like.endswith("\n") else f"{text}\n"


def _block_in(text: str, lines: str, kind: str) -> str:
    """`text` with our lines in a block: before all else in TOML, where a table ends only with the file, else last."""
    base = _block_out(text)
    names = {found[1] for line in lines.splitlines() if (found := _SETS.match(line))}
    rest = _kept(base, names, kind)
    block = f"{BEGIN}\n{lines.rstrip()}\n{END}\n"
    if kind != "toml":
        return f"{rest}\n{block}" if rest and not rest.endswith("\n") else rest + block
    if tomllib.loads(block + rest) != merged(tomllib.loads(base), tomllib.loads(lines)):
        raise ValueError(f"it says `{'`, `'.join(sorted(names))}` in a way that cannot be set aside")
    return block + rest


def _kept(text: str, names: set[str], kind: str) -> str:
    """`text` with its own lines of these names set aside as comments. Raises ValueError for what is not understood."""
    lines = text.splitlines(keepends=True)
    end = next((i for i, line in enumerate(lines) if kind == "toml" and line.lstrip().startswith("[")), len(lines))
    for index, line in enumerate(lines[:end]):
        if kind in _KNOWN and not (_KNOWN[kind].match(line) or (index == 0 and line.strip() == "---")):
            raise ValueError(f"line {index + 1} is nothing that can be added to")
        found = _SETS.match(line.lstrip() if kind != "yaml" else line)
        if found and found[1] in names:
            follows = lines[index + 1] if index + 1 < end else ""
            if kind == "yaml" and (re.match(r"[ \t]+\S|-\s", follows) or not line[found.end() :].strip()):
                raise ValueError(f"line {index + 1} says `{found[1]}` in more than one line")
            lines[index] = KEPT + line
    return "".join(lines)


def _block_out(text: Any, _ours: Any = None, _before: Any = None) -> str:
    """`text` without our block, and with what was set aside for it."""
    rest = _BLOCK.sub("", text)
    if BEGIN in rest:
        raise TriviumError("A marked block has no end.", remedy=f"Take out the lines from `{BEGIN}` on, and try again.")
    return re.sub(f"^{KEPT}", "", rest, flags=re.MULTILINE)


def _read(path: Path) -> str | None:
    """The text of a file; None where there is none. Raises TriviumError for what is no file of text."""
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise TriviumError(f"`{path}` is a link, or no plain file.", remedy=BY_HAND)
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise TriviumError(f"`{path}` is not UTF-8 text.", remedy=BY_HAND) from None
    except OSError as error:
        raise TriviumError(f"`{path}` cannot be read: {error.strerror}.", remedy=BY_HAND) from error


def _write(path: Path, text: str, mode: int) -> None:
    try:
        private.write(path, text.encode(), mode)
    except OSError as error:
        remedy = "Make its folder writable, or add the lines that `trivium connect` prints yourself."
        raise TriviumError(f"`{path}` cannot be written: {error.strerror}.", remedy=remedy) from error
