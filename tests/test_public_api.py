"""The public face: which names there are, and what importing them costs and does."""

from __future__ import annotations

import subprocess
import sys

import trivium

HEAVY = {
    "anthropic",
    "asyncio",
    "cohere",
    "cyclopts",
    "google",
    "httptools",
    "httpx",
    "httpx2",
    "msgspec",
    "ollama",
    "openai",
    "rich",
    "socket",
    "sqlite3",
    "ssl",
    "starlette",
    "uvicorn",
    "uvloop",
    "xllamacpp",
}
"""What `import trivium` does not load: each is loaded by the first call that needs it."""

WATCHED = """
import sys

touched = []

def watch(event, arguments):
    outside = event.startswith("socket.") and event != "socket.gethostname"
    process = event in {"subprocess.Popen", "os.fork", "os.exec", "os.posix_spawn", "os.system"}
    written = event == "open" and isinstance(arguments[1], str) and arguments[1].strip("rbt")
    if outside or process or written:
        touched.append(f"{event} {arguments}")

import asyncio, ctypes.util, importlib, pkgutil, ssl, uuid  # what libraries do when imported is not ours
import trivium

sys.addaudithook(watch)
names = [m.name for m in pkgutil.walk_packages(trivium.__path__, "trivium.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
        if touched:
            sys.exit(f"importing {name}: {touched}")
print(len(names))
"""


def python(code: str) -> str:
    run = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_names() -> None:
    assert trivium.__all__ == ["AsyncTrivium", "Trivium", "__version__"]


CALLS = ["chat", "embed", "plan", "rerank", "stream"]
CLIENTS = ["anthropic_client", "cohere_client", "gemini_client", "ollama_client", "openai_client"]


def test_what_a_trivium_offers() -> None:
    """Neither less nor more, beside the names with an underscore."""
    for kind, ends in ((trivium.Trivium, "close"), (trivium.AsyncTrivium, "aclose")):
        offered = [name for name in dir(kind) if not name.startswith("_")]
        assert offered == sorted([*CALLS, *CLIENTS, ends])


def test_import_is_light() -> None:
    """Compared with an interpreter that has started: an environment may load modules by itself."""
    loaded = python("import sys; before = set(sys.modules); import trivium; print(*set(sys.modules) - before)")
    assert {name.partition(".")[0] for name in loaded.split()} & HEAVY == set()


def test_no_import_reaches_out() -> None:
    """No module opens a socket, resolves a name, starts a process or writes a file when it is imported (T13)."""
    assert int(python(WATCHED)) > 50
