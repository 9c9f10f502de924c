"""`trivium login`: a provider's key, asked without echo, tried with a free call, and kept."""

from __future__ import annotations

import difflib
import getpass
import os
import sys
from typing import Annotated

import httpx2
from cyclopts import Parameter

from trivium.cli.terminal import Options, from_stdin, note, print_json
from trivium.config import credentials, shipped
from trivium.config.home import paths
from trivium.config.origin import origin_of
from trivium.config.schema import BoundProvider, Config
from trivium.dialects import get as dialect_named
from trivium.errors import AuthenticationFailed, UpstreamError, UsageError
from trivium.transport import egress
from trivium.transport.address import parse_origin

OPTIONS = Options()
REFUSED = (400, 401, 403)
"""What a key check answers to a key that is not valid; some providers call it a bad request."""


def login(
    provider: str,
    /,
    *more: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    options: Options = OPTIONS,
) -> None:
    """Keep the key of a provider: in the system's keyring, else in a file that only you can read.

    Parameters
    ----------
    provider
        The provider's id, as `trivium providers` lists it.
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
    key = credentials.normalise(_asked(row.name or provider))
    credentials.check_form(provider, key, shipped.catalog())
    said = tried(config, bound, key)
    place = credentials.save(config.home, provider, key, origin_of(row.base_url))
    where = "the system's keyring" if place == "keyring" else str(paths(config.home).credentials)
    if options.json:
        print_json({"provider": provider, "kept_in": place, "checked": not said, "note": said})
        return
    note(f"The key of {row.name or provider} {'works and ' if not said else ''}is kept in {where}.")
    for line in (said, _overruled(bound)):
        if line:
            note(line)


def provider_named(config: Config, provider: str) -> BoundProvider:
    """A provider by its id. Raises UsageError with the nearest ids."""
    bound = config.providers.get(provider)
    if bound is not None:
        return bound
    near = difflib.get_close_matches(provider, config.providers, n=3)
    known = f"Did you mean {', '.join(near)}?" if near else "`trivium providers` lists them."
    raise UsageError(f"There is no provider `{provider}`.", remedy=known)


def tried(config: Config, bound: BoundProvider, key: str) -> str:
    """Try a key with the provider's free call: why that could not be done, empty if the key works.

    Raises AuthenticationFailed for a key that the provider refuses.
    """
    row = bound.row
    if config.offline:
        return "It was not tried: Trivium works offline."
    if row.key_check is None:
        return "It was not tried: no free call that tells is known."
    trusted = [parse_origin(row.base_url)] if bound.trusted_origin else []
    name, value = ("authorization", f"Bearer {key}") if row.auth == "bearer" else (row.auth, key)
    headers = {**dialect_named(row.dialect).headers, **row.headers, name: value}
    try:
        with egress.client(env=os.environ, offline=False, trusted=trusted) as client:
            status = client.get(row.base_url + row.key_check, headers=headers).status_code
    except (httpx2.HTTPError, UpstreamError) as error:
        return f"It was not tried: {origin_of(row.base_url)} could not be reached ({error})."
    if status in REFUSED:
        raise AuthenticationFailed(
            f"{row.name or row.id} refuses this key (status {status}). It was not kept.",
            remedy="Copy it again from the provider's site; it may be cut, revoked, or of another project.",
        )
    return "" if status == 200 else f"It was not tried: {row.name or row.id} answered with status {status}."


def _asked(name: str) -> str:
    """The key, from a terminal without echo, else one line of standard input."""
    if sys.stdin.isatty():
        return getpass.getpass(f"Key of {name} (not shown): ", stream=sys.stderr)
    return from_stdin(sys.stdin.readline)


def _overruled(bound: BoundProvider) -> str:
    if bound.credential_from in ("", "trivium login"):
        return ""
    return f"The key from {bound.credential_from} is set too, and goes first."
