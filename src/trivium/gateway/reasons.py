"""Reasons: why an endpoint cannot serve a request or did not answer it, in words for callers."""

from __future__ import annotations

from trivium.errors import (
    ContextLengthExceeded,
    EngineUnavailable,
    InvalidRequest,
    NoEndpoint,
    PaymentRequired,
    PermissionDenied,
    TriviumError,
)
from trivium.routing.plan import Plan


def no_endpoint(plan: Plan) -> TriviumError:
    """Why nothing can serve: a single clear reason has its own error, else all are listed."""
    reasons = {rejected.reason for rejected in plan.rejected}
    text = "; ".join(f"`{rejected.endpoint}`: {rejected.detail}" for rejected in plan.rejected)
    message = f"No endpoint can serve `{plan.requested}`: {text or 'the route has no targets'}."
    if not reasons:
        return NoEndpoint(message, remedy="Give the route targets.")
    if reasons == {"not_pulled"}:
        return EngineUnavailable(message)
    if reasons == {"budget"}:
        return PaymentRequired(message)
    if reasons <= {"allowed_models", "allowed_roads"}:
        return PermissionDenied(message)
    if reasons == {"context_length"}:
        return ContextLengthExceeded(message, remedy="Shorten the conversation, or choose a larger window.")
    if reasons <= {"capability", "context_length", "output_length", "operation"}:
        return InvalidRequest(message, remedy="Choose a model that can do it.", param="model")
    return NoEndpoint(message, remedy="`trivium doctor` shows what is reachable and what would answer.")


PHRASES = {
    "upstream_timeout": "timed out",
    "upstream_unreachable": "could not be reached",
    "upstream_tls_error": "failed the TLS check",
    "upstream_cut": "broke off",
    "upstream_protocol_error": "sent a broken answer",
    "upstream_auth_error": "refused its key",
    "upstream_token_error": "has no token",
    "upstream_rate_limited": "is rate limited",
    "upstream_quota_exhausted": "is out of quota",
    "upstream_overloaded": "is overloaded",
    "upstream_server_error": "had a server error",
    "upstream_not_found": "does not know the model",
    "upstream_differs": "says something else",
    "context_length_exceeded": "has too small a window",
    "engine_unavailable": "could not be started",
    "payment_required": "would exceed today's budget",
}


PASSED_OVER = {
    "breaker_open": "is failing",
    "rate_limited": PHRASES["upstream_rate_limited"],
    "credential": PHRASES["upstream_auth_error"],
    "not_found": PHRASES["upstream_not_found"],
}
"""Why an endpoint is not even asked, by what is held against it."""


def reason(provider: str, error: TriviumError) -> str:
    """Why the first choice did not answer, for people: `openai timed out`."""
    return f"{provider} {PHRASES.get(error.kind, 'failed')}"
