"""The one error tree: what can go wrong, whose fault it is and whether trying again helps.

Every leaf fixes four facts once: its `kind` (a stable word for programs), the HTTP `status` that a
caller sees (an error is given another where its caller's contract has that), whether a *new* try may succeed
(`retryable`), and whom to `blame`::

    TriviumError
    ├── CallerError                 blame: client
    │   ├── InvalidRequest          invalid_request            400
    │   ├── ContextLengthExceeded   context_length_exceeded    400
    │   ├── ContentRefused          content_policy_violation   400
    │   ├── AuthenticationFailed    authentication             401
    │   ├── PaymentRequired         payment_required           402
    │   ├── PermissionDenied        permission_denied          403
    │   ├── NotFound                not_found                  404
    │   ├── MethodNotAllowed        method_not_allowed         405
    │   ├── UploadTimeout           request_timeout            408
    │   ├── PayloadTooLarge         payload_too_large          413
    │   ├── UnsupportedMediaType    unsupported_media_type     415
    │   ├── RateLimited             rate_limit_exceeded        429
    │   ├── HeadTooLarge            head_too_large             431
    │   └── ClientGone              client_closed_request      499
    ├── GatewayError                blame: gateway
    │   ├── InternalError           server                     500
    │   ├── NoEndpoint              no_endpoints               404
    │   ├── Unavailable             temporarily_unavailable    503
    │   ├── Draining                draining                   503
    │   ├── LedgerUnavailable       ledger_unavailable         503
    │   └── EngineUnavailable       engine_unavailable         503
    ├── UpstreamError               blame: upstream
    │   ├── UpstreamUnreachable     upstream_unreachable       502   refused, reset, no name, no route
    │   ├── UpstreamTLSError        upstream_tls_error         502
    │   ├── UpstreamTimeout         upstream_timeout           504
    │   ├── UpstreamCut             upstream_cut               502   ended without its terminal event
    │   ├── UpstreamProtocolError   upstream_protocol_error    502   not what its dialect promises
    │   ├── UpstreamAuthError       upstream_auth_error        502   our credential, never the caller's
    │   ├── UpstreamTokenError      upstream_token_error       502   our command says no credential
    │   ├── UpstreamRateLimited     upstream_rate_limited      429
    │   ├── UpstreamQuotaExhausted  upstream_quota_exhausted   429
    │   ├── UpstreamOverloaded      upstream_overloaded        503   503 and 529
    │   ├── UpstreamServerError     upstream_server_error      502   any other 5xx
    │   ├── UpstreamNotFound        upstream_not_found         404   the provider knows no such model
    │   ├── UpstreamContextLength   context_length_exceeded    400
    │   ├── UpstreamDiffers         upstream_differs           502   says another answer than it was to go on with
    │   ├── UpstreamRefused         content_policy_violation   400
    │   └── UpstreamRejected        upstream_rejected          400   any other 4xx: its own words pass
    ├── ConfigError                 exit code 78
    └── UsageError                  exit code 2

This module imports nothing of ours, so that everything may import it. Each dialect has one encoder
that turns an error into its own envelope; the status stands here and nowhere else.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

Blame = Literal["client", "gateway", "upstream", "operator"]

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69
EXIT_CONFIG = 78
EXIT_INTERRUPTED = 130


class Constraint(msgspec.Struct, frozen=True):
    """What of a request emptied the pool: a field's path, and why."""

    field: str
    detail: str


