"""The lock files: they follow pyproject.toml, carry hashes and name no index. News fragments: a release finds them."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins(lock: str) -> dict[str, str]:
    """Name → version of a lock file whose every entry is pinned with at least one hash."""
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([a-z0-9-]+)==(\S+)( ; [^#\\]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", line)
            assert match, f"{lock}: not a pin with hashes, or an address: {line[:80]}"
            found[match[1]] = match[2]
    return found


def test_locks_carry_hashes_and_no_addresses() -> None:
    runtime, dev = pins("runtime.txt"), pins("dev.txt")
    assert runtime.items() <= dev.items(), "dev.txt repeats every pin of runtime.txt: run `make lock`"


def declared(texts: list[object]) -> list[Requirement]:
    return [Requirement(text) for text in texts if isinstance(text, str)]


def test_locks_follow_the_declared_dependencies() -> None:
    project, groups = PYPROJECT["project"], PYPROJECT["dependency-groups"]
    extras = project["optional-dependencies"]
    wanted = {
        "runtime.txt": declared([*project["dependencies"], *extras["local"], *groups["build"]]),
        "dev.txt": declared([*chain(*extras.values(), *groups.values())]),
    }
    for lock, requirements in wanted.items():
        pinned = pins(lock)
        for requirement in requirements:
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            assert name in pinned, f"{lock} lacks {name}: run `make lock`"
            assert requirement.specifier.contains(pinned[name]), f"{lock}: {name} is {pinned[name]}: run `make lock`"


def test_news_fragments_have_a_type() -> None:
    types = "|".join(kind["directory"] for kind in PYPROJECT["tool"]["towncrier"]["type"])
    name = re.compile(rf"(\d+|\+[\w-]+)\.({types})(\.\d+)?\.md")
    odd = [p.name for p in (ROOT / "newsfragments").iterdir() if p.name != "README.md" and not name.fullmatch(p.name)]
    assert odd == []
