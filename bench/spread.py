"""Medians over runs, and how far the runs lie apart."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of `values` are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return the median of `values`, the lowest and the highest of them: one cell of a table."""
    found = list(values)
    return {"median": statistics.median(found), "from": min(found), "to": max(found)}


def spreads(rounds: Iterable[Mapping[str, Any]], *names: str) -> Row:
    """Return the spread of each of `names` over `rounds`."""
    kept = list(rounds)
    return {name: spread(each[name] for each in kept) for name in names}


def ratios(over: Iterable[Mapping[str, Any]], under: Iterable[Mapping[str, Any]], name: str) -> dict[str, float]:
    """Return the spread of the ratios of `name` between rounds that were measured one after the other."""
    return spread(one[name] / other[name] for one, other in zip(over, under, strict=True))


def middle(cell: Any) -> float:
    """Return the median of a cell, which is the number itself where there is no spread."""
    return float(cell["median"] if isinstance(cell, Mapping) else cell)


def highest(cell: Any) -> float:
    """Return the highest value of a cell."""
    return float(cell["to"] if isinstance(cell, Mapping) else cell)
