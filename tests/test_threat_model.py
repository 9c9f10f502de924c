"""The threat model and the guides name code and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
MODULE = re.compile(r"`([a-z_]+/[\w/]+\.py)`")
ROW = re.compile(r"^\| (\S.*?) \| .+ \| (.+) \|$", re.MULTILINE)
DOCUMENTS = [
    "THREAT_MODEL.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/adr/{p.name}" for p in (ROOT / "docs/adr").glob("*.md")),
]


def defined(file: str, function: str) -> bool:
    return (
        re.search(rf"^(async )?def {function}\b", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE) is not None
    )


def test_each_threat_has_a_test_or_says_that_it_is_planned() -> None:
    rows = ROW.findall((ROOT / "THREAT_MODEL.md").read_text(encoding="utf-8"))
    threats = [(threat, test) for threat, test in rows if threat != "threat" and not re.fullmatch(r"B\d", threat)]
    assert len(threats) > 30
    assert [threat for threat, test in threats if test != "planned" and not TESTED.search(test)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_is_named_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    tests = TESTED.findall(text)
    modules = {name for name in MODULE.findall(text) if not name.startswith("tests/")}
    assert [name for name in sorted(modules) if not (ROOT / "src" / "trivium" / name).is_file()] == []
    assert [file for file, _ in tests if not (ROOT / file).is_file()] == []
    assert [f"{file}::{name}" for file, name in tests if name and not defined(file, name)] == []
