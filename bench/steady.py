"""What the rounds of the fleets come to: the tables of part b, how each quantity grows, and the size of a deployment."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.costs import sizing
from bench.keda import POLL_SECONDS, SYNC_SECONDS
from bench.spread import Row, middle, ratios, spread
from scaler.sources.sqs.prices import CostSettings

HEADROOM = 0.8
"""Share of a core that a process may use before another one is needed."""
SERVED = 0.98
"""Share of the calls of a round that must be answered in it, or else one process was not enough."""
GROWING = (
    "RPC/s", "floor core %", "core %", "p50 ms", "p99 ms", "longest block ms", "upstream per min", "RSS MB",
)  # fmt: skip
Rounds = Sequence[Mapping[str, Any]]


def tables(rounds: Rounds) -> dict[str, list[Row]]:
    """Return a table for each question; all but the last two have a row for each size of fleet."""
    sizes = sorted({each["ScaledObjects"] for each in rounds})
    by_size = [[each for each in rounds if each["ScaledObjects"] == size] for size in sizes]
    fleets = [_fleet(size, found) for size, found in zip(sizes, by_size, strict=True)]
    rules = [_rule(size, found) for size, found in zip(sizes, by_size, strict=True)]
    processes = [_processes(size, found) for size, found in zip(sizes, by_size, strict=True)]
    told = {"fleet": fleets, "built-in rule": rules, "processes": processes}
    if len(sizes) > 1:
        joined = [fleet | rule | need for fleet, rule, need in zip(fleets, rules, processes, strict=True)]
        told |= {"growth": growth(joined), "sizing": sizing(joined, CostSettings())}
    return told


def _sides(rounds: Rounds) -> tuple[Rounds, Rounds]:
    """Return the rounds of the floor and those of the scaler."""
    floor, real = ([each for each in rounds if each["server"] == kind] for kind in ("empty", "real"))
    return floor, real


def _median(rounds: Rounds, name: str) -> float:
    return spread(each[name] for each in rounds)["median"]


def _offered(size: int) -> float:
    """Return the calls per second of a fleet that is active: three at every poll and at every sync."""
    return size * 3 * (1 / POLL_SECONDS + 1 / SYNC_SECONDS)


def _fleet(size: int, rounds: Rounds) -> Row:
    floor, real = _sides(rounds)
    return {
        "ScaledObjects": size,
        "runs": len(real),
        "RPC/s": _median(real, "RPC/s"),
        "failed": sum(each["failed"] + each["broken streams"] for each in rounds),
        "floor core %": _median(floor, "core %"),
        "core %": _median(real, "core %"),
        "ratio": ratios(real, floor, "core %"),
        "p50 ms": _median(real, "p50 ms"),
        "floor p99 ms": _median(floor, "p99 ms"),
        "p99 ms": _median(real, "p99 ms"),
        "p99 ratio": ratios(real, floor, "p99 ms"),
        "floor's longest block ms": spread(each["longest block ms"] for each in floor),
        "longest block ms": spread(each["longest block ms"] for each in real),
    }


def _rule(size: int, rounds: Rounds) -> Row:
    """Compare with KEDA's built-in scalers, which ask the backend at every poll and at every sync."""
    _, real = _sides(rounds)
    rule = _offered(size) / 3 * 60
    return {
        "ScaledObjects": size,
        "places": real[-1]["places"],
        "runs": len(real),
        "upstream per min": _median(real, "upstream per min"),
        "built-in per min": rule,
        "ratio": spread(each["upstream per min"] / rule for each in real),
    }


def _processes(size: int, rounds: Rounds) -> Row:
    """Say how many processes the calls of a fleet need, with nothing behind them and with the scaler."""
    floor, real = _sides(rounds)
    well = not any(each["failed"] + each["broken streams"] for each in real)
    served = well and all(each["RPC/s"] >= SERVED * each["asked RPC/s"] for each in real)
    return {
        "ScaledObjects": size,
        "offered RPC/s": _offered(size),
        "runs": len(real),
        "floor µs per RPC": _median(floor, "µs per RPC"),
        "µs per RPC": _median(real, "µs per RPC"),
        "the floor asks for": _needed(size, _median(floor, "µs per RPC")),
        # What one process has answered whole needs no second one; beyond that there is only arithmetic.
        "the scaler took": 1 if served else max(2, _needed(size, _median(real, "µs per RPC"))),
        "streams": real[-1]["streams"],
        "floor RSS MB": floor[-1]["RSS MB"],
        "RSS MB": real[-1]["RSS MB"],
    }


def _needed(size: int, microseconds: float) -> int:
    return max(1, math.ceil(_offered(size) * microseconds / 1e6 / HEADROOM))


def growth(fleets: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return how each quantity grows from the smallest to the largest fleet.

    The exponent is that of N: 0 for what does not depend on it, 1 for what is proportional.
    """
    sizes = [row["ScaledObjects"] for row in fleets]
    rows = []
    for name in GROWING:
        values = [middle(row[name]) for row in fleets]
        first, last, steps = values[0], values[-1], sizes[-1] - sizes[0]
        positive = first > 0 and last > 0
        rows.append({
            "quantity": name,
            "runs": fleets[0]["runs"],
            **{f"at {size:,}": value for size, value in zip(sizes, values, strict=True)},
            "for each 1,000 more": (last - first) / steps * 1_000,
            "exponent": math.log(last / first) / math.log(sizes[-1] / sizes[0]) if positive else None,
        })  # fmt: skip
    return rows
