"""A provider's own API, called with a key because a person asked for it: is the key good, which models are there."""

from __future__ import annotations

import os

import httpx2

from trivium.cli.terminal import no_such
from trivium.config.origin import origin_of
from trivium.config.schema import BoundProvider, Config
from trivium.dialects import get as dialect_named
from trivium.errors import TriviumError, UpstreamUnreachable, UsageError
from trivium.transport import egress
from trivium.types.origin import parse_origin

ANSWER_BYTES_MAX = 16 << 20
"""No list of models is longer."""
CALL_S = 60.0
REFUSED = (400, 401, 403)
"""What a key check answers to a key that is not valid; some providers call it a bad request."""


def provider_named(config: Config, provider: str) -> BoundProvider:
    """A provider by its id. Raises UsageError with the nearest ids."""
    bound = config.providers.get(provider)
    if bound is None:
        raise no_such("provider", provider, config.providers, "`trivium providers` lists them.")
    return bound


def check_place(bound: BoundProvider) -> None:
    """Raises UsageError for a provider that is served at an address of the user's own, which nobody has said."""
    if names := bound.row.places:
        remedy = f"Set {' and '.join(names)}, or write its `base_url` under [[providers]]: {bound.row.base_url}"
        raise UsageError(f"{bound.row.name} is served at an address of your own.", remedy=remedy)


def key_of(config: Config, bound: BoundProvider) -> str:
    """A provider's key or token; empty where it has none. Raises UpstreamTokenError where its command gives none."""
    if bound.token is None:
        return bound.credential.reveal() if bound.credential is not None else ""
    from trivium.access.token import fetch

    return fetch(bound.row.id, bound.token, config.home).secret.reveal()


def call(config: Config, bound: BoundProvider, path: str, key: str) -> tuple[int, bytes]:
    """GET a path below a provider's base URL: the status, and the answer's first `ANSWER_BYTES_MAX` bytes and one.

    The key goes to the configured origin only, redirects are not followed. Raises UpstreamUnreachable and other
    UpstreamErrors, UsageError for a provider without an address.
    """
    row = bound.row
    check_place(bound)
    named = {"authorization": f"Bearer {key}"} if row.auth == "bearer" else {row.auth: key}
    headers = {**dialect_named(row.dialect).headers, **row.headers, **(named if key else {})}
    trusted = [parse_origin(row.base_url)] if bound.trusted_origin else []
    try:
        with (
            egress.client(env=os.environ, offline=config.offline, trusted=trusted, total_s=CALL_S) as client,
            client.stream("GET", row.base_url + path, headers=headers) as response,
        ):
            body = bytearray()
            for block in response.iter_bytes(1 << 16):
                body += block
                if len(body) > ANSWER_BYTES_MAX:
                    break
            return response.status_code, bytes(body[: ANSWER_BYTES_MAX + 1])
    except httpx2.HTTPError as error:
        raise UpstreamUnreachable(f"{origin_of(row.base_url)} could not be reached ({error}).") from error


def check_key(config: Config, bound: BoundProvider, key: str) -> tuple[bool | None, str]:
    """Whether a key works, by the provider's free call, and why not; None: that could not be found out."""
    row = bound.row
    if config.offline:
        return None, "Trivium works offline."
    if row.key_check is None:
        return None, "no free call that tells is known."
    try:
        status, _ = call(config, bound, row.key_check, key)
    except TriviumError as error:
        return None, error.message
    if status in REFUSED:
        return False, f"{row.name or row.id} refuses this key (status {status})."
    return (True, "") if status == 200 else (None, f"{row.name or row.id} answered with status {status}.")