class Availability(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why nobody serves a request, for programs: section 13 of OpenRouter's contract. What is empty is left out."""

    code: str
    retryable: bool
    requested_models: tuple[str, ...]
    docs_url: str
    retry_after: int | None = None
    """Seconds."""
    affected_providers: tuple[str, ...] = ()
    excluded_by: tuple[str, ...] = ()
    fallback_models: tuple[str, ...] = ()
    constraint: Constraint | None = None


class TriviumError(Exception):
    """What every error of Trivium carries.

    `message` says what failed, `remedy` what to do about it; both are for people. `param` is the
    path of the offending field (`messages[3].content[0].type`).
    """

    kind: ClassVar[str] = "error"
    status: int = 500
    retryable: ClassVar[bool] = False
    blame: ClassVar[Blame] = "gateway"
    exit_code: ClassVar[int] = EXIT_FAILED
    availability: Availability | None = None
    previous: tuple[TriviumError, ...] = ()
    """Of the attempts before it."""

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.param = param
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()


class CallerError(TriviumError):
    """The request cannot be served as it stands."""

    status = 400
    blame = "client"


class InvalidRequest(CallerError):
    kind = "invalid_request"


class ContextLengthExceeded(CallerError):
    kind = "context_length_exceeded"


class ContentRefused(CallerError):
    kind = "content_policy_violation"


class AuthenticationFailed(CallerError):
    kind, status = "authentication", 401


class PaymentRequired(CallerError):
    kind, status = "payment_required", 402


class PermissionDenied(CallerError):
    kind, status = "permission_denied", 403


class NotFound(CallerError):
    kind, status = "not_found", 404


class MethodNotAllowed(CallerError):
    kind, status = "method_not_allowed", 405


class UploadTimeout(CallerError):
    kind, status = "request_timeout", 408


class PayloadTooLarge(CallerError):
    kind, status = "payload_too_large", 413


class UnsupportedMediaType(CallerError):
    kind, status = "unsupported_media_type", 415


class RateLimited(CallerError):
    kind, status, retryable = "rate_limit_exceeded", 429, True


class HeadTooLarge(CallerError):
    kind, status = "head_too_large", 431


class ClientGone(CallerError):
    """The caller closed its connection; nobody reads the answer any more (nginx's 499)."""

    kind, status = "client_closed_request", 499


class GatewayError(TriviumError):
    """Trivium itself cannot serve now."""


class InternalError(GatewayError):
    kind = "server"


class NoEndpoint(GatewayError):
    """The plan is empty: every endpoint was rejected, and the message says by what."""

    kind, status = "no_endpoints", 404


class Unavailable(GatewayError):
    kind, status, retryable = "temporarily_unavailable", 503, True
    exit_code = EXIT_UNAVAILABLE


class Draining(Unavailable):
    kind = "draining"


class LedgerUnavailable(Unavailable):
    kind = "ledger_unavailable"


class EngineUnavailable(Unavailable):
    kind = "engine_unavailable"


class UpstreamError(TriviumError):
    """An endpoint failed the attempt.

    `endpoint` is the endpoint's id, `upstream_status` its HTTP status if one came, and
    `provider_code` its own word for the failure.
    """

    status = 502
    blame = "upstream"
    retryable = True
    exit_code = EXIT_UNAVAILABLE

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        param: str | None = None,
        retry_after_s: float | None = None,
        endpoint: str = "",
        upstream_status: int | None = None,
        provider_code: str | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, param=param, retry_after_s=retry_after_s)
        self.endpoint = endpoint
        self.upstream_status = upstream_status
        self.provider_code = provider_code


class UpstreamUnreachable(UpstreamError):
    kind = "upstream_unreachable"


class UpstreamTLSError(UpstreamError):
    kind, retryable = "upstream_tls_error", False


class UpstreamTimeout(UpstreamError):
    kind, status = "upstream_timeout", 504


class UpstreamCut(UpstreamError):
    kind = "upstream_cut"


class UpstreamProtocolError(UpstreamError):
    kind = "upstream_protocol_error"


class UpstreamAuthError(UpstreamError):
    kind, retryable = "upstream_auth_error", False


class UpstreamTokenError(UpstreamError):
    kind, retryable = "upstream_token_error", False


class UpstreamRateLimited(UpstreamError):
    kind, status = "upstream_rate_limited", 429


class UpstreamQuotaExhausted(UpstreamError):
    kind, status, retryable = "upstream_quota_exhausted", 429, False


class UpstreamOverloaded(UpstreamError):
    kind, status = "upstream_overloaded", 503


class UpstreamServerError(UpstreamError):
    kind = "upstream_server_error"


# The four below come from an upstream that is there: no other time makes the same request right.
class UpstreamNotFound(UpstreamError):
    kind, status, retryable, exit_code = "upstream_not_found", 404, False, EXIT_FAILED


class UpstreamContextLength(UpstreamError):
    kind, status, retryable, exit_code = "context_length_exceeded", 400, False, EXIT_FAILED


class UpstreamRefused(UpstreamError):
    kind, status, retryable, exit_code = "content_policy_violation", 400, False, EXIT_FAILED


class UpstreamDiffers(UpstreamError):
    """It was to go on with another's answer, and says something else."""

    kind, retryable, exit_code = "upstream_differs", False, EXIT_FAILED


class UpstreamRejected(UpstreamError):
    kind, status, retryable, exit_code = "upstream_rejected", 400, False, EXIT_FAILED


class ConfigError(TriviumError):
    """A configuration that cannot be used; `file`, `line` and `key` point at the place."""

    kind = "configuration"
    blame = "operator"
    exit_code = EXIT_CONFIG

    def __init__(self, message: str, *, remedy: str = "", file: str = "", line: int = 0, key: str = "") -> None:
        place = ":".join(str(p) for p in (file, line or "") if p)
        super().__init__(f"{place}: {message}" if place else message, remedy=remedy, param=key or None)
        self.file = file
        self.line = line
        self.key = key


class UsageError(TriviumError):
    """A command was called in a way that it does not understand."""

    kind = "usage"
    blame = "client"
    exit_code = EXIT_USAGE
