"""How large a request is: its provider's word where that has one, else an estimate of ours."""

from __future__ import annotations

from trivium.dialects import suited
from trivium.dialects.base import AnswerContext, Dialect
from trivium.gateway.needs import BYTES_PER_TOKEN
from trivium.gateway.reasons import no_endpoint
from trivium.gateway.snapshot import Snapshot
from trivium.gateway.wish import Wish
from trivium.types.response import Response
from trivium.types.usage import Usage


def estimate(snapshot: Snapshot, dialect: Dialect, body: bytes, wish: Wish) -> bytes | None:
    """The answer in a caller's dialect, where the endpoint that would serve cannot be asked in it; None: ask that.

    Raises InvalidRequest, NotFound, and NoEndpoint where nobody would serve.
    """
    head = dialect.peek(body, wish.addressed)
    found = snapshot.usual_plan(head.model, head.models, wish.data_class, frozenset(), wish.key)
    if not found.endpoints:
        raise no_endpoint(found)
    if suited(found.endpoints[0].dialects, dialect, dialect.operation) is dialect:
        return None
    dialect.parse_request(body, wish.addressed)
    size = len(body) - dialect.media(head.messages).payload_bytes
    usage = Usage(input_tokens=size // BYTES_PER_TOKEN, estimated=True)
    context = AnswerContext(id="", model=head.model, created=0)
    return dialect.encode_answer(Response(usage=usage), context).body
