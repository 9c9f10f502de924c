"""The fault tests as data: what breaks, and what a caller may then see. Numbers are those of the reliability contract.

One case is asked over every cell of {stream, whole} x {openai, anthropic} x {library, gateway} x {fallback, alone}
that it names. The primary is a fake upstream that is asked for `Case.model`, or an address of `Case.fixture`
(`support.primary_at`); the fallback is a second one that is asked for `ok` and says FALLBACK_TEXT, so that an answer
spliced from both shows. Whole answers of cases 6, 7 and 11 to 14 run with `upstream_stream = "always"`.

Limits are seconds at the default deadlines; a driver divides them, and the upstream's waits, by its scale, save what
stands in a header (`gap_s`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from trivium.testing import answers

Stream = Literal["stream", "whole"]
Surface = Literal["library", "gateway"]
Outcome = Literal["answer", "error", "cut", "nothing"]
"""`answer`: complete and correct. `error`: typed, with a request id, before any content. `cut`: content, then a typed
error in the caller's dialect and no end. `nothing`: the caller has left."""
Action = Literal["ask", "leave", "leave-waiting", "terminate"]
"""What the test does beside asking: leave after the first content; leave while the next attempt is waited for; send
SIGTERM to the gateway after the first content."""

FALLBACK_TEXT = "The fallback says Lyon."
STREAMS: tuple[Stream, ...] = ("stream", "whole")
SURFACES: tuple[Surface, ...] = ("library", "gateway")
DIALECTS = ("openai_chat", "anthropic_messages")
CUT_POINTS = range(65)
"""Case 12 in full, for the long run; the table has three of them."""


@dataclass(frozen=True)
class Expect:
    """What must hold. More than one outcome means that each is safe and neither is promised."""

    outcome: tuple[Outcome, ...]
    by: Literal["primary", "fallback", ""] = ""
    """Who served the answer; empty: nobody, or either."""
    kinds: tuple[str, ...] = ()
    """The error's kind is one of these (`trivium.errors`)."""
    attempts: tuple[int, int] = (1, 1)
    """Fewest and most attempts at the primary: rows of the ledger."""


@dataclass(frozen=True)
class Case:
    number: int
    model: str
    """The fault's name, asked of the primary."""
    expect: dict[tuple[Stream, bool], Expect]
    """By stream or whole, and whether a fallback is configured. A missing cell does not apply."""
    fixture: str = ""
    """How the primary cannot be reached; no request arrives there then."""
    action: Action = "ask"
    surfaces: tuple[Surface, ...] = SURFACES
    upstream_stream: Literal["never", "always"] = "never"
    """For whole answers."""
    text: str = answers.TEXT
    """What the primary says when it answers."""
    within_s: float | None = None
    """An end is reached by then, at default deadlines."""
    gap_s: tuple[float, float] | None = None
    """Between the first two requests at the primary, in real seconds."""
    repeat: int = 1
    """Ask so many times in turn over kept connections; expectations are for each."""
    timeouts: dict[str, float] = field(default_factory=dict[str, float])
    """Deadlines that differ from the defaults, in seconds before scaling."""

    @property
    def id(self) -> str:
        return f"{self.number:02}-{self.fixture or self.model}"


@dataclass(frozen=True)
class Cell:
    case: Case
    stream: bool
    dialect: str
    surface: Surface
    fallback: bool
    expect: Expect

    @property
    def id(self) -> str:
        mode = "stream" if self.stream else "whole"
        return f"{self.case.id}-{mode}-{self.dialect}-{self.surface}-{'fallback' if self.fallback else 'alone'}"


def primary(attempts: int = 1) -> Expect:
    return Expect(("answer",), "primary", attempts=(attempts, attempts))


def rescued(fewest: int = 1, most: int | None = None) -> Expect:
    """By the fallback, before anything of the primary was released."""
    return Expect(("answer",), "fallback", attempts=(fewest, most or fewest))


def failed(*kinds: str, fewest: int = 1, most: int | None = None) -> Expect:
    return Expect(("error",), kinds=kinds, attempts=(fewest, most or fewest))


def cut(*kinds: str) -> Expect:
    return Expect(("cut",), kinds=kinds)


def everywhere(expect: Expect) -> dict[tuple[Stream, bool], Expect]:
    """The same with and without a fallback, streamed and not."""
    return {(stream, fallback): expect for stream in STREAMS for fallback in (True, False)}


