"""`trivium connect`: what a program needs to ask this server, printed, put in place, taken out again, or started."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

import msgspec
from cyclopts import Parameter
from msgspec import UNSET

from trivium.cli.patch import ANY, Patch
from trivium.cli.terminal import OPTIONS, Options, from_stdin, note, print_json, print_rows, tell
from trivium.cli.tools import File, Tool, tool_named, tools
from trivium.config import private
from trivium.config.home import Paths
from trivium.config.origin import moved
from trivium.config.schema import Config, Server
from trivium.errors import TriviumError, UsageError
from trivium.routing.names import AUTO
from trivium.types.origin import parse_origin

ANY_WORD, PLACEHOLDER = "trivium", "YOUR_TRIVIUM_KEY"
"""What is said as key to a server that asks for none; what stands for the key that only the caller knows."""
_PLAIN = re.compile(r"[\w.:/@+~=,%\[\]-]+", re.ASCII)
"""What stands for itself in JSON, TOML, YAML, `.env` files and shells, as every bearer token of RFC 6750 does."""
_ANSWER_S = 2.0
"""A server that is to be worked with has answered by then; nobody waits longer for lines to be printed."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A tool, and what it shall say to which server."""

    tool: Tool
    origin: str
    model: str
    key: str | None
    """As given; None: nobody said one."""
    answers: bool
    guarded: bool
    """The server asks for a key."""
    refused: bool
    """It does not take this one."""

    def filled(self, value: Any) -> Any:
        return self.tool.filled(value, self.origin, self.key or (PLACEHOLDER if self.guarded else ANY_WORD), self.model)

    @property
    def notes(self) -> list[str]:
        """What is to be known beside the lines."""
        said: list[str] = [self.tool.note] if self.tool.note else []
        if not self.answers:
            said.append(f"Nothing answers at {self.origin} now: start `trivium serve`.")
        if self.refused and self.key:
            said.append(f"{self.origin} refuses this key.")
        if self.guarded and not self.key:
            said.append(f"{self.origin} asks for a key: put yours in the place of {PLACEHOLDER}, or give it by --key.")
        return said


def connect(
    tool: str = "",
    /,
    *arguments: str,
    model: str = AUTO,
    key: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    server: str | None = None,
    write: Annotated[bool, Parameter(negative="")] = False,
    restore: Annotated[bool, Parameter(negative="")] = False,
    run: Annotated[bool, Parameter(negative="")] = False,
    options: Options = OPTIONS,
) -> None:
    """Print the exact lines that point a tool at this server; without a tool, list those that are known.

    Args:
        tool: claude-code, codex, gemini-cli, opencode, aider, continue, open-webui, vscode or jupyter.
        arguments: After `--`: what --run hands on to the tool.
        model: The model that the tool shall ask for.
        key: The key to give to the server; `-` reads it from standard input.
        server: The server's address; by default the configured one.
        write: Put the lines into the tool's own files, with a copy of each beside it.
        restore: Take them out again.
        run: Start the tool with them.
    """
    if not tool:
        rows = [{"tool": t.id, "name": t.name, "files": [str(f.path) for f in t.files]} for t in tools().values()]
        cells = ("tool", "name", "files")
        print_rows(rows, cells, lambda row: (row["tool"], row["name"], ", ".join(row["files"])), json=options.json)
        return
    if (restore and (write or run)) or (arguments and not run):
        remedy = "Give --restore alone, and words for the tool after `--` with --run only."
        raise UsageError("One of these words excludes another.", remedy=remedy)
    row, config = tool_named(tool), options.load()
    link = _link(config, row, model, key, server, ask=not restore)
    if restore:
        said = _restore(config, link)
        tell({"tool": row.id, "files": said}, _listed(said), json=options.json)
        return
    if (write or run) and link.guarded and not link.key:
        raise UsageError(f"{link.origin} asks for a key.", remedy="Give it by `--key KEY`, or by `--key -` and a pipe.")
    if write:
        said = _write(config, link)
        tell({"tool": row.id, "files": said, "notes": link.notes}, _listed(said), json=options.json)
    if not options.json:
        for line in link.notes:
            note(line)
    if run:
        _run(config, link, arguments)
    if not write:
        _show(link, json=options.json)


def _link(config: Config, tool: Tool, model: str, key: str | None, server: str | None, *, ask: bool) -> Link:
    """What was chosen, checked. Raises UsageError for words that cannot be written down as they are."""
    if key == "-":
        key = from_stdin(sys.stdin.readline).strip()
    try:
        origin = moved(f"http://{Server().listen}", server or config.server.listen).removesuffix("/v1")
    except ValueError as error:
        raise UsageError(f"The server's address {error}.", remedy="Write `--server http://127.0.0.1:3333`.") from None
    for name, word in (("model", model), ("key", key), ("server", origin)):
        if word is not None and not _PLAIN.fullmatch(word):
            what = f"`--{name}` is empty, or has spaces or signs that would need quoting."
            raise UsageError(what, remedy="Use letters, digits and any of . : / @ + ~ = , % - _")
    status = _status(config, origin, key) if ask else None
    refused = status in (401, 403)
    guarded = refused or (server is None and bool(config.keys))
    return Link(
        tool=tool, origin=origin, model=model, key=key, answers=status is not None, guarded=guarded, refused=refused
    )


