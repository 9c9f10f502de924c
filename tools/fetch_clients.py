"""Fetch the command-line clients of the acceptance tests into a cache, each pinned by version and sha256.

    python tools/fetch_clients.py            # all that run on this machine; into $TRIVIUM_TEST_CACHE/clients
    python tools/fetch_clients.py codex      # one of them

They are no dependencies: some 370 MB that only those tests start. Comes through the ordinary clients of the two
registries, so that their mirrors and certificates count, and runs nothing of what it fetched.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

CACHE = Path(os.environ.get("TRIVIUM_TEST_CACHE") or Path.home() / ".cache" / "trivium-test") / "clients"


class Client(NamedTuple):
    package: str
    """`name==version` of PyPI, or `npm:name@version`."""
    sha256: str
    program: str
    """What is started, as a path inside the archive."""
    machine: str = ""
    """`Linux-x86_64`; empty: any."""


CLIENTS = {
    "claude-code": Client(
        "claude-agent-sdk==0.2.189",
        "b26a6a30a4e2cb025a6f5c95e1ce4469b38fcc51015c392f627bea7c948d67ad",
        "claude_agent_sdk/_bundled/claude",
        "Linux-x86_64",
    ),
    "codex": Client(
        "npm:@openai/codex@0.171.0-linux-x64",
        "e13d67afb0533cc6160b5f4140e4ad07e2acd87adbaa081bbf69b82e90cf4e55",
        "package/vendor/x86_64-unknown-linux-musl/bin/codex",
        "Linux-x86_64",
    ),
    "gemini-cli": Client(
        "npm:@google/gemini-cli@0.61.0",
        "bc4efa5c925c4430105b552820ed3164bbeffa9dc227990fc922f954733bcd7d",
        "package/bundle/gemini.js",
    ),
}


def program(name: str) -> Path:
    """Where a fetched client's program is, whether it was fetched or not. The folder's name changes with the pin."""
    return CACHE / f"{name}-{CLIENTS[name].sha256[:16]}" / CLIENTS[name].program


def fetch(name: str) -> str:
    """Fetch one client if it is not there; returns what happened, for people."""
    client, there = CLIENTS[name], program(name)
    if there.is_file():
        return "is there"
    if client.machine not in ("", f"{platform.system()}-{platform.machine()}"):
        return f"is for {client.machine} only"
    if client.package.startswith("npm:") and shutil.which("npm") is None:
        return "needs npm, which is not installed"
    folder = CACHE / there.relative_to(CACHE).parts[0]
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        archive = download(client.package, Path(place))
        with archive.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != client.sha256:
            raise SystemExit(f"{client.package} has the sha256 {digest}, not {client.sha256}: nothing was unpacked.")
        unpacked = Path(place) / "unpacked"
        shutil.unpack_archive(archive, unpacked, "zip" if archive.suffix == ".whl" else "gztar")
        (unpacked / client.program).chmod(0o755)  # a wheel does not keep it
        unpacked.rename(folder)
    return "was fetched"


def download(package: str, folder: Path) -> Path:
    """One archive, without its dependencies."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    npm = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder)]
    words = [*npm, package.removeprefix("npm:")] if package.startswith("npm:") else [*pip, package]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.iterdir()
    return archive


if __name__ == "__main__":
    for wanted in sys.argv[1:] or CLIENTS:
        print(f"{wanted} {fetch(wanted)}", flush=True)
