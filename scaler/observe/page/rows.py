"""The rows of the table: searching, filtering, sorting and paging. Pure."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from scaler.answers.scaledobject import ScaledObject
from scaler.observe.journal.refusals import Refusal

STATES = (
    "error",
    "refused",
    "held",
    "stale",
    "overdue",
    "settling",
    "doubtful",
    "unknown",
    "active",
    "inactive",
)
"""All states of a row, the worst first; some are in addition to the state of the answer, see `Row`."""
TROUBLE = STATES[: STATES.index("active")]
MAX_LIMIT = 1_000


class QueryError(ValueError):
    """A wrong parameter in the URL; the text says which, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One trigger of a ScaledObject, or refused metadata, with everything needed to filter and sort.

    `age` is that of its reading, in seconds. An answer may also be `stale` (its reading is too old), `overdue` (a place
    is read much later than it should be) or `doubtful` (an empty queue may be a mistake). `backend` is a failing one,
    and `fault` says why.
    """

    scaled_object: ScaledObject | Refusal
    state: str
    stale: bool
    age: float | None
    overdue: bool = False
    doubtful: bool = False
    backend: str = ""
    fault: str = ""

    @property
    def marks(self) -> tuple[str, ...]:
        """All states of the row, the worst first."""
        flags = {"stale": self.stale, "overdue": self.overdue, "doubtful": self.doubtful}
        return tuple(state for state in STATES if state == self.state or flags.get(state, False))


def _ratio(row: Row) -> float | None:
    scaled_object = row.scaled_object
    if isinstance(scaled_object, Refusal) or scaled_object.told is None:
        return None
    return max(
        metric.value / spec.target for metric, spec in zip(scaled_object.told.metrics, scaled_object.specs, strict=True)
    )


def _active_since(row: Row) -> float | None:
    if row.state != "active" or isinstance(row.scaled_object, Refusal) or math.isnan(row.scaled_object.active_since):
        return None
    return row.scaled_object.active_since


_SEVERITY = {state: min(index, len(TROUBLE)) for index, state in enumerate(STATES)}
"""Sort key: rows without trouble are equal, and so sorted by name, whether active or not."""


def _severity(row: Row) -> int:
    if row.stale or row.overdue or row.doubtful:
        return _SEVERITY[row.marks[0]]
    return _SEVERITY[row.state]


def _called(row: Row) -> float:
    return -(row.scaled_object.last if isinstance(row.scaled_object, Refusal) else row.scaled_object.asked_at)


def _streams(row: Row) -> int:
    return 0 if isinstance(row.scaled_object, Refusal) else len(row.scaled_object.listeners)


SORTS: Mapping[str, Callable[[Row], Any]] = {
    "name": lambda row: (row.scaled_object.namespace, row.scaled_object.name),
    "state": _severity,
    "value": _ratio,
    "since": _active_since,
    "age": lambda row: row.age,
    "called": _called,
    "streams": _streams,
}


@dataclass(frozen=True, slots=True)
class Query:
    """The query in the URL: `?q=TEXT&state=STATE&backend=BACKEND&sort=[-]KEY&page=N&limit=N`."""

    text: str = ""
    state: str = ""
    backend: str = ""
    sort: str = "state"
    page: int = 1
    limit: int = 50

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> "Query":
        """Return the query; raises `QueryError`."""
        query = cls(
            text=parameters.get("q", "").strip().casefold(),
            state=parameters.get("state", ""),
            backend=parameters.get("backend", ""),
            sort=parameters.get("sort") or "state",
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
        """Return the URL of the same query with `changes`, without parameters that have their default."""
        parts = replace(self, **changes).parts()
        return f"{path}?{urlencode(parts)}" if parts else path

    def hidden(self) -> list[tuple[str, Any]]:
        """Return the hidden fields of a form: all parameters except the page."""
        return [(name, value) for name, value in self.parts().items() if name != "page"]

    def parts(self) -> dict[str, Any]:
        """Return the parameters that differ from their default."""
        names = {"text": "q", "state": "state", "backend": "backend", "sort": "sort", "page": "page", "limit": "limit"}
        default = Query()
        return {name: getattr(self, key) for key, name in names.items() if getattr(self, key) != getattr(default, key)}


def _whole(parameters: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = parameters.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 11 and 1 <= int(text) <= most):
        raise QueryError(f"{name}: must be a whole number from 1 to {most}")
    return int(text)


def moment(parameters: Mapping[str, str], name: str) -> float | None:
    """Return a time parameter as Unix seconds, None without one; raises `QueryError`."""
    text = parameters.get(name, "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = _iso(text)
    if not 0 <= seconds < 1e11:  # also refuses NaN
        raise QueryError(f"{name}: must be Unix seconds, or a time with its zone such as 2026-11-28T03:00:00Z")
    return seconds


def _iso(text: str) -> float:
    try:
        parsed = datetime.fromisoformat(text.replace(" ", "+"))  # `+` in a URL means a blank
    except ValueError:
        return math.nan
    return math.nan if parsed.tzinfo is None else parsed.timestamp()


@dataclass(slots=True)
class Trouble:
    """The faults of one backend, and the number of triggers affected, by their state."""

    backend: str
    fault: str
    faults: set[str] = field(default_factory=set)
    triggers: int = 0
    states: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Selection:
    """One page of rows; `counts` are of all rows that match the text, by state, `troubles` their faults."""

    query: Query
    rows: tuple[Row, ...]
    total: int
    matched: int
    pages: int
    counts: Mapping[str, int]
    troubles: tuple[Trouble, ...] = ()

    def listed_above(self, row: Row) -> bool:
        """Tell whether several rows have the fault of `row`, so that it is shown once above the table."""
        return any(each.backend == row.backend and each.triggers > 1 for each in self.troubles)


def select(rows: Iterable[Row], query: Query) -> Selection:
    """Return the page of `rows` for `query`; a number beyond the last page means the last."""
    found, total, counts = [], 0, Counter[str]()
    troubles: dict[str, Trouble] = {}
    for row in rows:
        total += 1
        if query.text and query.text not in _searched(row.scaled_object):
            continue
        if query.backend and query.backend not in backends_of(row):
            continue
        counts.update(row.marks if row.stale or row.overdue or row.doubtful else (row.state,))
        if row.backend:
            _add(troubles, row)
        if not query.state or query.state == row.state or query.state in row.marks:
            found.append(row)
    found.sort(key=_by_name)
    _sort(found, SORTS[query.key], descending=query.descending)
    pages = max(1, math.ceil(len(found) / query.limit))
    page = min(query.page, pages)
    shown = tuple(found[(page - 1) * query.limit : page * query.limit])
    listed = sorted(troubles.values(), key=lambda each: (-each.triggers, each.backend))
    return Selection(replace(query, page=page), shown, total, len(found), pages, counts, tuple(listed))


def _add(troubles: dict[str, Trouble], row: Row) -> None:
    trouble = troubles.setdefault(row.backend, Trouble(row.backend, row.fault))
    trouble.triggers += 1
    trouble.states[row.state] += 1
    trouble.faults.add(row.fault)


def backends_of(row: Row) -> set[str]:
    """Return the backends of a row."""
    return set() if isinstance(row.scaled_object, Refusal) else {place.backend for place in row.scaled_object.places}


def _searched(scaled_object: ScaledObject | Refusal) -> str:
    if isinstance(scaled_object, Refusal):
        return f"{scaled_object.namespace}/{scaled_object.name} {scaled_object.source}".casefold()
    names = " ".join(spec.name for spec in scaled_object.specs)
    return f"{scaled_object.namespace}/{scaled_object.name} {scaled_object.trigger.source} {names}".casefold()


def _by_name(row: Row) -> tuple[str, ...]:
    scaled_object = row.scaled_object
    if isinstance(scaled_object, Refusal):
        return (scaled_object.namespace, scaled_object.name, scaled_object.message)
    return (scaled_object.namespace, scaled_object.name, *(spec.name for spec in scaled_object.specs))


def _sort(rows: list[Row], key: Callable[[Row], Any], *, descending: bool) -> None:
    """Sort in place; rows without a value come last in either direction."""
    keyed = [(value, row) for row in rows if (value := key(row)) is not None]
    without = [row for row in rows if key(row) is None] if len(keyed) < len(rows) else []
    keyed.sort(key=lambda pair: pair[0], reverse=descending)
    rows[:] = [*(row for _, row in keyed), *without]
