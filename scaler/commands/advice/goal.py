"""The goal of a workload (`--goal`): terms such as `p95 wait <= 30s`, joined by `and`."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from scaler.commands.course import Run
from scaler.commands.wording import duration, number
from scaler.core.errors import ScalerError

GRAMMAR = """a goal is one or more terms joined by `and`; a term is MEASURE <= NUMBER (or <, or =):
  p50|p95|p99|max wait <= 250ms|30s|2m|1h
  killed jobs <= 0
  replicas <= 20, mean replicas <= 4
  replica-hours <= 100, cost <= 12.5, wake-ups <= 10, each also `per day`"""
_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "": 1.0}
_TERM = re.compile(
    r"(?P<what>[a-z][a-z0-9 -]*?)\s*(?P<sign><=|≤|<|==?)\s*(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?P<unit>[a-z]*)"
)


class GoalError(ScalerError):
    """The goal cannot be parsed, or the trace lacks what it needs."""

    code = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class Measure:
    """A measured result of a run, None if the run has none; a total grows with the length of the run."""

    of: Callable[[Run, float], float | None]  # called with a run and the price of a replica-hour
    total: bool = False
    seconds: bool = False
    jobs: bool = False  # only known if workers are modelled


def _wait(share: float) -> Measure:
    return Measure(
        lambda run, _: 0.0 if run.wait is None or not run.wait.jobs else run.wait.percentile(share),
        seconds=True,
        jobs=True,
    )


_KILLED = Measure(lambda run, _: run.interrupted, total=True, jobs=True)
_REPLICAS = Measure(lambda run, _: run.max_replicas)
MEASURES: dict[str, Measure] = {
    "p50 wait": _wait(50),
    "p95 wait": _wait(95),
    "p99 wait": _wait(99),
    "max wait": _wait(100),
    "killed jobs": _KILLED,
    "interrupted jobs": _KILLED,
    "replicas": _REPLICAS,
    "max replicas": _REPLICAS,
    "mean replicas": Measure(lambda run, _: run.replica_steps / run.grid.steps),
    "replica-hours": Measure(lambda run, _: run.replica_hours, total=True),
    "cost": Measure(lambda run, price: run.replica_hours * price, total=True),
    "wake-ups": Measure(lambda run, _: run.wake_ups, total=True),
}


@dataclass(frozen=True, slots=True)
class Term:
    """One bound: `measure` must be at most `most`, or below it; for a total, per day if `daily`."""

    text: str
    measure: Measure
    most: float
    below: bool
    daily: bool

    def found(self, run: Run, price: float) -> float:
        """Return the measured value of `run`."""
        value = self.measure.of(run, price)
        if value is None:
            raise GoalError(f"--goal: {self.text!r} cannot be judged, because the trace has no arrivals")
        return value * 86_400 / max(run.seconds, 1.0) if self.daily else value

    def excess(self, run: Run, price: float, share: float, margin: float) -> float:
        """Return by how much `run` exceeds the bound, as a share of it; 0 if it does not.

        `share` is the part of the history that `run` replays; the bound of a total is multiplied by it. `margin` is the
        part of a bound on waits and killed jobs that may be used up.
        """
        most, value = self.most, self.found(run, price)
        if self.measure.jobs:
            most *= margin
        if self.measure.total and not self.daily:
            most *= share
        if value < most or (value == most and not self.below):
            return 0.0
        return max((value - most) / max(most, 1.0), 1e-9)

    def cut(self, share: float) -> str:
        """Return the text for the bound in a part of the history, "" if it is the same."""
        return (
            f", of {self.shown(self.most * share)} for this part"
            if self.measure.total and not self.daily and share < 1
            else ""
        )

    def shown(self, value: float) -> str:
        """Return a value of its measure as text."""
        return duration(value) if self.measure.seconds else number(value)


@dataclass(frozen=True, slots=True)
class Goal:
    """All terms must be met; `price` is that of a replica-hour."""

    text: str
    terms: tuple[Term, ...]
    price: float = 1.0

    def excess(self, run: Run, share: float = 1.0, margin: float = 1.0) -> float:
        """Return the sum of the excesses of all terms; 0 if all are met."""
        return sum(term.excess(run, self.price, share, margin) for term in self.terms)

    @property
    def bounds_every_wait(self) -> bool:
        """Whether a term limits the wait of every job, so that none may wait for ever."""
        return any(term.measure is MEASURES["max wait"] for term in self.terms)

    def missed(self, run: Run, share: float = 1.0) -> list[str]:
        """Return a line for each term that `run` does not meet."""
        return [
            f"{term.text}: it is {term.shown(term.found(run, self.price))}{term.cut(share)}"
            for term in self.terms
            if term.excess(run, self.price, share, 1.0)
        ]


def parse_goal(text: str, price: float | None, *, arrivals: bool) -> Goal:
    """Parse the goal in `text`; `arrivals` says whether the trace has them, as otherwise no waits are known.

    Raises `GoalError` with the wrong term and the grammar.
    """
    terms = tuple(_term(part.strip(), price) for part in re.split(r"(?i)\s+and\s+|,", text.strip()))
    for term in terms:
        if term.measure.jobs and not arrivals:
            raise GoalError(
                f"--goal: {term.text!r} needs a trace with `arrivals`; with given counts no job is modelled"
            )
    return Goal(text, terms, 1.0 if price is None else price)


def _term(text: str, price: float | None) -> Term:
    match = _TERM.fullmatch(" ".join(text.lower().split()))
    if match is None:
        raise GoalError(f"--goal: {text!r} is not understood; {GRAMMAR}")
    what = match["what"].strip()
    daily = what.endswith(" per day")
    measure = MEASURES.get(what.removesuffix(" per day"))
    if measure is None or (daily and not measure.total):
        raise GoalError(f"--goal: {what!r} is nothing that can be measured; {GRAMMAR}")
    if match["unit"] and (not measure.seconds or match["unit"] not in _UNITS):
        allowed = "one of ms, s, m, h" if measure.seconds else "left out"
        raise GoalError(f"--goal: {text!r}: the unit {match['unit']!r} must be {allowed}")
    if measure is MEASURES["cost"] and price is None:
        raise GoalError("--goal: cost needs --replica-hour-price, what a replica costs in an hour")
    most = float(match["number"]) * (_UNITS[match["unit"]] if measure.seconds else 1.0)
    if match["sign"] in {"=", "=="} and most:
        raise GoalError(f"--goal: {text!r}: only 0 can be demanded with =; say <=")
    return Term(text, measure, most, match["sign"] == "<", daily)