def either(
    with_fallback: Expect, alone: Expect, streams: tuple[Stream, ...] = STREAMS
) -> dict[tuple[Stream, bool], Expect]:
    """The same streamed and not."""
    return {
        (stream, fallback): with_fallback if fallback else alone for stream in streams for fallback in (True, False)
    }


def after_content(*kinds: str) -> dict[tuple[Stream, bool], Expect]:
    """A stream has released content, so that no fallback may take over; a whole answer has not."""
    return either(cut(*kinds), cut(*kinds), ("stream",)) | either(rescued(), failed(*kinds), ("whole",))


UNREACHABLE, TIMEOUT, TLS = "upstream_unreachable", "upstream_timeout", "upstream_tls_error"
CUT, PROTOCOL, SERVER = "upstream_cut", "upstream_protocol_error", "upstream_server_error"
OVERLOADED, LIMITED = "upstream_overloaded", "upstream_rate_limited"

CONNECTING = [
    Case(1, "ok", either(rescued(), failed(UNREACHABLE)), "refused", within_s=0.5),
    Case(2, "ok", either(rescued(), failed(TIMEOUT)), "black-hole", within_s=3.2),
    *(
        Case(3, "ok", either(rescued(), failed(TLS)), fixture, within_s=1.0)
        for fixture in ("tls-expired", "tls-wrong-host", "tls-self-signed")
    ),
    Case(3, "ok", either(rescued(), failed(TLS, TIMEOUT)), "tls-stall", within_s=5.2),
    Case(4, "ok", either(rescued(), failed(UNREACHABLE)), "name-gone", within_s=0.5),
    Case(4, "ok", either(rescued(), failed(UNREACHABLE)), "name-sick", within_s=0.5),
    Case(4, "ok", either(rescued(), failed(TIMEOUT, UNREACHABLE)), "name-slow", within_s=5.2),
]

SLOW = [
    *(
        Case(number, model, either(rescued(), failed(TIMEOUT)), upstream_stream="always", within_s=12.5)
        for number, model in (
            (6, "silent"),
            (7, "slow-headers"),
            (11, "stall-before-content"),
            (11, "comments-after-0"),
        )
    ),
    Case(11, "stall-after-3", after_content(TIMEOUT), upstream_stream="always", within_s=21.0),
]

CUTS = [
    *(
        Case(12, f"{kind}-{count}", after_content(CUT), upstream_stream="always")
        for kind in ("cut-after", "clean-cut-after", "close-cut-after")
        for count in (1, 5, 64)
    ),
    Case(12, "no-finish", after_content(CUT, PROTOCOL), upstream_stream="always"),
    Case(13, "cut-before-content", either(rescued(), failed(CUT)), upstream_stream="always"),
    Case(13, "clean-cut-after-0", either(rescued(), failed(CUT)), upstream_stream="always"),
    *(
        Case(13, model, either(rescued(), failed(CUT, UNREACHABLE)), upstream_stream="always")
        for model in ("cut-before-headers", "cut-in-headers", "rst-before-headers")
    ),
    *(Case(14, f"rst-after-{count}", after_content(CUT, UNREACHABLE), upstream_stream="always") for count in (1, 64)),
    Case(15, "no-done", everywhere(primary())),
]

SPELLINGS = [
    *(
        Case(16, model, everywhere(primary()))
        for model in (
            "unknown-event",
            "event-without-data",
            "comments",
            "crlf",
            "cr",
            "mixed-newlines",
            "bom",
            "one-byte-writes",
        )
    ),
    Case(
        16,
        "malformed-chunk",
        either(primary(), primary(), ("stream",)) | either(rescued(), failed(PROTOCOL), ("whole",)),
    ),
    Case(17, "utf8-split", everywhere(primary()), text=answers.UNICODE),
    # Not text by any standard: an error, a skipped frame or a replacement are all safe, a crash or a hang is not.
    *(Case(17, model, everywhere(Expect(("answer", "error", "cut")))) for model in ("invalid-utf8", "lone-surrogate")),
]

FALSE_SUCCESSES = [
    *(
        Case(18, model, either(rescued(1, 2), failed(OVERLOADED, SERVER, most=2)))
        for model in ("error-200", "error-first-event")
    ),
    Case(
        19,
        "error-midstream-3",
        either(cut(OVERLOADED, SERVER), cut(OVERLOADED, SERVER), ("stream",))
        | either(rescued(1, 2), failed(OVERLOADED, SERVER, most=2), ("whole",)),
    ),
]

