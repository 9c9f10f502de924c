"""The house stays tidy: sizes, cycles, names and habits that the linters do not see.

What is allowed in spite of a rule stands as data at the top, with its reason; an entry that is no longer needed
fails too, so that the lists only shrink.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, get_args, get_type_hints

import grimp
import pytest

from trivium.catalog.rows import DialectName
from trivium.config.schema import Engine
from trivium.types.data import Access

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "trivium"

TOTAL_LINES = 45_200
"""ADR 0010: the goal is 25,000; six dialects, retrieval, the clients of others and rescue are found to need this."""
FILE_LINES = 600
FUNCTION_LINES = 100

LARGE_FILES: dict[str, str] = {}
"""File under `src/trivium` → why it may be longer."""

LONG_FUNCTIONS: dict[str, str] = {}
"""`file::function` → why it may be longer."""

PROVIDERS_NAMED: dict[str, dict[str, str]] = {
    "": {"metadata.google.internal": "the name of a metadata service, which is blocked"},
    "dialects/anthropic_messages": {"anthropic": "the dialect's headers and values carry its vendor's name"},
    "dialects/cohere_v2": {"cohere": "the mark of its plans carries its vendor's name"},
    "dialects/gemini": {"google": "the formats of its signatures and errors carry its vendor's name"},
    "dialects/openai_responses": {"openai": "the format of its signatures carries its vendor's name"},
    "dialects/__init__.py": {"openrouter": "the profile of a dialect that its callers speak"},
    "dialects/openai_chat/openrouter.py": dict.fromkeys(("openrouter", "OPENROUTER"), "its callers' profile"),
    "gateway/availability.py": {"openrouter": "the page that explains its codes"},
    "gateway/metadata.py": {"openrouter": "its callers' header, and the member that answers it"},
    "gateway/paths.py": dict.fromkeys(
        ("openai", "openrouter"), "a path under which its vendor's callers expect the dialect"
    ),
    "gateway/surface.py": {
        "anthropic": "its callers are known by a header of that name",
        "cohere": "its callers are known by a header that names their library",
        "openrouter": "what its callers look up",
    },
    "sdk.py": dict.fromkeys(
        ("openai", "OpenAI", "anthropic", "Anthropic", "cohere", "google"), "vendors' packages carry their names"
    ),
    "gateway/limits.py": {"anthropic": "the start of names of header fields that say limits"},
    "routing/allowance.py": {"anthropic": "the same names, read"},
    "engines/hub.py": {"huggingface": "the hub that `hf:` means, a place of models rather than a provider of answers"},
}
"""Start of a path under `src/trivium` → a text that may name a provider there → why."""

OUR_WORDS = {"anthropic_count", *get_args(DialectName), *get_args(get_type_hints(Engine)["kind"]), *get_args(Access)}
EXAMPLE = r"|`[a-z]+/[\w./-]+`"
"""A model id in a message for people."""

MAY_NAME_PROVIDERS = ("catalog/", "access/quirks.py", "testing/")
MAY_PRINT = ("cli/", "testing/", "engines/llamacpp_worker.py")  # what a person or a parent process starts

FORMATTED_SQL: dict[str, str] = {"ledger/query.py::usage": "from the columns of a literal table and a struct's fields"}
"""`file::function` → from what, that no caller can choose, a statement is put together there."""

SECRETS_COMPARED: dict[str, str] = {}
"""`file::function` → why the clock tells nothing there."""

FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load"}
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
STATEMENT = re.compile(
    r"\s*(SELECT\s.*\sFROM|INSERT\s(.*\s)?INTO|REPLACE\s+INTO|UPDATE\s.*\sSET|DELETE\s+FROM|(CREATE|DROP|ALTER)\s+\w+)\s",
    re.DOTALL,
)
SECRET = re.compile(r"(^|_)(secret|password|api_key|hmac|mac)$")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def sources() -> dict[str, ast.Module]:
    """Every module's tree, by its path under `src/trivium`."""
    paths = sorted(SRC.rglob("*.py"))
    return {p.relative_to(SRC).as_posix(): ast.parse(p.read_text(encoding="utf-8")) for p in paths}


def lines_of(file: str) -> int:
    return (SRC / file).read_text(encoding="utf-8").count("\n")


