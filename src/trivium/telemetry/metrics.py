"""What this process has counted since it started, as the Prometheus text format shows it.

Plain integers: a request's path adds to them, the admin plane renders them. Source of the format:
Prometheus exposition format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized

from trivium.catalog.rows import Endpoint

Sample = tuple[str, dict[str, str], int]
"""Name, labels, value."""

NAMES = {
    "trivium_requests_total": "Requests that are over, by the status that their caller saw.",
    "trivium_attempts_total": "Upstream calls that are over, by endpoint, road and outcome.",
    "trivium_tokens_total": "Tokens of settled attempts, by endpoint and direction.",
    "trivium_cost_nanodollars_total": "Known cost of settled attempts in nano-dollars, by endpoint.",
    "trivium_unknown_cost_total": "Settled attempts whose cost is unknown, by endpoint.",
    "trivium_requests_in_flight": "Requests that are being served.",
}


ENDPOINTS_MAX = 4096


class EndpointCounters:
    """The numbers of one endpoint."""

    __slots__ = ("access", "cost_nanos", "input_tokens", "outcomes", "output_tokens", "unknown_cost")

    def __init__(self, access: str) -> None:
        self.access = access
        self.outcomes: dict[str, int] = {}
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost_nanos = 0
        self.unknown_cost = 0


class Metrics:
    """All counters of a process; what `in_flight` holds is being served."""

    def __init__(self, in_flight: Sized = ()) -> None:
        self.requests: dict[int, int] = {}
        self.endpoints: dict[str, EndpointCounters] = {}
        self._in_flight = in_flight

    def request(self, status: int) -> None:
        self.requests[status] = self.requests.get(status, 0) + 1

    def attempt(
        self, endpoint: Endpoint, outcome: str, input_tokens: int, output_tokens: int, cost: int | None
    ) -> None:
        counters = self.endpoints.get(endpoint.id)
        if counters is None:
            # Callers invent model ids; what is beyond the bound is counted by provider.
            name = endpoint.id if len(self.endpoints) < ENDPOINTS_MAX else f"{endpoint.provider.id}/*"
            counters = self.endpoints.setdefault(name, EndpointCounters(endpoint.access))
        counters.outcomes[outcome] = counters.outcomes.get(outcome, 0) + 1
        counters.input_tokens += input_tokens
        counters.output_tokens += output_tokens
        if cost is None:
            counters.unknown_cost += 1
        else:
            counters.cost_nanos += cost

    def samples(self) -> Iterable[Sample]:
        """(name, labels, value) of everything counted; also what workers send to their master."""
        for status, count in sorted(self.requests.items()):
            yield "trivium_requests_total", {"status": str(status)}, count
        for endpoint, counters in sorted(self.endpoints.items()):
            labels = {"endpoint": endpoint, "access": counters.access}
            for outcome, count in sorted(counters.outcomes.items()):
                yield "trivium_attempts_total", {**labels, "outcome": outcome}, count
            yield "trivium_tokens_total", {**labels, "direction": "input"}, counters.input_tokens
            yield "trivium_tokens_total", {**labels, "direction": "output"}, counters.output_tokens
            yield "trivium_cost_nanodollars_total", labels, counters.cost_nanos
            yield "trivium_unknown_cost_total", labels, counters.unknown_cost
        yield "trivium_requests_in_flight", {}, len(self._in_flight)


def render(samples: Iterable[Sample]) -> str:
    """The exposition text; equal series (of several workers) are added up."""
    sums: dict[str, dict[str, int]] = {name: {} for name in NAMES}
    for name, labels, value in samples:
        inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        series = sums[name]
        series[inner] = series.get(inner, 0) + value
    lines: list[str] = []
    for name, series in sums.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += [f"# HELP {name} {NAMES[name]}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{{{inner}}} {value}" if inner else f"{name} {value}" for inner, value in series.items()]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