HONOURED = {
    "retry-after-2": (2.0, 2.6),
    "retry-after-ms": (2.0, 2.6),
    "retry-after-fraction": (1.5, 2.1),
    "retry-after-zero": (0.0, 0.6),
    "retry-after-date": (0.9, 2.6),
    "retry-after-date-rfc850": (0.9, 2.6),
    "retry-after-date-asctime": (0.9, 2.6),
    "reset-1s": (1.0, 1.6),
    "reset-120ms": (0.12, 0.72),
    "reset-seconds": (2.0, 2.6),
}
"""Forms of a 429 that say how long to wait, and the gap that they ask for; a date has whole seconds only."""
TOO_LONG = ("retry-after-date-far", "reset-6m0s")
"""Sensible, but longer than anybody waits: on to the fallback at once."""
HOSTILE = (
    "bare",
    "retry-after-date-past",
    "retry-after-date-impossible",
    "retry-after-negative",
    "retry-after-huge",
    "retry-after-overflow",
    "retry-after-exponent",
    "retry-after-nan",
    "retry-after-infinity",
    "retry-after-empty",
    "retry-after-blanks",
    "retry-after-unit",
    "retry-after-words",
    "retry-after-list",
    "retry-after-twice",
    "retry-after-not-ascii",
    "retry-after-ms-negative",
    "retry-after-ms-words",
    "retry-after-ms-and-s",
    "reset-words",
    "reset-epoch",
    "reset-epoch-ms",
    "reset-requests-epoch",
    "reset-rfc3339",
)
"""No promise but to survive: wait a little and ask again, or go on."""
TRIED_AGAIN_OR_GONE_ON = Expect(("answer",), attempts=(1, 2))

LIMITS = [
    *(Case(22, f"429-{form}", everywhere(primary(2)), gap_s=gap) for form, gap in HONOURED.items()),
    *(Case(22, f"429-{form}", either(rescued(), failed(LIMITED)), within_s=1.0) for form in TOO_LONG),
    *(
        Case(
            22,
            f"429-{form}",
            either(TRIED_AGAIN_OR_GONE_ON, Expect(("answer", "error"), kinds=(LIMITED,), attempts=(1, 2))),
        )
        for form in HOSTILE
    ),
]

SERVER_ERRORS = [
    *(Case(25, f"{status}-once", everywhere(primary(2))) for status in (500, 502, 503, 504)),
    Case(25, "529-once", either(rescued(), Expect(("answer", "error"), kinds=(OVERLOADED,), attempts=(1, 2)))),
    *(Case(25, model, either(rescued(2), failed(SERVER, fewest=2))) for model in ("500", "502", "504", "502-html")),
    Case(25, "503", either(rescued(2), failed(OVERLOADED, fewest=2))),
    Case(25, "529", either(rescued(), failed(OVERLOADED, most=2))),
]

REUSE = [
    # An attempt that met the closing socket sent nothing that was served: the server counts one request for each.
    *(Case(30, model, everywhere(primary()), repeat=20) for model in ("keepalive-race", "keepalive-race-rst")),
    Case(30, "idle-close-20", everywhere(primary()), repeat=5),
]

GONE = Expect(("nothing",))
LEAVING = [
    Case(32, "gap-1000", either(GONE, GONE, ("stream",)), action="leave", within_s=1.0),
    *(
        Case(33, model, everywhere(GONE), action="leave-waiting", within_s=1.0)
        for model in ("429-retry-after-9", "silent")
    ),
    Case(
        40,
        "gap-300",
        everywhere(primary()),
        action="terminate",
        surfaces=("gateway",),
        within_s=30.0,
        text=answers.words(64),
    ),
]

CASES = [
    *CONNECTING,
    *SLOW,
    *CUTS,
    *SPELLINGS,
    *FALSE_SUCCESSES,
    *LIMITS,
    *SERVER_ERRORS,
    *REUSE,
    *LEAVING,
]


def cells(case: Case) -> Iterator[Cell]:
    """All cells of a case, in a stable order."""
    for (stream, fallback), expect in case.expect.items():
        for dialect in DIALECTS:
            for surface in case.surfaces:
                yield Cell(case, stream == "stream", dialect, surface, fallback, expect)
