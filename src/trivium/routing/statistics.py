"""Statistics of an endpoint: how long it takes and how often it fails, as sums that age, add up and travel.

A mean weighs a sample less the older it is, by e in `tau_s`. Weights are kept as they grow from a landmark instead of
being aged (forward decay: Cormode, Shkapenyuk, Srivastava and Xu, 2009): the sums of two processes are added, and a
mean is a quotient whenever it is asked for. Quantiles come from counts in classes a fifth apart, kept for five minutes
each. Times are Unix seconds of a clock that only runs forwards, and come in as arguments.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Annotated

import msgspec

TAU_REMOTE_S, TAU_LOCAL_S = 300.0, 60.0
PRIOR_WEIGHT = 1.0
"""As much as one sample of now: what is idle for long is as good as unmeasured, or the loser of two would stay one."""
REBASE_S = 3600.0
"""Weights grow by e a tau; from a landmark this old on they are counted from a new one."""
SIZES = (1_000, 8_000, 32_000)
"""Prompts of these sizes are measured apart, or an endpoint would look slow because it got the long ones."""
SLOT_S, SLOTS = 300, 7
MINUTES, HOURS = 31, 25
COUNTED_MIN = 10
"""A minute with fewer attempts says nothing about uptime."""
UP_SHARE = 0.8
QUANTILES = (50, 75, 90, 99)
_CLASSES_PER_OCTAVE = 4


Sample = tuple[float, int, float | None, float | None]
"""When an answer was whole, the `size_of` its prompt, seconds to the first content, seconds a token."""


def size_of(input_tokens: int) -> int:
    """The class of a prompt's length."""
    return 0 if input_tokens <= SIZES[0] else 1 if input_tokens <= SIZES[1] else 2 if input_tokens <= SIZES[2] else 3


class Slot(msgspec.Struct, array_like=True):
    """Counts of five minutes: milliseconds to the first content, and tokens a second, by class."""

    ttft: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    speed: dict[int, int] = msgspec.field(default_factory=dict[int, int])