def _status(config: Config, origin: str, key: str | None) -> int | None:
    """With which status the server lists its models for this key; None: nobody answers."""
    import httpx2

    from trivium.transport import egress

    headers = {"authorization": f"Bearer {key}"} if key else {}
    timeout, trusted = httpx2.Timeout(_ANSWER_S), [parse_origin(origin)]
    try:
        with egress.client(env=os.environ, offline=config.offline, trusted=trusted, timeout=timeout) as client:
            return client.get(f"{origin}/v1/models", headers=headers).status_code
    except (httpx2.HTTPError, TriviumError):
        return None


def _show(link: Link, *, json: bool) -> None:
    """Print everything that the tool needs."""
    tool = link.tool
    env, start = link.filled(tool.env), link.filled(tool.start)
    files = {str(file.path): _text(link.filled(file.content)) for file in tool.files}
    if json:
        chosen = {name: getattr(link, name) for name in ("model", "answers", "guarded", "notes")}
        facts = {"environment": env, "unset": tool.unset, "start": start, "files": files, "install": tool.install}
        print_json({"tool": tool.id, "server": link.origin, **chosen, **facts})
        return
    if not tool.reads_files:
        print(f"# {tool.name} from this shell; `trivium connect {tool.id} --run` does the same:")
        print(*(f"unset {name}" for name in tool.unset), _exports(env) + shlex.join(start), sep="\n")
    for path, text in files.items():
        print(f"\n# {tool.name} for good, in {path}; --write puts it there, --restore takes it out:\n{text.rstrip()}")


def _exports(env: dict[str, str]) -> str:
    if os.name == "nt":
        return "".join(f"$env:{name} = '{value}'\n" for name, value in env.items())
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items())


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)


def _listed(said: dict[str, str]) -> str:
    return "\n".join(f"{path}: {what}" for path, what in said.items())


def _patches(link: Link, written: Mapping[str, tuple[str, str]]) -> list[Patch]:
    """Our part of each of the tool's files, and what was last put there."""

    def was(file: File) -> Any:
        last = written.get(str(file.path))
        return UNSET if last is None else link.tool.filled(file.content, last[0], ANY, last[1])

    return [Patch(path=file.path, ours=link.filled(file.content), was=was(file)) for file in link.tool.files]


def _written(config: Config) -> dict[str, tuple[str, str]]:
    """The server and the model that each file was last told, by its path."""
    return private.read(Paths(config.home).connected, dict[str, tuple[str, str]]) or {}


def _write(config: Config, link: Link) -> dict[str, str]:
    """Put our part into every file of the tool, or into none; returns what happened to each."""
    written, secret = _written(config), link.key is not None
    patches = _patches(link, written)
    for patch in patches:
        patch.put(secret=secret, dry=True)
    written |= {str(patch.path): (link.origin, link.model) for patch in patches}
    private.write(Paths(config.home).connected, msgspec.json.encode(written))
    return {str(patch.path): "written" if patch.put(secret=secret) else "unchanged" for patch in patches}


def _restore(config: Config, link: Link) -> dict[str, str]:
    """Take our part out of every file of the tool; returns what happened to each."""
    written = _written(config)
    said = {str(patch.path): patch.take() for patch in _patches(link, written)}
    if written.keys() & said.keys():
        left = {path: last for path, last in written.items() if path not in said}
        private.write(Paths(config.home).connected, msgspec.json.encode(left))
    return said


def _run(config: Config, link: Link, arguments: tuple[str, ...]) -> NoReturn:
    """Become the tool. Raises UsageError where it needs a file, TriviumError where it is not installed."""
    tool = link.tool
    if tool.reads_files and any(patch.put(secret=False, dry=True) for patch in _patches(link, _written(config))):
        raise UsageError(f"{tool.name} cannot be told by its environment alone.", remedy="Add --write.")
    program, *words = (*link.filled(tool.start), *arguments)
    found = shutil.which(program)
    if found is None:
        raise TriviumError(f"There is no program `{program}` here.", remedy=f"Install it: {tool.install}")
    env = {name: value for name, value in os.environ.items() if name not in tool.unset} | link.filled(tool.env)
    sys.stdout.flush()
    os.execve(found, [program, *words], env)  # noqa: S606  # a shell would read the words again