def located(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every node below, each with the qualified name of the function or class that it stands in."""
    for child in ast.iter_child_nodes(tree):
        yield prefix, child
        named = isinstance(child, Function | ast.ClassDef)
        yield from located(child, f"{prefix}.{child.name}".lstrip(".") if named else prefix)


def body_lines(function: Function) -> int:
    """Lines of a function without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def docstrings(tree: ast.Module) -> set[int]:
    """The ids of constants that stand alone: docstrings, also those under an attribute."""
    return {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}


def dotted(node: ast.AST) -> str:
    """`a.b.c` for a name or a chain of attributes, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def place(file: str, node: ast.AST, what: str) -> str:
    return f"src/trivium/{file}:{getattr(node, 'lineno', 0)}: {what}"


def excess(found: dict[str, int], limit: int, allowed: dict[str, str]) -> list[str]:
    """What is over the limit without a reason, and reasons without need; prints the largest."""
    for name, lines in sorted(found.items(), key=lambda item: -item[1])[:10]:
        print(f"{lines:6} {name}")
    large = {name for name, lines in found.items() if lines > limit}
    unlisted = [f"{name} has {found[name]} lines (at most {limit})" for name in sorted(large - allowed.keys())]
    return unlisted + [f"{name} needs no exception any more" for name in sorted(allowed.keys() - large)]


def check(found: dict[str, str], allowed: dict[str, str]) -> None:
    """Findings by place: each must be allowed, and each exception must still be needed."""
    unlisted = [where for key, where in found.items() if key not in allowed]
    assert not unlisted, "\n".join(unlisted)
    assert allowed.keys() - found.keys() == set(), "exceptions that are no longer needed"


def test_files_are_small() -> None:
    sizes = {file: lines_of(file) for file in sources()}
    over = excess(sizes, FILE_LINES, LARGE_FILES)
    assert not over, "\n".join(over)
    assert sum(sizes.values()) < TOTAL_LINES


def test_functions_are_small() -> None:
    sizes = {
        f"{file}::{name}.{node.name}".replace("::.", "::"): body_lines(node)
        for file, tree in sources().items()
        for name, node in located(tree)
        if isinstance(node, Function)
    }
    over = excess(sizes, FUNCTION_LINES, LONG_FUNCTIONS)
    assert not over, "\n".join(over)


def test_no_import_cycles() -> None:
    graph = grimp.build_graph("trivium", exclude_type_checking_imports=True, cache_dir=None)
    for name in graph.find_modules_directly_imported_by("trivium"):
        graph.remove_import(importer="trivium", imported=name)  # only on first use, by `__getattr__`
    TopologicalSorter({m: graph.find_modules_directly_imported_by(m) for m in graph.modules}).prepare()


def test_every_module_says_what_it_is() -> None:
    """A docstring whose first paragraph is a sentence: at least three words, closed by a full stop or a colon."""
    texts = {file: (ast.get_docstring(tree) or "").partition("\n\n")[0] for file, tree in sources().items()}
    mute = [file for file, text in texts.items() if len(text.split()) < 3 or not re.search(r"[.:](\s|$)", text)]
    assert not mute, "\n".join(mute)


def test_packages_do_nothing_when_imported() -> None:
    inert = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    busy = [
        place(file, node, "statement in a package's `__init__`")
        for file, tree in sources().items()
        if file.endswith("__init__.py")
        for node in tree.body
        if not isinstance(node, inert)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING")
    ]
    assert not busy, "\n".join(busy)


def words_of(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every identifier and every text that the program can see."""
    prose = docstrings(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str() as text) if id(node) not in prose:
                yield node, text
            case ast.Constant(value=bytes() as raw):
                yield node, raw.decode("latin-1")
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.alias(name=name):
                yield node, name
            case ast.keyword(arg=str() as name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node, name
            case ast.ClassDef(name=name):
                yield node, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
            case _:
                pass


def provider_ids() -> set[str]:
    """The catalog's ids but those that are also a word of ours: a dialect, an engine, a road."""
    rows = tomllib.loads((SRC / "catalog" / "providers.toml").read_text(encoding="utf-8"))["providers"]
    return {row["id"] for row in rows} - OUR_WORDS


def test_providers_are_data() -> None:
    """No provider is named outside the catalog, its quirks and the test tools: a provider is a row, not code."""
    ours = re.compile("|".join(sorted(OUR_WORDS, key=len, reverse=True)) + EXAMPLE)
    named = re.compile(rf"(?<![a-z0-9])({'|'.join(sorted(provider_ids()))})(?![a-z0-9])", re.IGNORECASE)
    used: set[tuple[str, str]] = set()
    found: list[str] = []
    for file, tree in sources().items():
        if file.startswith(MAY_NAME_PROVIDERS):
            continue
        allowed = [
            (scope, word) for scope, words in PROVIDERS_NAMED.items() if file.startswith(scope) for word in words
        ]
        for node, text in words_of(tree):
            rest = ours.sub("·", text)
            for scope, word in allowed:
                if word in rest and named.search(rest):
                    used.add((scope, word))
                    rest = rest.replace(word, "·")
            if match := named.search(rest):
                found.append(place(file, node, f"names {match[0]!r} in {text[:60]!r}"))
    assert not found, "\n".join(found)
    listed = {(scope, word) for scope, words in PROVIDERS_NAMED.items() for word in words}
    assert listed - used == set(), "exceptions that are no longer needed"


def test_no_dangerous_construction() -> None:
    """No code from data, no shell, no check that `python -O` removes (T3)."""
    found: list[str] = []
    for file, tree in sources().items():
        for node in ast.walk(tree):
            match node:
                case ast.Assert():
                    found.append(place(file, node, "`assert` vanishes under `python -O`; raise"))
                case ast.Call(func=func) if dotted(func) in FORBIDDEN_CALLS:
                    found.append(place(file, node, f"`{dotted(func)}`"))
                case ast.Call(func=func, keywords=words) if dotted(func).startswith("subprocess.") and any(
                    word.arg == "shell" for word in words
                ):
                    found.append(place(file, node, "`shell=`"))
                case ast.Import(names=names) if {n.name.partition(".")[0] for n in names} & FORBIDDEN_IMPORTS:
                    found.append(place(file, node, f"imports {names[0].name}"))
                case ast.ImportFrom(module=str() as name) if name.partition(".")[0] in FORBIDDEN_IMPORTS:
                    found.append(place(file, node, f"imports {name}"))
                case _:
                    pass
    assert not found, "\n".join(found)


def is_formatted(node: ast.AST) -> bool:
    """Whether a statement is put together from more than constants (names in capitals, or a number of places)."""
    match node:
        case ast.JoinedStr(values=values):
            text = "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in values)
            parts = [dotted(v.value) for v in values if isinstance(v, ast.FormattedValue)]
        case ast.BinOp(left=ast.Constant(value=str() as text), op=ast.Add() | ast.Mod(), right=right):
            parts = [dotted(right)]
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str() as text), attr="format")):
            parts = [""]
        case _:
            return False
    return bool(STATEMENT.match(text)) and not all(part.isupper() or part[1:].isdigit() for part in parts)


