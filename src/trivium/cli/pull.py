"""Fetching a model while a person looks on: what would come, a question, a progress bar."""

from __future__ import annotations

import os
import shlex

from trivium.cli.terminal import confirm, err, interactive, note, size
from trivium.config import shipped
from trivium.config.home import Paths
from trivium.config.schema import Config
from trivium.engines.gguf import GGUFError
from trivium.engines.pull import Offer, Puller, describe, pull
from trivium.engines.store import Manifest, Store
from trivium.errors import UsageError


def puller_of(config: Config) -> Puller:
    return Puller(
        store=Store(Paths(config.home).models),
        rows=shipped.catalog().local_models,
        env=os.environ,
        offline=config.offline,
    )


def offer_and_pull(config: Config, reference: str, *, name: str | None = None, yes: bool = False) -> Manifest | None:
    """Show what would come, ask unless `yes`, fetch it. None: the person said no.

    Raises UsageError where there is nobody to ask, and what `engines.pull.pull` raises. An interruption passes
    as KeyboardInterrupt once the command that goes on is named.
    """
    puller = puller_of(config)
    offer = describe(puller, reference, name=name)
    for line in offer_lines(offer):
        note(line)
    if not yes and not interactive():
        raise UsageError("Nobody can be asked whether to fetch it.", remedy="Add `--yes` to fetch it unasked.")
    if not yes and not confirm("Fetch it?"):
        return None
    try:
        return _with_bar(puller, offer, name)
    except GGUFError as error:
        raise UsageError(f"`{reference}` cannot be used: {error}.", remedy="Name a whole .gguf file.") from error
    except KeyboardInterrupt:
        more = f" --name {shlex.quote(name)}" if name else ""
        note(f"Stopped. What is here stays; go on with: trivium models pull {shlex.quote(reference)}{more} --yes")
        raise


def offer_lines(offer: Offer) -> list[str]:
    """What a person should know before the first byte."""
    amount = size(offer.size)
    if offer.download_size and offer.download_size != offer.size:
        amount += f" on disk, {size(offer.download_size)} to fetch"
    lines = [
        f"Model    {offer.name}" + (f" ({offer.note})" if offer.note else ""),
        f"Source   {offer.source}",
        f"Size     {amount}",
        f"Licence  {offer.licence or 'unknown'}",
    ]
    return [*lines, "Its owner asks for consent before it can be fetched."] if offer.gated else lines


def _with_bar(puller: Puller, offer: Offer, name: str | None) -> Manifest:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    speed = (TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, *speed, console=err()) as bar:
        task = bar.add_task(offer.name, total=offer.download_size or offer.size)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        return pull(puller, offer.reference, name=name, progress=show)
