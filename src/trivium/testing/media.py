"""The fake upstream beside its chats: pictures, speech, moderation, files and batches, in OpenAI's shapes.

Source: the types of OpenAI's Python library, 2026-11.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from trivium.testing.answers import CREATED, JSON
from trivium.testing.http import Request

SPEECH = b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(range(256)) * 8
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n not much of one").decode()
CONTENT = b'{"custom_id": "1"}\n'
_FIELD = r'name="{}"\r\n(?:[^\r\n]+\r\n)*\r\n(.*?)\r\n--'


def form_field(body: bytes, name: str) -> str:
    """A field of a form (RFC 7578); empty where there is none."""
    found = re.search(_FIELD.format(name).encode(), body, re.DOTALL)
    return found[1].decode("utf-8", "replace") if found else ""


def answer(request: Request, body: JSON | None) -> JSON | bytes | None:
    """What is answered; None for a path that is none of these."""
    path, _, query = request.path.partition("?")
    match request.method, path.removeprefix("/v1").split("/")[1:]:
        case "POST", ["images", "generations"]:
            return {"created": CREATED, "data": [{"b64_json": PICTURE, "revised_prompt": (body or {}).get("prompt")}]}
        case "POST", ["audio", "speech"]:
            return SPEECH
        case "POST", ["audio", "transcriptions"]:
            return {"text": f"{form_field(request.body, 'model')} heard {len(form_field(request.body, 'file'))} bytes"}
        case "POST", ["moderations"]:
            result: JSON = {
                "flagged": False,
                "categories": {},
                "category_scores": {},
                "category_applied_input_types": {},
            }
            return {"id": "modr-1", "model": (body or {}).get("model"), "results": [result]}
        case "POST", ["files"]:
            return _file(form_field(request.body, "purpose"), len(form_field(request.body, "file")))
        case "GET", ["files"]:
            purpose = query.removeprefix("purpose=") or "batch"
            return {"object": "list", "data": [_file(purpose, 1)], "has_more": False, "first_id": None, "last_id": None}
        case "GET", ["files", "file-1", "content"]:
            return CONTENT
        case "GET", ["files", "file-1"]:
            return _file("batch", 1)
        case "DELETE", ["files", "file-1"]:
            return {"id": "file-1", "object": "file", "deleted": True}
        case ("POST", ["batches"]) | ("GET", ["batches", "batch-1"]) | ("POST", ["batches", "batch-1", "cancel"]):
            return _batch((body or {}).get("input_file_id") or "file-1")
        case _:
            return None


def _file(purpose: str, size: int) -> JSON:
    told: JSON = {"id": "file-1", "object": "file", "bytes": size, "created_at": CREATED, "filename": "a.jsonl"}
    return told | {"purpose": purpose, "status": "processed"}


def _batch(file: str) -> JSON:
    told: dict[str, Any] = {"id": "batch-1", "object": "batch", "endpoint": "/v1/chat/completions"}
    return told | {"input_file_id": file, "completion_window": "24h", "status": "validating", "created_at": CREATED}
