"""One clear reason has its own error; several are all told."""

from __future__ import annotations

import pytest

from trivium import errors
from trivium.gateway.reasons import PHRASES, no_endpoint, reason
from trivium.routing.plan import Plan, Rejected
from trivium.routing.route import Route


@pytest.mark.parametrize(
    ("reasons", "kind"),
    [
        (("not_pulled",), errors.EngineUnavailable),
        (("not_pulled", "not_pulled"), errors.EngineUnavailable),
        (("budget",), errors.PaymentRequired),
        (("allowed_models",), errors.PermissionDenied),
        (("allowed_models", "allowed_roads"), errors.PermissionDenied),
        (("capability",), errors.InvalidRequest),
        (("context_length", "context_length"), errors.ContextLengthExceeded),
        (("output_length",), errors.InvalidRequest),
        (("capability", "context_length"), errors.InvalidRequest),
        (("budget", "not_pulled"), errors.NoEndpoint),
        (("allowed_roads", "data_class"), errors.NoEndpoint),
        (("capability", "data_class"), errors.NoEndpoint),
        (("data_class",), errors.NoEndpoint),
        (("credential",), errors.NoEndpoint),
    ],
)
def test_the_error_of_a_plan_without_endpoints(reasons: tuple[str, ...], kind: type[errors.TriviumError]) -> None:
    rejected = tuple(Rejected(f"acme/{n}", of, f"detail {n}") for n, of in enumerate(reasons))
    error = no_endpoint(Plan(requested="big", route=Route(name="big", targets=()), endpoints=(), rejected=rejected))
    assert type(error) is kind
    assert "`big`" in error.message
    assert all(f"`{one.endpoint}`: {one.detail}" in error.message for one in rejected)


def test_every_failure_that_is_routed_around_has_a_phrase() -> None:
    said = {name: reason("acme", kind("")) for name, kind in vars(errors).items() if _upstream(kind)}
    assert len(said) == 16
    # These two stop at once, so nobody is told that they led to a fallback.
    assert {name for name, text in said.items() if text == "acme failed"} == {"UpstreamRefused", "UpstreamRejected"}
    assert reason("acme", errors.EngineUnavailable("")) == "acme could not be started"
    assert len(set(PHRASES.values())) == len(PHRASES)


def _upstream(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, errors.UpstreamError) and kind is not errors.UpstreamError


def test_a_route_without_targets() -> None:
    nothing = Plan(requested="r", route=Route(name="r", targets=()), endpoints=())
    assert type(no_endpoint(nothing)) is errors.NoEndpoint
