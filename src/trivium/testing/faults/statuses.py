"""Answers with a status other than 200, and what their headers say: cases 20, 22 to 27, 31."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from functools import partial

from trivium.testing.call import JSON_TYPE, Call
from trivium.testing.faults.table import fault
from trivium.testing.problems import PROBLEMS

HTML = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Welcome to the hotel</h1></body></html>"

Form = Callable[[float], list[tuple[str, str]]]
"""Headers of a 429 for a wall-clock time."""


def _fixed(*headers: tuple[str, str]) -> Form:
    return lambda _: list(headers)


def _after(value: str) -> Form:
    return _fixed(("retry-after", value))


def _reset(value: str) -> Form:
    return _fixed(("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", value))


def _at(name: str, text: Callable[[float], str], offset_s: float = 2) -> Form:
    return lambda now: [(name, text(now + offset_s))]


def _gmt(form: str) -> Callable[[float], str]:
    return lambda moment: time.strftime(form, time.gmtime(moment))


_HTTP = partial(formatdate, usegmt=True)
"""The date of RFC 9110."""


FORMS: dict[str, Form] = {
    "bare": _fixed(),
    "retry-after-zero": _after("0"),
    "retry-after-fraction": _after("1.5"),
    "retry-after-date": _at("retry-after", _HTTP),
    "retry-after-date-far": _at("retry-after", _HTTP, 86_400),
    "retry-after-date-past": _at("retry-after", _HTTP, -3600),
    "retry-after-date-rfc850": _at("retry-after", _gmt("%A, %d-%b-%y %H:%M:%S GMT")),
    "retry-after-date-asctime": _at("retry-after", _gmt("%a %b %e %H:%M:%S %Y")),
    "retry-after-date-impossible": _after("Thu, 31 Feb 2026 25:61:61 GMT"),
    "retry-after-negative": _after("-1"),
    "retry-after-huge": _after("999999"),
    "retry-after-overflow": _after("9" * 400),
    "retry-after-exponent": _after("1e400"),
    "retry-after-nan": _after("nan"),
    "retry-after-infinity": _after("inf"),
    "retry-after-empty": _after(""),
    "retry-after-blanks": _after("  2  "),
    "retry-after-unit": _after("2s"),
    "retry-after-words": _after("soon"),
    "retry-after-list": _after("2, 30"),
    "retry-after-twice": _fixed(("retry-after", "2"), ("retry-after", "30")),
    "retry-after-not-ascii": _after("\u0662"),
    "retry-after-ms": _fixed(("retry-after-ms", "2000")),
    "retry-after-ms-negative": _fixed(("retry-after-ms", "-5")),
    "retry-after-ms-words": _fixed(("retry-after-ms", "later")),
    "retry-after-ms-and-s": _fixed(("retry-after-ms", "2000"), ("retry-after", "3")),
    "reset-1s": _reset("1s"),
    "reset-6m0s": _reset("6m0s"),
    "reset-120ms": _reset("120ms"),
    "reset-seconds": _reset("2"),
    "reset-words": _reset("in a while"),
    "reset-epoch": _at("x-ratelimit-reset", lambda moment: str(int(moment))),
    "reset-epoch-ms": _at("x-ratelimit-reset", lambda moment: str(int(moment * 1000))),
    "reset-requests-epoch": _at("x-ratelimit-reset-requests", lambda moment: str(int(moment))),
    "reset-rfc3339": _at("anthropic-ratelimit-requests-reset", _gmt("%Y-%m-%dT%H:%M:%SZ")),
}
"""Case 22: what providers, proxies and attackers have put on a 429."""


@fault("429-retry-after-{n}", 22, "429 once with `Retry-After: n` (not scaled), then correct", None)
async def limited(call: Call, form: Form | None, n: int = 0) -> None:
    """429 to the first request for this model, a correct answer to all later ones."""
    if call.earlier:
        await call.correctly()
    else:
        headers = [("retry-after", str(n))] if form is None else form(time.time())
        await call.fail(PROBLEMS["429"], [*JSON_TYPE.items(), *headers])


for _name, _form in FORMS.items():
    _shown = ", ".join(f"{key}: {value[:30]}" for key, value in _form(time.time())) or "no header"
    fault(f"429-{_name}", 22, f"429 once with {_shown}, then correct", _form)(limited)


@fault("429-forever", 23, "429 to every request", "429")
@fault("quota", 24, "the quota is exhausted (429 `insufficient_quota`; Anthropic: 402 `billing_error`)", "quota")
async def failing(call: Call, problem: str) -> None:
    await call.fail(PROBLEMS[problem])


for _name, _problem in PROBLEMS.items():
    if _problem.status != 429:
        _case = 25 if _problem.status >= 500 else 27 if _problem.status == 400 else 26
        fault(_name, _case, f"{_problem.status} to every request: {_problem.message[:60]}", _name)(failing)


@fault("{n}-once", 25, "status n once (500, 502, 503, 504, 529), then correct")
async def once(call: Call, n: int) -> None:
    if call.earlier:
        await call.correctly()
    else:
        await call.fail(PROBLEMS.get(str(n), PROBLEMS["500"])._replace(status=n, anthropic_status=None))


@fault("502-html", 25, "502 with a proxy's page of HTML")
async def html_502(call: Call) -> None:
    await call.respond(b"<html><body><h1>502 Bad Gateway</h1></body></html>", 502, {"content-type": "text/html"})


@fault("html", 20, "200 with a page of HTML, as a captive portal sends it")
async def html(call: Call) -> None:
    await call.respond(HTML, 200, {"content-type": "text/html; charset=utf-8"})


@fault("html-as-json", 20, "200 with a page of HTML that claims to be what was asked for")
async def html_as_json(call: Call) -> None:
    await (call.play([HTML]) if call.stream else call.respond(HTML))


@fault("redirect", 31, "302 to another host name (`/elsewhere` on localhost)", 302)
@fault("redirect-{n}", 31, "status n (301, 302, 303, 307, 308) to another host name")
async def redirect(call: Call, status: int) -> None:
    # Another host name for this very server, so that a test sees what arrives there.
    await call.respond(b"", status, {"location": f"http://localhost:{call.port}/elsewhere"})
