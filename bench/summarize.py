#!/usr/bin/env python3
"""Tables out of a result file of bench.py: medians over rounds; ratios and differences are taken inside a round first.

summarize.py [--base NAME] FILE      NAME: the server that "vs" and "over" compare with (default nginx)
"""

import argparse
import json
import statistics
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

Value = Callable[[dict, str], float]  # (round, server) -> number


class Column(NamedTuple):
    title: str
    value: Value
    digits: int = 0
    spread: bool = False  # show the lowest and highest round too


def get(case: str, *path: str) -> Value:
    def value(row: dict, name: str) -> float:
        found = row[name][case]
        for key in path:
            found = found[key]
        return found

    return value


def versus(value: Value, base: str) -> Value:
    return lambda row, name: value(row, name) / value(row, base)


def over(value: Value, base: str) -> Value:
    return lambda row, name: value(row, name) - value(row, base)


def cpu(case: str) -> Value:
    return get(case, "cpu_us")


def errors(row: dict, name: str) -> float:
    return sum(case["errors"] for case in row[name].values() if isinstance(case, dict))


def core_used(case: str) -> Value:
    return lambda row, name: row[name][case]["cpu_s"] / row[name][case]["wall_s"]


def tables(base: str) -> list[list[Column]]:
    """Each is sorted by its first column."""
    p50_50, p50_500, p99_500 = (
        get("rate_50", "latency", "p50"),
        get("rate_500", "latency", "p50"),
        get("rate_500", "latency", "p99"),
    )
    translated = cpu("translate_stream")
    return [
        [
            Column("CPU µs/request c=64", cpu("plain_c64"), 1),
            Column(f"vs {base}", versus(cpu("plain_c64"), base), 2, spread=True),
            Column("CPU µs c=16", cpu("plain_c16"), 1),
            Column("CPU µs c=1", cpu("plain_c1"), 1),
            Column("rps c=1", get("plain_c1", "rps")),
            Column("rps c=16", get("plain_c16", "rps")),
            Column("rps c=64", get("plain_c64", "rps")),
            Column("100 kB: CPU µs", cpu("plain_100k"), 1),
            Column(f"100 kB: vs {base}", versus(cpu("plain_100k"), base), 2, spread=True),
            Column("errors, all cases", errors),
        ],
        [
            Column(f"p50 at 500/s over {base}, µs", over(p50_500, base), spread=True),
            Column("over direct", over(p50_500, "direct")),
            Column("p99 at 500/s over direct", over(p99_500, "direct")),
            Column(f"p50 at 50/s over {base}", over(p50_50, base)),
            Column("over direct", over(p50_50, "direct")),
            Column("CPU µs/request at 50/s", cpu("rate_50")),
            Column("p50 c=1, µs", get("plain_c1", "latency", "p50")),
        ],
        [
            Column("CPU µs/chunk c=256", cpu("stream_c256"), 1),
            Column(f"vs {base}", versus(cpu("stream_c256"), base), 2, spread=True),
            Column("CPU µs/chunk c=480", cpu("stream_c480"), 1),
            Column("core used c=480", core_used("stream_c480"), 2),
            Column("chunks/s c=16", get("stream_c16", "events_per_s")),
            Column("c=256", get("stream_c256", "events_per_s")),
            Column("c=480", get("stream_c480", "events_per_s")),
            Column("TTFT p50 c=16 over direct, µs", over(get("stream_c16", "ttft", "p50"), "direct")),
            Column("TTFT p50 c=256, µs", get("stream_c256", "ttft", "p50")),
            Column("gap p99 c=256, µs", get("stream_c256", "gap", "p99")),
        ],
        [
            Column("translated: CPU µs/chunk c=256", translated, 1),
            Column(
                "vs own stream_c256",
                lambda row, name: translated(row, name) / cpu("stream_c256")(row, name),
                2,
                spread=True,
            ),
            Column("chunks/s", get("translate_stream", "events_per_s")),
            Column("TTFT p50, µs", get("translate_stream", "ttft", "p50")),
            Column("gap p99, µs", get("translate_stream", "gap", "p99")),
        ],
        [
            Column("RSS MB after", get("rss_mb")),
            Column("RSS MB at boot", get("rss_boot_mb")),
            Column("seconds to first answer", get("boot_s"), 2),
        ],
    ]


def numbers(rounds: list[dict], column: Column, name: str) -> list[float]:
    found = []
    for row in rounds:
        with suppress(KeyError, TypeError, ZeroDivisionError):  # a case left out, or one without a single good answer
            found.append(column.value(row, name) + 0)
    return found


def cell(column: Column, found: list[float]) -> str:
    if not found:
        return "-"
    text = f"{statistics.median(found):,.{column.digits}f}"
    if column.spread and len(found) > 1:
        text += f" ({min(found):,.{column.digits}f}…{max(found):,.{column.digits}f})"
    return text


def table(rounds: list[dict], columns: list[Column]) -> str:
    names = dict.fromkeys(name for row in rounds for name in row)
    lines = {name: [numbers(rounds, column, name) for column in columns] for name in names}
    lines = {name: found for name, found in lines.items() if any(found)}
    if not lines:
        return ""
    order = sorted(lines, key=lambda name: statistics.median(lines[name][0]) if lines[name][0] else float("inf"))
    out = ["| server | " + " | ".join(c.title for c in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    out += [f"| {name} | " + " | ".join(map(cell, columns, lines[name])) + " |" for name in order]
    return "\n".join(out) + "\n"


def report(result: dict, base: str = "nginx") -> str:
    rounds = result["rounds"]
    head = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
    parts = [table(rounds, columns) for columns in tables(base)]
    return "\n".join([f"{len(rounds)} round(s), {result['started']}, {head}\n", *filter(None, parts)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--base", default="nginx")
    args = parser.parse_args()
    print(report(json.loads(Path(args.file).read_text()), args.base))
