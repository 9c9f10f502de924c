"""`trivium completion`: what a shell needs to complete our commands."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from trivium.cli.terminal import note

Shell = Literal["bash", "zsh", "fish"]


def completion(shell: Shell, /, *, install: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Print the completion script of a shell; `source <(trivium completion bash)` loads it.

    Args:
        shell: bash, zsh or fish.
        install: Write it where the shell looks for it instead, and load it at the shell's start.
    """
    from trivium.cli.app import app  # the module that loads this one

    if install:
        note(f"Installed as {app.install_completion(shell=shell)}; it works in new shells.")
        return
    print(app.generate_completion(shell=shell))
