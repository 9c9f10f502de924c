"""Install peers: Debian packages as they are, Python ones into venvs, Node ones into a folder, under `BENCH_HOME`."""

import os
import subprocess
import sys

from peers import HOME, PEERS

# LiteLLM pins releases that package mirrors may not have yet; these floors replace the pins.
OVERRIDES = "certifi>=2026.5.20\nlitellm-proxy-extras>=0.4.100\nlitellm-enterprise>=0.1.60\n"


def run(*cmd: str, **env: str) -> None:
    print("+", *cmd, flush=True)
    subprocess.run(cmd, check=True, env={**os.environ, **env})


def install(name: str) -> None:
    peer = PEERS[name]
    if not peer.install:
        print(f"{name}: nothing to install")
        return
    kind, *packages = peer.install
    venv = HOME / "venvs" / peer.venv
    if kind in ("pip", "uv"):
        run(sys.executable, "-m", "venv", str(venv))
    match kind:
        case "apt":  # RUNLEVEL=1: do not start the service
            run(
                "apt-get",
                "install",
                "-y",
                "-qq",
                "--no-install-recommends",
                *packages,
                RUNLEVEL="1",
                DEBIAN_FRONTEND="noninteractive",
            )
        case "pip":
            run(str(venv / "bin/pip"), "install", "-q", *packages)
        case "uv":
            overrides = venv / "overrides.txt"
            overrides.write_text(OVERRIDES)
            run(str(venv / "bin/pip"), "install", "-q", "uv")
            run(
                str(venv / "bin/uv"),
                "pip",
                "install",
                "-q",
                "--python",
                str(venv / "bin/python"),
                "--override",
                str(overrides),
                *packages,
            )
        case "npm":
            run("npm", "install", "--silent", "--prefix", str(HOME / "npm"), *packages)


def main(names: list[str]) -> int:
    failed = []
    for name in names:
        try:
            install(name)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name}: NOT installed: {error}", flush=True)
            failed.append(name)
    return 1 if failed else 0
