"""`trivium login`: a provider's key, asked without echo, tried with a free call, and kept."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

from cyclopts import Parameter

from trivium.cli.call import check_key, check_place, provider_named
from trivium.cli.terminal import OPTIONS, Options, from_stdin, note, print_json
from trivium.config import credentials, shipped
from trivium.config.home import Paths
from trivium.config.origin import origin_of
from trivium.errors import AuthenticationFailed, UsageError


def login(
    provider: str,
    /,
    *more: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    options: Options = OPTIONS,
) -> None:
    """Keep the key of a provider: in the system's keyring, else in a file that only you can read.

    Args:
        provider: The provider's id, as `trivium providers` lists it.
    """
    if more:  # not repeated: it may be the key
        raise UsageError(
            "A key never stands on the command line, where other users and the shell's history see it.",
            remedy=f"Run `trivium login {provider}` and paste it, or pipe it in.",
        )
    config = options.load()
    bound = provider_named(config, provider)
    row = bound.row
    if row.auth == "none" or not row.base_url:
        raise UsageError(f"{row.name or provider} needs no key.")
    check_place(bound)
    key = credentials.normalise(_asked(row.name or provider))
    credentials.check_form(provider, key, shipped.catalog())
    works, why = check_key(config, bound, key)
    if works is False:
        raise AuthenticationFailed(
            f"{why} It was not kept.",
            remedy="Copy it again from the provider's site; it may be cut, revoked, or of another project.",
        )
    said = "" if works else f"It was not tried: {why}"
    place = credentials.save(config.home, provider, key, origin_of(row.base_url))
    where = "the system's keyring" if place == "keyring" else str(Paths(config.home).credentials)
    if options.json:
        print_json({"provider": provider, "kept_in": place, "checked": not said, "note": said})
        return
    note(f"The key of {row.name or provider} {'works and ' if not said else ''}is kept in {where}.")
    if said:
        note(said)
    if bound.credential_from not in ("", "trivium login"):
        note(f"The key from {bound.credential_from} is set too, and goes first.")


def _asked(name: str) -> str:
    """The key, from a terminal without echo, else one line of standard input."""
    if not sys.stdin.isatty():
        return from_stdin(sys.stdin.readline)
    try:
        return from_stdin(lambda: getpass.getpass(f"Key of {name} (not shown): ", stream=sys.stderr))
    except EOFError:  # Ctrl-D
        return ""
