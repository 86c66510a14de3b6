"""Which ScaledObjects the table shows: searching, filtering, sorting and paging, without any I/O."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from scaler.answers.scaledobject import ScaledObject

STATES = ("error", "held", "stale", "settling", "unknown", "active", "inactive")
"""The worst first. `stale` goes along with what was told: it stands on a reading that is too old."""
MAX_LIMIT = 1_000


class QueryError(ValueError):
    """A parameter of the URL that makes no sense; the text says which and what is allowed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One trigger of a ScaledObject, with what is needed to filter and sort; `age` is that of its reading, in seconds."""

    asker: ScaledObject
    state: str
    stale: bool
    age: float | None


def _ratio(row: Row) -> float | None:
    told = row.asker.told
    if told is None:
        return None
    return max(metric.value / spec.target for metric, spec in zip(told.metrics, row.asker.specs, strict=True))


def _active_since(row: Row) -> float | None:
    return row.asker.active_since if row.state == "active" and not math.isnan(row.asker.active_since) else None


def _severity(row: Row) -> int:
    return STATES.index("stale" if row.stale else row.state)


SORTS: Mapping[str, Callable[[Row], Any]] = {
    "name": lambda row: (row.asker.namespace, row.asker.name),
    "state": _severity,
    "value": _ratio,
    "since": _active_since,
    "age": lambda row: row.age,
    "called": lambda row: -row.asker.asked_at,
    "streams": lambda row: len(row.asker.listeners),
}


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for in the URL: `?q=TEXT&state=STATE&sort=[-]KEY&page=N&limit=N`."""

    text: str = ""
    state: str = ""
    sort: str = "name"
    page: int = 1
    limit: int = 50

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> "Query":
        """Return the query; raises `QueryError`."""
        query = cls(
            text=parameters.get("q", "").strip().casefold(),
            state=parameters.get("state", ""),
            sort=parameters.get("sort") or "name",
            page=_whole(parameters, "page", 1, 10**9),
            limit=_whole(parameters, "limit", 50, MAX_LIMIT),
        )
        if query.state not in {"", *STATES}:
            raise QueryError(f"state: must be one of {', '.join(STATES)}")
        if query.key not in SORTS:
            raise QueryError(f"sort: must be one of {', '.join(SORTS)}, with - before it for the other direction")
        return query

    @property
    def key(self) -> str:
        """The name of the sort key."""
        return self.sort.removeprefix("-")

    @property
    def descending(self) -> bool:
        """Whether the greatest comes first."""
        return self.sort.startswith("-")

    def url(self, path: str, **changes: Any) -> str:
        """Return the address of the same query with `changes`; whatever has its default is left out."""
        changed, default = replace(self, **changes), Query()
        named = {"text": "q", "state": "state", "sort": "sort", "page": "page", "limit": "limit"}
        parts = {
            name: getattr(changed, field)
            for field, name in named.items()
            if getattr(changed, field) != getattr(default, field)
        }
        return f"{path}?{urlencode(parts)}" if parts else path


def _whole(parameters: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = parameters.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 11 and 1 <= int(text) <= most):
        raise QueryError(f"{name}: must be a whole number from 1 to {most}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Selection:
    """One page of the rows; `counts` are of all rows that match the text, by state."""

    query: Query
    rows: tuple[Row, ...]
    total: int
    matched: int
    pages: int
    counts: Mapping[str, int]


def select(rows: Iterable[Row], query: Query) -> Selection:
    """Return the page of `rows` that `query` asks for; one beyond the last is the last."""
    found, total, counts = [], 0, Counter[str]()
    for row in rows:
        total += 1
        if query.text and query.text not in _searched(row.asker):
            continue
        counts[row.state] += 1
        counts["stale"] += row.stale
        if not query.state or query.state == row.state or (row.stale and query.state == "stale"):
            found.append(row)
    found.sort(key=_by_name)
    _sort(found, SORTS[query.key], descending=query.descending)
    pages = max(1, math.ceil(len(found) / query.limit))
    page = min(query.page, pages)
    shown = tuple(found[(page - 1) * query.limit : page * query.limit])
    return Selection(replace(query, page=page), shown, total, len(found), pages, counts)


def _searched(asker: ScaledObject) -> str:
    names = " ".join(spec.name for spec in asker.specs)
    return f"{asker.namespace}/{asker.name} {asker.trigger.source} {names}".casefold()


def _by_name(row: Row) -> tuple[str, ...]:
    return (row.asker.namespace, row.asker.name, *(spec.name for spec in row.asker.specs))


def _sort(rows: list[Row], key: Callable[[Row], Any], *, descending: bool) -> None:
    """Sort in place; what has no value comes last in either direction."""
    keyed = [(value, row) for row in rows if (value := key(row)) is not None]
    without = [row for row in rows if key(row) is None] if len(keyed) < len(rows) else []
    keyed.sort(key=lambda pair: pair[0], reverse=descending)
    rows[:] = [*(row for _, row in keyed), *without]
