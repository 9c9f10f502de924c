"""Images that a request names by URL, fetched where the target takes bytes only.

Whoever fetches them is seen by the URL's owner and could be led into a private network: so only public https addresses
are contacted, vetted at each connection, no redirect is followed, nothing but the request for the image is sent, and
a request that must not leave the premises is refused.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable

import httpx2
import msgspec

from trivium.errors import InvalidRequest, TriviumError
from trivium.gateway.needs import image_urls
from trivium.transport import egress
from trivium.types.data import DataClass
from trivium.types.message import Image, Message, Part, ToolResult
from trivium.types.request import Request

IMAGES_MAX = 16
IMAGE_BYTES_MAX = 20 << 20
ALL_BYTES_MAX = 48 << 20
TOTAL_S = 15.0
_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")

Client = Callable[[], httpx2.Client]


def client(offline: bool) -> Client:
    """What makes a client for them."""
    timeout = httpx2.Timeout(10.0, connect=5.0)
    return lambda: egress.client(env=os.environ, offline=offline, timeout=timeout, total_s=TOTAL_S)


def inlined(request: Request, data_class: DataClass, made: Client) -> Request:
    """The request with the bytes of its images in the place of their URLs; it waits, so it wants a thread.

    Raises InvalidRequest with what is wrong with a URL, and what to do.
    """
    urls = image_urls(request)
    if data_class >= DataClass.PREMISES:
        raise _refused("it would be fetched from elsewhere, and the request must not leave the premises")
    if len(urls) > IMAGES_MAX:
        raise _refused(f"there are {len(urls)}, and at most {IMAGES_MAX} are fetched")
    found: dict[str, Image] = {}
    left = ALL_BYTES_MAX
    with made() as http:
        for url in urls:
            kind, data = _load(http, url, min(left, IMAGE_BYTES_MAX))
            left -= len(data)
            found[url] = Image(data=base64.b64encode(data).decode(), media_type=kind)
    return msgspec.structs.replace(request, messages=tuple(_filled(message, found) for message in request.messages))


def _load(http: httpx2.Client, url: str, bytes_max: int) -> tuple[str, bytes]:
    if not url.lower().startswith("https://"):
        raise _refused("it is no `https:` URL")
    data = bytearray()
    try:
        with http.stream("GET", url, headers={"accept": ", ".join(_TYPES)}) as answer:
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            if answer.status_code != 200:
                raise _refused(f"its server answered {answer.status_code}")
            if kind not in _TYPES:
                raise _refused("what is there is no PNG, JPEG, GIF or WebP")
            for piece in answer.iter_bytes():
                data += piece
                if len(data) > bytes_max:
                    raise _refused(f"it is larger than {bytes_max} bytes, or all of them are")
    except httpx2.TimeoutException:
        raise _refused("it did not come in time") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        raise _refused("it could not be fetched") from None
    except InvalidRequest:
        raise
    except TriviumError as error:
        raise _refused(error.message.rstrip(".")) from None
    return kind, bytes(data)


def _filled(message: Message, found: dict[str, Image]) -> Message:
    return msgspec.structs.replace(message, parts=tuple(_with_bytes(part, found) for part in message.parts))


def _with_bytes(part: Part, found: dict[str, Image]) -> Part:
    if isinstance(part, ToolResult):
        return msgspec.structs.replace(part, parts=tuple(_with_bytes(inner, found) for inner in part.parts))
    if isinstance(part, Image) and part.url in found:
        return msgspec.structs.replace(found[part.url], detail=part.detail, cache=part.cache)
    return part


def _refused(why: str) -> InvalidRequest:
    # The URL itself stays out: it may carry a credential of its owner's.
    return InvalidRequest(
        f"An image cannot be fetched by its URL: {why}.",
        remedy="Send the image itself, as base64, or choose a model whose provider takes URLs.",
        param="messages",
    )