class Statistics(msgspec.Struct, array_like=True):
    """Mutable on purpose: one a process and endpoint, touched on the path of every attempt."""

    tau_s: Annotated[float, msgspec.Meta(gt=0)]
    landmark_s: float
    ttft: Annotated[list[float], msgspec.Meta(min_length=4, max_length=4)] = msgspec.field(
        default_factory=lambda: [0.0] * 4
    )
    """Weighted seconds to the first content, by `size_of` the prompt."""
    ttft_weight: Annotated[list[float], msgspec.Meta(min_length=4, max_length=4)] = msgspec.field(
        default_factory=lambda: [0.0] * 4
    )
    itl: float = 0.0
    """Weighted seconds a token."""
    itl_weight: float = 0.0
    sent: float = 0.0
    """Weighted attempts, counted when they are sent."""
    failed: float = 0.0
    """Weighted attempts that were its fault."""
    attempts: int = 0
    slots: dict[int, Slot] = msgspec.field(default_factory=dict[int, Slot])
    minutes: dict[int, list[int]] = msgspec.field(default_factory=dict[int, list[int]])
    """Attempts and failures of each of the last thirty minutes."""
    hours: dict[int, list[int]] = msgspec.field(default_factory=dict[int, list[int]])
    """Of the minutes before those, by hour: how many were counted, and in how many of them it was up."""

    # ---- what happens

    def send(self, now_s: float, count: int = 1) -> None:
        weight = self._weight(now_s)  # first: it may count all of them from a new landmark
        self.attempts += count
        self.sent += count * weight
        self._minute(now_s)[0] += count

    def fail(self, now_s: float) -> None:
        weight = self._weight(now_s)
        self.failed += weight
        self._minute(now_s)[1] += 1

    def answer(self, now_s: float, size: int, ttft_s: float | None, itl_s: float | None) -> None:
        """An answer was whole: its time to the first content and its seconds a token, where they can be told."""
        self.answers([(now_s, size, ttft_s, itl_s)])

    def answers(self, samples: Iterable[Sample]) -> None:
        """Several, in the order in which they ended; what ends within a second weighs the same."""
        second, weight, slot = -1.0, 0.0, Slot()
        for at_s, size, ttft_s, itl_s in samples:
            if at_s - second >= 1.0 or second < 0:
                second, weight = at_s, self._weight(at_s)
                slot = self.slots.get(int(at_s) // SLOT_S) or self._slot(int(at_s) // SLOT_S)
            if ttft_s is not None:
                self.ttft[size] += weight * ttft_s
                self.ttft_weight[size] += weight
                _count(slot.ttft, ttft_s * 1e3)
            if itl_s:
                self.itl += weight * itl_s
                self.itl_weight += weight
                _count(slot.speed, 1 / itl_s)

    def _weight(self, now_s: float) -> float:
        age = now_s - self.landmark_s
        if age > REBASE_S:
            self._rebase(now_s)
            age = 0.0
        return _grown(age / self.tau_s)

    def _rebase(self, landmark_s: float) -> None:
        self._scale(math.exp((self.landmark_s - landmark_s) / self.tau_s))
        self.landmark_s = landmark_s

    def _scale(self, factor: float) -> None:
        self.ttft = [one * factor for one in self.ttft]
        self.ttft_weight = [one * factor for one in self.ttft_weight]
        self.itl *= factor
        self.itl_weight *= factor
        self.sent *= factor
        self.failed *= factor

    def _slot(self, number: int) -> Slot:
        self.slots = {key: slot for key, slot in self.slots.items() if key > number - SLOTS}
        slot = self.slots[number] = Slot()
        return slot

    def _minute(self, now_s: float) -> list[int]:
        number = int(now_s) // 60
        found = self.minutes.get(number)
        if found is None:
            found = self.minutes[number] = [0, 0]
            self._close_minutes(number)
        return found

    def _close_minutes(self, number: int) -> None:
        for old in [key for key in self.minutes if key <= number - MINUTES]:
            sent, failed = self.minutes.pop(old)
            if sent >= COUNTED_MIN:
                hour = self.hours.setdefault(old // 60, [0, 0])
                hour[0] += 1
                hour[1] += failed <= sent * (1 - UP_SHARE)
        for old in [key for key in self.hours if key <= number // 60 - HOURS]:
            del self.hours[old]

    def add(self, other: Statistics) -> None:
        """Take over what another process has measured."""
        self.add_means(other)
        for number, slot in other.slots.items():
            mine = self.slots.get(number) or self._slot(number)
            _add(mine.ttft, slot.ttft)
            _add(mine.speed, slot.speed)
        for mine, theirs in ((self.minutes, other.minutes), (self.hours, other.hours)):
            for number, (first, second) in theirs.items():
                pair = mine.setdefault(number, [0, 0])
                pair[0] += first
                pair[1] += second
        if self.minutes:
            self._close_minutes(max(self.minutes))

    def add_means(self, other: Statistics) -> None:
        """Of that only what means are made of."""
        landmark_s = max(self.landmark_s, other.landmark_s)
        self._rebase(landmark_s)
        factor = math.exp((other.landmark_s - landmark_s) / self.tau_s)
        self.ttft = [mine + theirs * factor for mine, theirs in zip(self.ttft, other.ttft, strict=True)]
        weights = zip(self.ttft_weight, other.ttft_weight, strict=True)
        self.ttft_weight = [mine + theirs * factor for mine, theirs in weights]
        self.itl += other.itl * factor
        self.itl_weight += other.itl_weight * factor
        self.sent += other.sent * factor
        self.failed += other.failed * factor
        self.attempts += other.attempts

    # ---- what it means

    def ttft_s(self, now_s: float, size: int, prior_s: float) -> float:
        """Expected seconds to the first content of a prompt of this size, drawn towards `prior_s` by age."""
        prior = PRIOR_WEIGHT * _grown((now_s - self.landmark_s) / self.tau_s)
        all_sizes = (sum(self.ttft) + prior * prior_s) / (sum(self.ttft_weight) + prior)
        return (self.ttft[size] + prior * all_sizes) / (self.ttft_weight[size] + prior)

    def itl_s(self, now_s: float, prior_s: float) -> float:
        """Expected seconds a token, drawn towards `prior_s` by age."""
        prior = PRIOR_WEIGHT * _grown((now_s - self.landmark_s) / self.tau_s)
        return (self.itl + prior * prior_s) / (self.itl_weight + prior)

    def samples(self, now_s: float) -> float:
        """How many first contents it has been measured by, in samples of now."""
        return sum(self.ttft_weight) * _grown((self.landmark_s - now_s) / self.tau_s)

    @property
    def mean_ttft_s(self) -> float | None:
        """Over all sizes, as measured; None where nothing was."""
        weight = sum(self.ttft_weight)
        return sum(self.ttft) / weight if weight else None

    @property
    def mean_itl_s(self) -> float | None:
        return self.itl / self.itl_weight if self.itl_weight else None

    def success(self, now_s: float) -> float:
        """The share of attempts that did not fail by its fault, of late; what is idle for long is forgiven."""
        prior = PRIOR_WEIGHT * _grown((now_s - self.landmark_s) / self.tau_s)
        return max(0.0, 1 - self.failed / (self.sent + prior))

    def latency_s(self, now_s: float, window_s: int) -> dict[int, float] | None:
        """Quantiles of the seconds to the first content within a window; None where nothing was measured."""
        found = _quantiles(slot.ttft for slot in self._within(now_s, window_s))
        return None if found is None else {quantile: value / 1e3 for quantile, value in found.items()}

    def throughput(self, now_s: float, window_s: int) -> dict[int, float] | None:
        """Quantiles of tokens a second within a window; None where nothing was measured."""
        return _quantiles(slot.speed for slot in self._within(now_s, window_s))

    def _within(self, now_s: float, window_s: int) -> list[Slot]:
        first = (int(now_s) - window_s) // SLOT_S
        return [slot for number, slot in self.slots.items() if number >= first]

    def uptime(self, now_s: float, window_s: int) -> float | None:
        """The share of the minutes of a window in which it was up; None where no minute had attempts enough."""
        now = int(now_s) // 60
        minutes = [pair for number, pair in self.minutes.items() if now - window_s // 60 < number]
        counted = [failed <= sent * (1 - UP_SHARE) for sent, failed in minutes if sent >= COUNTED_MIN]
        total, up = len(counted), sum(counted)
        if window_s > MINUTES * 60:
            hours = [pair for number, pair in self.hours.items() if now // 60 - window_s // 3600 <= number]
            total, up = total + sum(pair[0] for pair in hours), up + sum(pair[1] for pair in hours)
        return up / total if total else None


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint has been doing, for people and for lists of endpoints. None is not measured."""

    attempts: int
    success: float
    """The share of attempts that did not fail by its fault, of late."""
    latency_s: dict[int, float] | None
    """Quantiles of the time to the first content in the last half hour."""
    throughput: dict[int, float] | None
    """Quantiles of tokens a second."""
    uptime_5m: float | None
    uptime_30m: float | None
    uptime_1d: float | None


def performance(known: Statistics, now_s: float) -> Performance:
    return Performance(
        attempts=known.attempts,
        success=known.success(now_s),
        latency_s=known.latency_s(now_s, 1800),
        throughput=known.throughput(now_s, 1800),
        uptime_5m=known.uptime(now_s, 300),
        uptime_30m=known.uptime(now_s, 1800),
        uptime_1d=known.uptime(now_s, 86_400),
    )


def fresh(now_s: float, *, local: bool) -> Statistics:
    """Of an endpoint that nothing is known about."""
    return Statistics(TAU_LOCAL_S if local else TAU_REMOTE_S, now_s)


def _grown(taus: float) -> float:
    """The weight of a sample so long after a landmark; neither 0 nor infinite where a clock was set to another year."""
    return math.exp(max(-600.0, min(600.0, taus)))


def _count(counts: dict[int, int], value: float) -> None:
    number = round(math.log2(max(0.001, value)) * _CLASSES_PER_OCTAVE)
    counts[number] = counts.get(number, 0) + 1


def _add(mine: dict[int, int], theirs: dict[int, int]) -> None:
    for number, count in theirs.items():
        mine[number] = mine.get(number, 0) + count


def _quantiles(counts: Iterable[dict[int, int]]) -> dict[int, float] | None:
    total: Counter[int] = Counter()
    for one in counts:
        total.update(one)
    if not total:
        return None
    found: dict[int, float] = {}
    seen, wanted = 0, list(QUANTILES)
    for number in sorted(total):
        seen += total[number]
        while wanted and seen * 100 >= wanted[0] * total.total():
            found[wanted.pop(0)] = 2 ** (number / _CLASSES_PER_OCTAVE)
    return found
