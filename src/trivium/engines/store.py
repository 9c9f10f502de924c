"""Models on this machine's disk: content-addressed blobs and one small manifest a name.

Under its root (`$TRIVIUM_HOME/models`)::

    blobs/sha256-<hex>      weights, named by what they are
    manifests/<name>.json   a name, and which blob or outside file it means
    partial/                downloads under way
    locks/                  one a digest being fetched, one for the store

A local file is linked, not copied; where it cannot be (another file system), its manifest refers to it. Both can be
changed by their other owner, so size and time are compared before a use and the digest when they differ.
Names and digests match strict patterns before they touch a path, and the store follows no link of its own making.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from operator import attrgetter
from pathlib import Path

import msgspec

from trivium.config import private
from trivium.config.home import make_private
from trivium.engines import gguf
from trivium.errors import EngineUnavailable, InvalidRequest, NotFound, UsageError
from trivium.transport.platform import FileLock

Progress = Callable[[int, int | None], object]
"""Called with bytes done and bytes in all (None: unknown)."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]|\.(?!\.)){0,126}(?<!\.)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_READ_BYTES = 1 << 20


class Weights(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The file: in `blobs/`, or at `path` outside the store. `mtime_ns` is what it was when it was hashed."""

    digest: str
    size: int
    mtime_ns: int
    path: str | None = None


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a name in the store means, and where it came from."""

    name: str
    weights: Weights
    facts: gguf.Facts
    source: str = ""
    """The reference that it was fetched by, with the revision resolved."""
    licence: str = ""
    """An SPDX id; empty: unknown, which is not free."""
    by_path: bool = False
    """A file that was only named by its path, never fetched or added: the last choice where nobody names one."""


def checked_name(name: str) -> str:
    """`name` itself; raises UsageError where it is no name for a model in the store."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name[:80]}` is no name for a model.",
            remedy="Names are lower-case letters, digits, `.`, `_` and `-`, and begin with a letter or digit.",
        )
    return name


def name_for(file_name: str) -> str:
    """The name that a file of this name gets: `SmolLM2-135M.Q4_1.gguf` → `smollm2-135m.q4_1`."""
    stem = file_name.removesuffix(".gguf").lower()
    name = re.sub(r"\.{2,}", ".", re.sub(r"[^a-z0-9._-]+", "-", stem)).strip("._-")
    return checked_name(name[:100].rstrip(".") or "model")


def digest_of(path: Path, progress: Progress | None = None) -> str:
    """The digest of a file's bytes; raises OSError."""
    hasher, done, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            hasher.update(block)
            done += len(block)
            if progress is not None:
                progress(done, size)
    return f"sha256:{hasher.hexdigest()}"


class Store:
    """The models under `root`. Every method may be called from several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self.manifests = root / "manifests"
        self.partial = root / "partial"
        self.locks = root / "locks"

    def prepare(self) -> None:
        """Make the folders; raises OSError."""
        for folder in (self.root, self.blobs, self.manifests, self.partial, self.locks):
            make_private(folder)

    def list(self) -> list[Manifest]:
        """Every model by name, those named by path last; a manifest that cannot be read is left out."""
        found = (self._read(path) for path in sorted(self.manifests.glob("*.json")))
        return sorted((manifest for manifest in found if manifest is not None), key=attrgetter("by_path"))

    def find(self, name: str) -> Manifest | None:
        """The model of that name; None for a name that is not there or is none."""
        return self._read(self.manifests / f"{name}.json") if _NAME.fullmatch(name) else None

    def blob(self, digest: str) -> Path:
        """Where the blob of `digest` lies, or would lie; raises InvalidRequest for what is no `sha256:` digest."""
        if not _DIGEST.fullmatch(digest):
            raise InvalidRequest(f"`{digest[:80]}` is no sha256 digest.")
        return self.blobs / digest.replace(":", "-")

    def weights(self, manifest: Manifest) -> Path:
        """The path of a model's file, seen to be what it was when it came.

        Raises EngineUnavailable when it is gone or has other content now.
        """
        stated = manifest.weights
        path = Path(stated.path) if stated.path else self.blob(stated.digest)
        try:
            now = path.stat()
            same = now.st_size == stated.size
            if same and now.st_mtime_ns != stated.mtime_ns:
                same = digest_of(path) == stated.digest
        except OSError as error:
            raise EngineUnavailable(
                f"The file of the model `{manifest.name}` cannot be read: {error}.", remedy=_fetch_again(manifest)
            ) from error
        if not same:
            raise EngineUnavailable(
                f"The file of the model `{manifest.name}` has changed since it was added ({path}).",
                remedy=_fetch_again(manifest),
            )
        return path

    def add(
        self,
        name: str,
        digest: str,
        *,
        source: str = "",
        licence: str = "",
        move: Path | None = None,
        link: Path | None = None,
        by_path: bool = False,
    ) -> Manifest:
        """Give the bytes of `digest` a name: the file to `move` in or to `link` to, else the blob that is there.

        Raises GGUFError when the file is no whole GGUF, UsageError for a bad name, OSError.
        """
        checked_name(name)
        blob = self.blob(digest)
        facts = gguf.read(move or link or blob)
        with self._locked():  # so that nobody collects the blob before its manifest is there
            if move is not None:
                move.replace(blob)
            outside = link if link is not None and not _hard_link(link, blob) else None
            found = (outside or blob).stat()
            path, known = str(outside) if outside else None, self.find(name)
            weights = Weights(digest=digest, size=found.st_size, mtime_ns=found.st_mtime_ns, path=path)
            licence, by_path = licence or facts.licence, by_path and (known is None or known.by_path)
            manifest = Manifest(
                name=name, weights=weights, facts=facts, source=source, licence=licence, by_path=by_path
            )
            private.write(self.manifests / f"{name}.json", msgspec.json.encode(manifest))
        return manifest

    def add_file(
        self, path: Path, *, name: str | None = None, progress: Progress | None = None, by_path: bool = False
    ) -> Manifest:
        """Bring a local GGUF in: hashed once, then linked, or referred to where it cannot be linked.

        A file that is known by its place, size and time is not hashed again. A symbolic link is resolved here,
        once. Raises UsageError for what is no regular file, GGUFError, OSError.
        """
        path = path.resolve(strict=True)
        if not path.is_file():
            raise UsageError(f"`{path}` is not a file.", remedy="Name a .gguf file.")
        known = self._known(path, name)
        if known is not None and known.by_path <= by_path:
            return known
        gguf.read(path)  # a wrong file is refused before the long hashing
        digest = digest_of(path, progress)
        name = name or self._free_name(name_for(path.name), digest)
        return self.add(name, digest, source=f"file:{path}", link=path, by_path=by_path)

    def remove(self, name: str) -> int:
        """Forget a model and delete its blob unless another name means it; returns the bytes freed.

        A file outside the store is never deleted. Raises NotFound.
        """
        with self._locked():
            manifest = self.find(name)
            if manifest is None:
                raise NotFound(f"There is no model `{name[:80]}` in the store.", remedy="`trivium models` lists them.")
            (self.manifests / f"{name}.json").unlink()
            return self._collect()

    def _known(self, path: Path, name: str | None) -> Manifest | None:
        found = path.stat()
        for manifest in self.list():
            stated = manifest.weights
            same = stated.size == found.st_size and stated.mtime_ns == found.st_mtime_ns
            there = bool(stated.path) or self.blob(stated.digest).exists()
            if same and there and manifest.source == f"file:{path}" and name in (None, manifest.name):
                return manifest
        return None

    def _free_name(self, name: str, digest: str) -> str:
        taken = self.find(name)
        if taken is None or taken.weights.digest == digest:
            return name
        return f"{name}-{digest.removeprefix('sha256:')[:8]}"

    def _collect(self) -> int:
        """Delete blobs without a manifest; returns the bytes. The store's lock is held."""
        used = {manifest.weights.digest.replace(":", "-") for manifest in self.list() if not manifest.weights.path}
        freed = 0
        for blob in self.blobs.glob("sha256-*"):
            if blob.name not in used:
                found = blob.stat()
                freed += found.st_size if found.st_nlink == 1 else 0
                blob.unlink()
        return freed

    def _read(self, path: Path) -> Manifest | None:
        manifest = private.read(path, Manifest)
        if manifest is None or manifest.name != path.name.removesuffix(".json"):
            return None
        return manifest if _DIGEST.fullmatch(manifest.weights.digest) else None

    @contextmanager
    def _locked(self) -> Generator[None]:
        self.prepare()
        lock = FileLock(self.locks / "store.lock")
        lock.acquire(blocking=True)
        try:
            yield
        finally:
            lock.release()


def _hard_link(path: Path, blob: Path) -> bool:
    """Whether the blob is there now, linked if need be; False where the file system cannot link."""
    with suppress(OSError):  # it is there; or this is another file system, or one without hard links
        os.link(path, blob)
    return blob.exists()


def _fetch_again(manifest: Manifest) -> str:
    if manifest.source.startswith("file:"):
        return f"Add it again: `trivium models pull {manifest.source.removeprefix('file:')} --name {manifest.name}`."
    return f"Fetch it again: `trivium models remove {manifest.name}`, then `trivium models pull {manifest.name}`."
