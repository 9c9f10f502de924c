"""The life of an engine as a pure function: `transition(life, event) -> (life, actions)`.

::

    absent ─ stopped ─ want → starting ─ up → ready ⇄ busy
                ↑                │ ↑             │
                │           died │ └─ retry ─ waiting (back-off)
                │                ↓               │ stop
                └─ died ──── stopping ←──────────┘
                              failed: five quick deaths; only an operator's stop leads out

The driver (`supervisor`) feeds events in and does what the actions say. Times are monotonic seconds and come in as
arguments, like the jitter; nothing here waits.
"""

from __future__ import annotations

from typing import Literal

import msgspec

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
    reason: str = ""
    """Why it is absent, waiting, failed or was refused."""


class Want(msgspec.Struct, frozen=True):
    """A request needs the engine."""

    at_s: float


class Missing(msgspec.Struct, frozen=True):
    """The model is not in the store."""

    reason: str


class Refused(msgspec.Struct, frozen=True):
    """A check before the start failed; trying the same again is useless until something changes."""

    reason: str


class Up(msgspec.Struct, frozen=True):
    """A real completion came back."""


class Active(msgspec.Struct, frozen=True):
    """It was seen decoding, or idle."""

    busy: bool


class Answered(msgspec.Struct, frozen=True):
    """A request was answered: whatever was wrong before is over."""


class Died(msgspec.Struct, frozen=True):
    """The process ended. `jitter` is in 0..1."""

    at_s: float
    reason: str
    segfault: bool = False
    jitter: float = 0.0


class Retry(msgspec.Struct, frozen=True):
    """The back-off is over."""

    at_s: float


class Stop(msgspec.Struct, frozen=True):
    """An operator, a reload or the idle timer wants it gone."""


Event = Want | Missing | Refused | Up | Active | Answered | Died | Retry | Stop


class Start(msgspec.Struct, frozen=True):
    """Check the file, start a process, probe it."""

    safe: bool


class Terminate(msgspec.Struct, frozen=True):
    """SIGTERM to the process group, later SIGKILL."""


class RetryIn(msgspec.Struct, frozen=True):
    """Feed `Retry` after so many seconds."""

    seconds: float


Action = Start | Terminate | RetryIn
Step = tuple[Life, tuple[Action, ...]]

_ALIVE = ("starting", "ready", "busy")


def delay_s(deaths: int, jitter: float) -> float:
    """Seconds to wait before the next start: none the first time, then doubling to a minute."""
    return 0.0 if deaths <= 1 else min(2.0 ** (deaths - 1), _DELAY_MAX_S) + jitter


def transition(life: Life, event: Event) -> Step:
    """What an event makes of a life, and what is to be done; an event that means nothing now changes nothing."""
    match event:
        case Want(at_s) if life.state in ("absent", "stopped"):
            return _start(life, at_s)
        case Want() if life.state == "stopping":
            return _with(life, wanted_again=True)
        case Missing(reason) if life.state == "starting":
            return _with(life, state="absent", reason=reason)
        case Refused(reason) if life.state == "starting":
            return _with(life, state="stopped", reason=reason)
        case Up() if life.state == "starting":
            return _with(life, state="ready", reason="")
        case Active(busy) if life.state in ("ready", "busy"):
            return _with(life, state="busy" if busy else "ready")
        case Answered() if life.state in ("ready", "busy"):
            return _with(life, answered=True, deaths=0)
        case Died():
            return _died(life, event)
        case Retry(at_s) if life.state == "waiting":
            return _start(life, at_s)
        case Stop() if life.state in _ALIVE:
            return _with(life, Terminate(), state="stopping", wanted_again=False)
        case Stop() if life.state in ("waiting", "failed"):
            return _with(life, state="stopped", deaths=0, reason="")
        case _:
            return life, ()


def _died(life: Life, event: Died) -> Step:
    if life.state == "stopping":
        stopped = msgspec.structs.replace(life, state="stopped", deaths=0, reason="")
        return _start(stopped, event.at_s) if life.wanted_again else (stopped, ())
    if life.state not in _ALIVE:
        return life, ()
    if life.state == "starting" and event.segfault and not life.safe:
        return _start(msgspec.structs.replace(life, safe=True), event.at_s)
    # A start that never got ready counts however long it loaded, or a model that dies late would load for ever.
    early = life.state == "starting" or event.at_s - life.began_s < QUICK_DEATH_S
    deaths = life.deaths + (early and not life.answered)
    life = msgspec.structs.replace(life, deaths=deaths, reason=event.reason)
    if deaths >= DEATHS_MAX:
        return _with(life, state="failed")
    seconds = delay_s(deaths, event.jitter)
    return _with(life, RetryIn(seconds), state="waiting") if seconds else _start(life, event.at_s)


def _start(life: Life, at_s: float) -> Step:
    return _with(life, Start(life.safe), state="starting", began_s=at_s, answered=False, wanted_again=False)


def _with(life: Life, *actions: Action, **changes: object) -> Step:
    return msgspec.structs.replace(life, **changes), actions
