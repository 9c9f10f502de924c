"""The life of an engine as a pure function: `transition(life, event) -> (life, action)`.

::

    absent ─ stopped ─ want → starting ─ up → ready ⇄ busy
                ↑                │ ↑             │
                │           died │ └─ retry ─ waiting (back-off)
                │                ↓               │ stop
                └─ died ──── stopping ←──────────┘
                              failed: five quick deaths; only an operator's stop leads out

The driver (`supervisor`) feeds events in and does what the action says. Times are monotonic seconds and come in as
arguments, like the jitter; nothing here waits.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

State = Literal["absent", "stopped", "starting", "ready", "busy", "waiting", "stopping", "failed"]

QUICK_DEATH_S = 10.0
DEATHS_MAX = 5
_DELAY_MAX_S = 60.0


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """Where an engine stands. `deaths` counts starts that ended early and answered no request, in a row."""

    state: State = "stopped"
    deaths: int = 0
    began_s: float = 0.0
    answered: bool = False
    """In this start."""
    safe: bool = False
    """With arguments that avoid what crashed it before it was ever ready; kept once it was needed."""
    wanted_again: bool = False
    """Somebody asked while it was stopping."""
    wait_s: float = 0.0
    """The back-off, while it waits."""
    reason: str = ""
    """Why it is absent, waiting, failed or was refused."""


Kind = Literal[
    "want",  # a request needs the engine
    "missing",  # the model is not in the store
    "refused",  # a check before the start failed; trying the same again is useless until something changes
    "up",  # a real completion came back
    "busy",  # it was seen decoding
    "idle",  # it was seen not decoding
    "answered",  # a request was answered: whatever was wrong before is over
    "died",  # the process ended
    "retry",  # the back-off is over
    "stop",  # an operator, a reload or the idle timer wants it gone
]


class Event(msgspec.Struct, frozen=True):
    """What happened. `reason` belongs to `missing`, `refused` and `died`, the rest but the time to `died`."""

    kind: Kind
    at_s: float = 0.0
    reason: str = ""
    segfault: bool = False
    jitter: float = 0.0
    """In 0..1."""


Action = Literal["start", "terminate", "wait"]
"""Check the file, start a process and probe it; SIGTERM to the process group, later SIGKILL; `retry` after `wait_s`."""
Step = tuple[Life, Action | None]

_ALIVE = ("starting", "ready", "busy")


def delay_s(deaths: int, jitter: float) -> float:
    """Seconds to wait before the next start: none the first time, then doubling to a minute."""
    return 0.0 if deaths <= 1 else min(2.0 ** (deaths - 1), _DELAY_MAX_S) + jitter


def transition(life: Life, event: Event) -> Step:
    """What an event makes of a life, and what is to be done; an event that means nothing now changes nothing."""
    match event.kind, life.state:
        case ("want", "absent" | "stopped") | ("retry", "waiting"):
            return _start(life, event.at_s)
        case "want", "stopping":
            return replace(life, wanted_again=True), None
        case "missing", "starting":
            return replace(life, state="absent", reason=event.reason), None
        case "refused", "starting":
            return replace(life, state="stopped", reason=event.reason), None
        case "up", "starting":
            return replace(life, state="ready", reason=""), None
        case "busy", "ready" | "busy":
            return replace(life, state="busy"), None
        case "idle", "ready" | "busy":
            return replace(life, state="ready"), None
        case "answered", "ready" | "busy":
            return replace(life, answered=True, deaths=0), None
        case "died", _:
            return _died(life, event)
        case "stop", "starting" | "ready" | "busy":
            return replace(life, state="stopping", wanted_again=False), "terminate"
        case "stop", "stopping":
            return replace(life, wanted_again=False), None
        case "stop", "waiting" | "failed":
            return replace(life, state="stopped", deaths=0, wait_s=0.0, reason=""), None
        case _:
            return life, None


def _died(life: Life, event: Event) -> Step:
    if life.state == "stopping":
        stopped = replace(life, state="stopped", deaths=0, reason="")
        return _start(stopped, event.at_s) if life.wanted_again else (stopped, None)
    if life.state not in _ALIVE:
        return life, None
    if life.state == "starting" and event.segfault and not life.safe:
        return _start(replace(life, safe=True), event.at_s)
    # A start that never got ready counts however long it loaded, or a model that dies late would load for ever.
    early = life.state == "starting" or event.at_s - life.began_s < QUICK_DEATH_S
    deaths = life.deaths + (early and not life.answered)
    life = replace(life, deaths=deaths, reason=event.reason)
    if deaths >= DEATHS_MAX:
        return replace(life, state="failed"), None
    seconds = delay_s(deaths, event.jitter)
    return (replace(life, state="waiting", wait_s=seconds), "wait") if seconds else _start(life, event.at_s)


def _start(life: Life, at_s: float) -> Step:
    return replace(life, state="starting", began_s=at_s, answered=False, wanted_again=False, wait_s=0.0), "start"
