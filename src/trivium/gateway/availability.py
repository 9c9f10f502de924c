"""Availability: why nobody served a request, as clients of routing services act on it.

Source: section 13 of OpenRouter's contract. `told` looks at each error that ends a request, on no other path.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from trivium.errors import (
    Availability,
    Constraint,
    InvalidRequest,
    NoEndpoint,
    NotFound,
    PermissionDenied,
    RateLimited,
    TriviumError,
    Unavailable,
    UpstreamError,
    UpstreamNotFound,
    UpstreamRateLimited,
)
from trivium.routing.plan import Plan

if TYPE_CHECKING:
    from trivium.gateway.exchange import Exchange

DOCS = "docs/openrouter.md#"
"""Where the codes are explained."""
STATUSES = {
    "model_not_found": 400,
    "wrong_endpoint": 400,
    "no_endpoints": 404,
    "model_deprecated": 404,
    "model_unavailable_upstream": 404,
    "privacy_restricted": 404,
    "constraint_filtered": 404,
    "free_variant_ended": 404,
    "region_restricted": 403,
    "capacity_exhausted": 429,
    "temporarily_unavailable": 503,
}
"""The closed set of codes, each with its HTTP status."""
RETRYABLE = frozenset({"capacity_exhausted", "temporarily_unavailable"})

EXCLUDED_BY = {
    "data_class": "data_class",
    "data_policy:zdr": "data_policy:zdr",
    "data_policy:training": "data_policy:training",
    "max_price": "max_price",
    "quantization": "quantization",
    "require_parameters": "require_parameters",
    "capability": "require_parameters",
    "context_length": "context_length",
    "output_length": "context_length",
    "allowed_providers": "allowed_providers",
    "allowed_models": "allowed_providers",
    "allowed_roads": "allowed_providers",
    "road": "allowed_providers",
    "fallback": "allowed_providers",
    "distillable_text": "allowed_providers",
    "budget": "budget",
}
"""Reasons of a plan that are constraints, in the contract's words; the others say that an endpoint cannot be had."""
_PRIVACY = frozenset({"data_class", "data_policy:zdr", "data_policy:training"})
_REGION = "unsupported_country_region_territory"
"""An upstream's code where it does not serve the country that a request comes from."""


def told(exchange: Exchange, error: TriviumError) -> TriviumError:
    """The error that ends a request with what is known of why; another one where the contract has it so."""
    if error is exchange.runtime.ending:
        return error  # it is that of all requests
    failures = tuple(failure for _, failure in exchange.failures)
    error.previous = failures[:-1] if failures and failures[-1] is error else failures
    code = _code(exchange, error, failures)
    if not code:
        return error
    theirs = error.availability
    if exchange.wish.service and error.status != STATUSES[code]:
        error = _under(STATUSES[code], error)
    error.availability = _availability(exchange, error, code, theirs)
    return error


_KINDS: dict[int, type[TriviumError]] = {
    400: InvalidRequest,
    403: PermissionDenied,
    404: NoEndpoint,
    429: RateLimited,
    503: Unavailable,
}


def _under(status: int, error: TriviumError) -> TriviumError:
    """An error under the status that this contract has for it, and of a kind that goes with that."""
    made = _KINDS.get(status, type(error))(error.message, remedy=error.remedy, param=error.param)
    made.status, made.previous, made.retry_after_s = status, error.previous, error.retry_after_s
    return made


def _code(exchange: Exchange, error: TriviumError, failures: tuple[TriviumError, ...]) -> str:
    plan = exchange.plan
    if error.availability is not None and error.availability.code in STATUSES:
        return error.availability.code
    if plan is None:
        return "model_not_found" if isinstance(error, NotFound) and error.param == "model" else ""
    if not plan.endpoints:
        return _unplanned(plan, error)
    if not isinstance(error, UpstreamError) or exchange.released:
        return ""
    if error.provider_code == _REGION:
        return "region_restricted"
    for kind, code in ((UpstreamNotFound, "model_unavailable_upstream"), (UpstreamRateLimited, "capacity_exhausted")):
        if isinstance(error, kind):
            return code if all(isinstance(one, kind) for one in failures) else ""
    tried = {endpoint.id for endpoint, _ in exchange.failures}
    down = all(one.status in (502, 503, 504) for one in failures)
    return "temporarily_unavailable" if down and (len(tried) > 1 or error.status == 503) else ""


def _unplanned(plan: Plan, error: TriviumError) -> str:
    """The code for a plan without endpoints, by what rejected them."""
    reasons = {one.reason for one in plan.rejected}
    if error.status not in (400, 404):
        return ""
    if reasons == {"operation"}:
        return "wrong_endpoint"
    if error.status == 400:
        return ""
    if reasons == {"retired"}:
        return "free_variant_ended" if plan.requested.endswith(":free") else "model_deprecated"
    if reasons and reasons <= _PRIVACY:
        return "privacy_restricted"
    return "constraint_filtered" if reasons & EXCLUDED_BY.keys() else "no_endpoints"


def _availability(exchange: Exchange, error: TriviumError, code: str, told: Availability | None) -> Availability:
    plan, head = exchange.plan, exchange.head
    models = (exchange.model, *(head.models if head is not None else ()))
    rejected = plan.rejected if plan is not None and not plan.endpoints else ()
    waits = [failure.retry_after_s for _, failure in exchange.failures if failure.retry_after_s is not None]
    wait = error.retry_after_s = min(waits, default=error.retry_after_s)
    providers = dict.fromkeys(endpoint.provider.id for endpoint, _ in exchange.failures)
    return Availability(
        code=code,
        retryable=code in RETRYABLE if told is None else told.retryable,
        requested_models=models,
        docs_url=DOCS + code,
        retry_after=None if wait is None or code not in RETRYABLE else max(1, ceil(wait)),
        affected_providers=tuple(providers),
        excluded_by=tuple(dict.fromkeys(EXCLUDED_BY[one.reason] for one in rejected if one.reason in EXCLUDED_BY))
        or (() if told is None else told.excluded_by),
        constraint=_constraint(plan, code) or (None if told is None else told.constraint),
    )


def _constraint(plan: Plan | None, code: str) -> Constraint | None:
    """The one constraint whose end would give a candidate; of a wrong endpoint, where to ask instead."""
    if plan is None or not plan.rejected or plan.endpoints:
        return None
    if code == "wrong_endpoint":
        return Constraint("model", plan.rejected[0].detail)
    if not plan.relaxed:
        return None
    word = plan.relaxed.rpartition(".")[2]
    named = (one for one in plan.rejected if word in _BY_FIELD.get(one.reason, (one.reason,)))
    first = next(named, plan.rejected[0])
    return Constraint(plan.relaxed, f"`{first.endpoint}`: {first.detail}")


_BY_FIELD = {
    "allowed_providers": ("only", "ignore", "allow_fallbacks", "order"),
    "data_policy:zdr": ("zdr",),
    "data_policy:training": ("data_collection",),
    "quantization": ("quantizations",),
    "distillable_text": ("enforce_distillable_text",),
}
"""Reasons, and the fields that they come from, where these are not called the same."""
