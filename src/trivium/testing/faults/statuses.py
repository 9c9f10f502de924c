"""Answers with a status other than 200, and what their headers say: cases 20, 22 to 27, 31."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate

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


def _date(offset_s: float, form: str | None = None) -> Form:
    def build(now: float) -> list[tuple[str, str]]:
        moment = now + offset_s
        text = formatdate(moment, usegmt=True) if form is None else time.strftime(form, time.gmtime(moment))
        return [("retry-after", text)]

    return build


def _reset(value: str) -> Form:
    return _fixed(("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", value))


def _at(name: str, text: Callable[[float], str]) -> Form:
    return lambda now: [(name, text(now + 2))]


def _rfc3339(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


FORMS: dict[str, Form] = {
    "bare": _fixed(),
    "retry-after-zero": _after("0"),
    "retry-after-fraction": _after("1.5"),
    "retry-after-date": _date(2),
    "retry-after-date-far": _date(86_400),
    "retry-after-date-past": _date(-3600),
    "retry-after-date-rfc850": _date(2, "%A, %d-%b-%y %H:%M:%S GMT"),
    "retry-after-date-asctime": _date(2, "%a %b %e %H:%M:%S %Y"),
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
    "reset-rfc3339": _at("anthropic-ratelimit-requests-reset", _rfc3339),
}
"""Case 22: what providers, proxies and attackers have put on a 429."""


async def _limited(call: Call, headers: list[tuple[str, str]]) -> None:
    """429 to the first request for this model, a correct answer to all later ones."""
    if call.earlier:
        await call.correctly()
    else:
        await call.fail(PROBLEMS["429"], [*JSON_TYPE.items(), *headers])


@fault("429-retry-after-{n}", 22, "429 once with `Retry-After: n` (not scaled), then correct")
async def retry_after(call: Call, n: int) -> None:
    await _limited(call, [("retry-after", str(n))])


def _register_form(name: str, form: Form) -> None:
    shown = ", ".join(f"{key}: {value[:30]}" for key, value in form(time.time())) or "no header"

    @fault(f"429-{name}", 22, f"429 once with {shown}, then correct")
    async def run(call: Call) -> None:  # pyright: ignore[reportUnusedFunction]
        await _limited(call, form(time.time()))


for _name, _form in FORMS.items():
    _register_form(_name, _form)


@fault("429-forever", 23, "429 to every request")
async def limited_forever(call: Call) -> None:
    await call.fail(PROBLEMS["429"])


@fault("quota", 24, "the account's quota is exhausted (429 `insufficient_quota`; Anthropic: 402 `billing_error`)")
async def quota(call: Call) -> None:
    await call.fail(PROBLEMS["quota"])


def _register_status(name: str, case: int) -> None:
    @fault(name, case, f"{PROBLEMS[name].status} to every request: {PROBLEMS[name].message[:60]}")
    async def run(call: Call) -> None:  # pyright: ignore[reportUnusedFunction]
        await call.fail(PROBLEMS[name])


for _status in ("500", "502", "503", "504", "529"):
    _register_status(_status, 25)
for _status in ("401", "403", "404"):
    _register_status(_status, 26)
for _status in ("400", "400-context", "400-filter", "400-param"):
    _register_status(_status, 27)


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


async def _redirect(call: Call, status: int) -> None:
    # Another host name for this very server, so that a test sees what arrives there.
    await call.respond(b"", status, {"location": f"http://localhost:{call.port}/elsewhere"})


@fault("redirect", 31, "302 to another host name (`/elsewhere` on localhost)")
async def redirect(call: Call) -> None:
    await _redirect(call, 302)


@fault("redirect-{n}", 31, "status n (301, 302, 303, 307, 308) to another host name")
async def redirect_status(call: Call, n: int) -> None:
    await _redirect(call, n)
