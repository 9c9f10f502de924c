"""Bringing one large file over HTTP to this disk: resumed, verified, never half under its final name.

Redirects are followed here, because weights live behind them: https only, unless the place that was configured is
itself plain http, and a credential never leaves the origin that it is for.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx2
import msgspec

from trivium.config.origin import is_loopback, place_of
from trivium.config.private import read
from trivium.engines.store import Progress, Store, digest_of
from trivium.errors import (
    Unavailable,
    UpstreamAuthError,
    UpstreamNotFound,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamUnreachable,
)
from trivium.transport.platform import FileLock
from trivium.types.secret import Secret

_REDIRECTS_MAX = 8
_FAILURES_MAX = 5  # in a row without a byte of progress
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_POLL_S = 0.2


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One file to fetch, and what is known of it beforehand. `authorization` is for the origin of `url` alone."""

    url: str
    digest: str | None
    size: int | None
    authorization: Secret | None = None


class WrongContent(UpstreamProtocolError):
    """What came is not what was promised; the part is deleted."""


class _Interrupted(Exception):
    """The transfer stopped short, and trying again may help."""


class _Validator(msgspec.Struct, frozen=True):
    """What a part belongs to; a server that no longer has it sends all again."""

    url: str
    tag: str


def shown(url: str) -> str:
    """`url` for people: without credentials, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return SplitResult(parts.scheme, host, parts.path, "", "").geturl()


@contextmanager
def request(
    client: httpx2.Client,
    method: str,
    url: str,
    *,
    headers: dict[str, str] | None = None,
    authorization: Secret | None = None,
    follow: bool = True,
) -> Generator[httpx2.Response]:
    """The streamed response of `url`, or with `follow` of where it finally leads.

    Raises UpstreamUnreachable; WrongContent for a redirect that goes nowhere or to an unsafe scheme.
    """
    start, at = url, url
    for _ in range(_REDIRECTS_MAX):
        sent = {"accept-encoding": "identity", **(headers or {})}
        if authorization and place_of(at) == place_of(start):
            sent["authorization"] = authorization.reveal()
        built = client.build_request(method, at, headers=sent)
        response: httpx2.Response | None = None
        try:
            response = client.send(built, stream=True, auth=None, follow_redirects=False)
            location = response.headers.get("location")
            if not (follow and response.is_redirect and location):
                yield response
                return
        except httpx2.RequestError as error:
            raise UpstreamUnreachable(
                f"{shown(at)} cannot be reached: {error or type(error).__name__}.",
                remedy="`trivium doctor` shows proxies, certificates and what can be reached.",
            ) from error
        finally:
            if response is not None:
                response.close()
        at = urljoin(at, location)
        if not _safe(start, at):
            raise WrongContent(f"{shown(start)} leads to {shown(at)}, which is not safe to follow.")
    raise WrongContent(f"{shown(start)} leads from one place to the next without end.")


def _safe(start: str, hop: str) -> bool:
    if urlsplit(hop).username is not None:
        return False
    scheme, host, _ = place_of(hop)
    if scheme == "https":
        return True
    loopback = is_loopback(place_of(start)[1]) and is_loopback(host)
    return scheme == "http" and urlsplit(start).scheme == "http" and (loopback or place_of(hop) == place_of(start))


def check(response: httpx2.Response, what: str) -> None:
    """Raise the error that a status of 400 and above means; `what` names the thing asked for."""
    status = response.status_code
    if status < 400:
        return
    if status in (401, 403):
        raise UpstreamAuthError(
            f"Access to {what} is denied ({status}).",
            remedy="It may be gated or private: accept its terms at its source and set the token (HF_TOKEN).",
            upstream_status=status,
        )
    if status in (404, 410):
        raise UpstreamNotFound(f"{what} was not found ({status}).", remedy="Check its name.", upstream_status=status)
    raise UpstreamRejected(f"{what} was refused ({status}).", upstream_status=status)


def whole(response: httpx2.Response, most: int) -> bytes:
    """The body of a response; raises WrongContent where it is longer than `most` bytes."""
    body = bytearray()
    for block in response.iter_bytes():
        body += block
        if len(body) > most:
            raise WrongContent(f"{shown(str(response.url))} answers with more than {most} bytes.")
    return bytes(body)


def fetch(
    client: httpx2.Client,
    item: Item,
    part: Path,
    *,
    progress: Progress,
    sleep: Callable[[float], object] = time.sleep,
) -> str:
    """Bring `item` into the file `part`, going on where an earlier try stopped; returns its digest.

    An interrupted part stays; one with the wrong digest or size is deleted (WrongContent). The bytes are on disk
    (fsync) when this returns. Raises UpstreamUnreachable after repeated failures, Unavailable when the disk is full.
    """
    failures = 0
    while True:
        before = _size(part)
        try:
            _transfer(client, item, part, progress)
            break
        except (_Interrupted, UpstreamUnreachable) as error:
            failures = failures + 1 if _size(part) <= before else 1
            if failures >= _FAILURES_MAX:
                raise UpstreamUnreachable(
                    f"The download of {shown(item.url)} stopped: {error}", remedy="The same command resumes it."
                ) from error
            sleep(min(0.25 * 2**failures, 8.0))
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise _disk_full(part.parent, item.size) from error
            raise
    digest = digest_of(part)
    if item.digest is not None and digest != item.digest:
        discard(part)
        raise WrongContent(
            f"{shown(item.url)} is not the file that was expected: its {digest}, expected {item.digest}.",
            remedy="Nothing of it was kept. Its source may have changed or be damaged.",
        )
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    return digest


def _transfer(client: httpx2.Client, item: Item, part: Path, progress: Progress) -> None:
    """One request; raises _Interrupted when it ends before the last byte."""
    have, validator = _size(part), _read_validator(part, item)
    headers: dict[str, str] = {}
    if have and have == item.size:
        return
    if have and (validator or item.digest):  # a pinned digest needs no validator: a mixed file would not pass
        headers["range"] = f"bytes={have}-"
        if validator:
            headers["if-range"] = validator
    with request(client, "GET", item.url, headers=headers, authorization=item.authorization) as response:
        if response.status_code == 416 or response.status_code >= 500 or response.status_code == 429:
            if response.status_code == 416:
                discard(part)
            raise _Interrupted(f"the server answered {response.status_code}.")
        check(response, shown(item.url))
        start, total = _span(response, have)
        if item.size is not None and total is not None and total != item.size:
            discard(part)
            raise WrongContent(f"{shown(item.url)} has {total} bytes, expected {item.size}.")
        _write_validator(part, item, response)
        done = _write(response, part, start, item.size or total, progress)
    if total is not None and done < total:
        raise _Interrupted(f"{done} of {total} bytes came.")


def _span(response: httpx2.Response, have: int) -> tuple[int, int | None]:
    """Where the body begins in the file, and the size of the file."""
    if response.status_code == 206:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if found and int(found[1]) == have:
            return have, int(found[2])
        raise WrongContent("The server sent another range than it was asked for.")
    length = response.headers.get("content-length", "")
    return 0, int(length) if length.isdecimal() else None


def _write(response: httpx2.Response, part: Path, start: int, most: int | None, progress: Progress) -> int:
    done = start
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.truncate()
        progress(done, most)
        try:
            for block in response.iter_raw():  # as they come: a cut loses nothing that is held back
                done += len(block)
                if most is not None and done > most:
                    raise WrongContent(f"More than the {most} bytes that were announced came.")
                file.write(block)
                file.flush()  # nor does a kill
                progress(done, most)
        except httpx2.TransportError as error:
            raise _Interrupted(f"{error or type(error).__name__}.") from error
    return done


def need_space(folder: Path, need: int | None) -> None:
    """Raise Unavailable, with both figures, unless the disk of `folder` has room for `need` bytes."""
    if need is not None and shutil.disk_usage(folder).free < need:
        raise _disk_full(folder, need)


def _disk_full(folder: Path, need: int | None) -> Unavailable:
    free = shutil.disk_usage(folder).free
    return Unavailable(
        f"The disk of {folder} is full: {free >> 20} MiB are free"
        + (f", {need >> 20} MiB are needed." if need is not None else "."),
        remedy="`trivium models remove NAME` frees the space of a model; then the same command resumes.",
    )


@contextmanager
def alone(store: Store, digest: str, part: Path, size: int | None, progress: Progress) -> Generator[None]:
    """Hold the lock of `digest`; while another process has it, its progress is shown."""
    lock = FileLock(store.locks / f"{digest.replace(':', '-')}.lock")
    while not lock.acquire():
        progress(_size(part), size)
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        lock.release()


def discard(part: Path) -> None:
    """Delete a part, if it is there still, and what is noted about it."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_validator(part: Path, item: Item) -> str:
    noted = read(_note(part), _Validator)
    return noted.tag if noted and noted.url == shown(item.url) else ""


def _write_validator(part: Path, item: Item, response: httpx2.Response) -> None:
    tag = response.headers.get("etag", "")
    if not tag.startswith('"'):  # a weak one does not promise equal bytes (RFC 9110, 13.1.5)
        tag = response.headers.get("last-modified", "")
    _note(part).write_bytes(msgspec.json.encode(_Validator(shown(item.url), tag)))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
