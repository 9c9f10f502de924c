#!/usr/bin/env python3
"""How many requests a second of CPU the simulator drives, by strategy: three endpoints, one with outages.

simulate.py [REQUESTS]   run with the environment's Python; prints requests a second of one core, the best of 3 turns
"""

import sys
import time

from trivium.catalog.rows import Endpoint, Price, Provider
from trivium.routing.plan import Plan
from trivium.routing.route import Order, Route
from trivium.routing.simulate import Fault, Script, Scripted, Simulation, poisson
from trivium.types.data import DataClass

PER_S, TURNS = 500.0, 3
STRATEGIES: tuple[Order, ...] = ("order", "cheapest", "fastest", "balanced")


def endpoint(name: str, price: int) -> Endpoint:
    return Endpoint(
        id=f"{name}/m",
        provider=Provider(id=name),
        model="m",
        price=Price(input=price, output=4 * price),
        context=None,
        max_output=None,
        capabilities=frozenset(),
        ceiling=DataClass.ANY,
    )


def turn(strategy: Order, count: int) -> float:
    """Requests a second of CPU."""
    endpoints = tuple(endpoint(name, price) for name, price in (("a", 1_000), ("b", 2_000), ("c", 3_000)))
    span_s = count / PER_S
    faults = tuple(Fault(span_s * share, span_s * share + 60) for share in (0.2, 0.5, 0.8))
    scripts = {
        one.id: Script(ttft_s=0.4, itl_s=0.01, faults=faults if one is endpoints[0] else ()) for one in endpoints
    }
    plan = Plan(requested="r", route=Route(name="r", targets=(), strategy=strategy), endpoints=endpoints)
    world = Scripted(scripts)
    began = time.process_time()
    Simulation(world).run(poisson(plan, count=count, per_s=PER_S, seed=1, input_tokens=900, output_tokens=100))
    took = time.process_time() - began
    if sum(world.answered.values()) + world.errors != count:
        raise SystemExit("some requests did not end")
    return count / took


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    for strategy in STRATEGIES:
        print(f"{strategy:10} {max(turn(strategy, count) for _ in range(TURNS)):>9,.0f} requests/s")
