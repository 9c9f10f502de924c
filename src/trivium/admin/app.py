"""The admin plane's application: `/metrics` and `/health`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from trivium.telemetry.metrics import Sample, render

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

Samples = Callable[[], Iterable[Sample]]

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def application(samples: Samples) -> Starlette:
    """The ASGI application; `samples` yields what was counted."""
    from starlette.applications import Starlette
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route

    def metrics(_request: Request) -> Response:
        return PlainTextResponse(render(samples()), media_type=METRICS_TYPE)

    def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    app = Starlette(routes=[Route("/metrics", metrics), Route("/health", health)])
    # A web page that rebinds its own name to this machine must not read the operator's figures (T12).
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", "127.0.0.1", "::1"])
    return app
