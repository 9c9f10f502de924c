"""The `hf:` source: a GGUF file in a repository of the model hub, by the hub's `resolve` URLs.

The revision is resolved to a commit, and the digest read from the large-file metadata, before any byte is fetched.
Headers: https://huggingface.co/docs/huggingface_hub/package_reference/file_download (`get_hf_file_metadata`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec

from trivium.config.credentials import is_sendable
from trivium.config.origin import is_loopback, place_of
from trivium.engines import download
from trivium.errors import UpstreamError, UsageError
from trivium.types.secret import Secret

PUBLIC_HUB = "https://huggingface.co"

_REFERENCE = re.compile(
    r"hf:(?P<owner>[A-Za-z0-9][A-Za-z0-9._-]{0,95})/(?P<repo>[A-Za-z0-9][A-Za-z0-9._-]{0,95})"
    r"(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._-]{0,95}))?/(?P<path>[A-Za-z0-9_][A-Za-z0-9._/ +-]{0,250}\.gguf)"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r'"?([0-9a-f]{64})"?')
_INFO_MAX_BYTES = 16 << 20


class Reference(msgspec.Struct, frozen=True):
    """`hf:owner/repo[@revision]/path.gguf`."""

    owner: str
    repo: str
    revision: str
    path: str

    def __str__(self) -> str:
        return f"hf:{self.owner}/{self.repo}@{self.revision}/{self.path}"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the hub, resolved: its commit, where its bytes are, what they are."""

    reference: Reference
    item: download.Item
    licence: str = ""
    gated: bool = False


def parse(text: str) -> Reference:
    """Read a reference; raises UsageError."""
    found = _REFERENCE.fullmatch(text)
    if found is None or ".." in text or "//" in text:
        raise UsageError(
            f"`{text[:160]}` is no reference to a file of the hub.",
            remedy="Write `hf:OWNER/REPO[@REVISION]/FILE.gguf`.",
        )
    return Reference(found["owner"], found["repo"], found["revision"] or "main", found["path"])


def endpoint(env: Mapping[str, str]) -> str:
    """The hub's base URL; raises UsageError for plain http beyond this machine, where a token would be readable."""
    base = (env.get("HF_ENDPOINT") or PUBLIC_HUB).rstrip("/")
    try:
        scheme, host, _ = place_of(base)
    except ValueError:
        raise UsageError("HF_ENDPOINT is no URL.") from None
    if scheme != "https" and not (scheme == "http" and is_loopback(host)):
        raise UsageError(f"HF_ENDPOINT must be an https URL, not `{download.shown(base)}`.")
    return base


def resolve(client: httpx2.Client, reference: Reference, env: Mapping[str, str]) -> File:
    """Ask the hub which commit and bytes a reference means.

    Raises UpstreamNotFound, UpstreamAuthError (gated or private), UpstreamUnreachable, WrongContent when the hub
    states no digest, UsageError for a token that is none.
    """
    base, token = endpoint(env), env.get("HF_TOKEN", "").strip()
    if token and not is_sendable(token):
        raise UsageError("HF_TOKEN has characters that no header can carry.", remedy="Copy it again, or unset it.")
    authorization = Secret(f"Bearer {token}") if token else None
    repository, path = f"{reference.owner}/{reference.repo}", quote(reference.path)
    url = f"{base}/{repository}/resolve/{reference.revision}/{path}"
    with download.request(client, "HEAD", url, authorization=authorization, follow=False) as response:
        download.check(response, f"`{reference}`")
        headers = response.headers
    commit = headers.get("x-repo-commit", "")
    digest = _SHA256.fullmatch(headers.get("x-linked-etag", ""))
    size = headers.get("x-linked-size", "")
    if not _COMMIT.fullmatch(commit) or digest is None or not size.isdecimal():
        raise download.WrongContent(f"The hub at {download.shown(base)} does not say what `{reference}` is.")
    licence, gated = _card(client, f"{base}/api/models/{repository}/revision/{commit}", authorization)
    return File(
        reference=Reference(reference.owner, reference.repo, commit, reference.path),
        item=download.Item(
            url=f"{base}/{repository}/resolve/{commit}/{path}",
            digest=f"sha256:{digest[1]}",
            size=int(size),
            authorization=authorization,
        ),
        licence=licence,
        gated=gated,
    )


def _card(client: httpx2.Client, url: str, authorization: Secret | None) -> tuple[str, bool]:
    """Licence id and whether access is gated; an empty licence is unknown."""
    try:
        with download.request(client, "GET", url, authorization=authorization) as response:
            info = msgspec.json.decode(download.whole(response, _INFO_MAX_BYTES), type=dict[str, Any])
    except (UpstreamError, msgspec.DecodeError):
        return "", False
    card: object = info.get("cardData")
    licence = msgspec.to_builtins(card).get("license", "") if isinstance(card, dict) else ""
    return licence if isinstance(licence, str) else "", bool(info.get("gated"))


def cached(reference: Reference, env: Mapping[str, str]) -> Path | None:
    """The file in the hub's own cache on this machine, if it is there."""
    home = env.get("HF_HOME") or f"{env.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/huggingface"
    folder = Path(env.get("HF_HUB_CACHE") or f"{home}/hub") / f"models--{reference.owner}--{reference.repo}"
    try:
        commit = (folder / "refs" / reference.revision).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        commit = reference.revision
    path = folder / "snapshots" / commit / reference.path
    return path if _COMMIT.fullmatch(commit) and path.is_file() else None