def test_sql_is_bound() -> None:
    """Nothing that a caller says becomes part of a statement (T2)."""
    found = {
        f"{file}::{name}": place(file, node, "formatted SQL")
        for file, tree in sources().items()
        for name, node in located(tree)
        if is_formatted(node)
    }
    check(found, FORMATTED_SQL)


def test_secrets_are_compared_in_constant_time() -> None:
    """`==` on a secret tells its prefix by the clock (T8); `hmac.compare_digest` does not."""
    found = {
        f"{file}::{name}": place(file, node, "compares a secret; use `hmac.compare_digest`")
        for file, tree in sources().items()
        for name, node in located(tree)
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq)
        for side in (node.left, node.comparators[0])
        if SECRET.search(dotted(side).rpartition(".")[2])
    }
    check(found, SECRETS_COMPARED)


def test_only_the_command_line_prints() -> None:
    found = [
        place(file, node, "`print`")
        for file, tree in sources().items()
        if not file.startswith(MAY_PRINT)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and dotted(node.func) == "print"
    ]
    assert not found, "\n".join(found)


def project_files() -> list[Path]:
    """What is, or would be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return [path for name in listed if name and (path := ROOT / name).is_file()]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout: git says which files are the project's")
def test_no_path_of_one_machine() -> None:
    pattern = re.compile(rb"(?<![\w.~$}*-])/(work|root|farm)(?=[/\s\"'`]|$)")
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in project_files()
        if (match := pattern.search(path.read_bytes()))
    ]
    assert not found, "\n".join(found)
