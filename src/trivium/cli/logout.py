"""`trivium logout`: a kept key, forgotten."""

from __future__ import annotations

from trivium.cli.call import provider_named
from trivium.cli.terminal import OPTIONS, Options, note, print_json
from trivium.config import credentials
from trivium.errors import NotFound


def logout(provider: str, /, *, options: Options = OPTIONS) -> None:
    """Forget the key that `trivium login` kept.

    Args:
        provider: The provider's id, as `trivium providers` lists it.
    """
    config = options.load()
    if not credentials.remove(config.home, provider):
        bound = provider_named(config, provider)
        where = bound.credential_from
        remedy = f"Its key comes from {where}: take it away there." if where not in ("", "trivium login") else ""
        raise NotFound(f"No key of {bound.row.name or provider} is kept.", remedy=remedy)
    if options.json:
        print_json({"provider": provider, "removed": True})
        return
    note(f"The key of {provider} is forgotten.")
