"""The rule for answers after trouble: KEDA gets a higher value at once, a lower one only when it has proved itself.

KEDA's cooldown and the HPA's stabilization window keep running during an outage, so the first low answer after it would
remove pods at once. That answer may be wrong, because a backend that has just come back may not have all its data yet.

Trouble is a fault of any place, an error that KEDA was told, or a backend that has just started or changed its role.

- Without trouble in the last `settleSeconds` and nothing left to settle, KEDA is told what is read.
- After trouble, if KEDA was told something before it: that answer becomes the floor. An active trigger stays active,
  and every metric is the higher of the floor and what is read. The floor goes away when lower values have been read for
  `settleSeconds` without interruption, or when values that are not lower are still read `settleSeconds` after the
  trouble.
- After trouble, if KEDA was told nothing before it (the process has just started, or gets the first call for this
  trigger): `Unsettled` is raised until `settleSeconds` have passed. On an error KEDA usually keeps the replicas (see
  `hold` for when it does not).

Everything here is pure. Times are monotonic seconds.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from scaler.core.domain import Assessment, Metric, MetricSpec, Place, Reading
from scaler.core.errors import Unsettled

NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class Rule:
    """The metadata `settleSeconds`, `staleSeconds` and `holdSeconds` of a trigger."""

    settle_seconds: float
    stale_seconds: float
    hold_seconds: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much readings prove: all were read at `taken` or later, and the newest trouble was at `trouble_at`."""

    taken: float
    trouble_at: float = NEVER


@dataclass(frozen=True, slots=True)
class Level:
    """A value for each metric, and the activity: the part of an answer that can be lower than another one."""

    values: tuple[float, ...]
    active: bool


@dataclass(frozen=True, slots=True)
class Settling:
    """The memory of a trigger from one answer to the next.

    `told` is what KEDA was told last, and `told_at` when the readings behind it were taken. `floor` is what KEDA was
    told before the trouble of `trouble_at`; no answer goes below it until it has settled, and then it is None.
    `low_since` is when the readings became lower than `floor` (NaN while they are not). `error_at` is when KEDA was
    told an error last.
    """

    told: Level | None = None
    told_at: float = NEVER
    floor: Level | None = None
    trouble_at: float = NEVER
    low_since: float = math.nan
    error_at: float = NEVER

    @property
    def is_settling(self) -> bool:
        """Whether answers may not go below `floor` yet."""
        return self.floor is not None


def evidence(places: Iterable[Place], readings: Iterable[Reading], now: float) -> Evidence:
    """Return how much `readings`, one for each of `places`, prove at `now`."""
    taken, trouble_at = now, NEVER
    for place, reading in zip(places, readings, strict=True):
        # A place with a minimum interval is not read more often, so its reading counts as new for that long.
        taken = min(taken, reading.at + place.min_refresh_seconds)
        trouble_at = max(trouble_at, reading.trouble_at)
    return Evidence(taken, trouble_at)


def settle(settling: Settling, raw: Assessment, seen: Evidence, rule: Rule) -> tuple[Settling, Assessment]:
    """Return what to remember, and what to tell KEDA, given the assessment `raw` of readings with the evidence `seen`.

    Raises `Unsettled` if KEDA is to be told nothing yet; `settling` then stays as it is.
    """
    level, settle_seconds = Level(tuple(metric.value for metric in raw.metrics), raw.active), rule.settle_seconds
    if settling.told is None:
        left = settle_seconds - (seen.taken - seen.trouble_at)
        if left > 0:
            raise Unsettled(
                "what was read is not told yet: the backend has failed or started a moment ago, and this process has "
                f"told nothing before; it waits {math.ceil(left)} s more of settleSeconds {settle_seconds:g}"
            )
    floor, trouble_at, low_since = settling.floor, settling.trouble_at, settling.low_since
    # Trouble of a place counts for `settleSeconds` only, since the place has been read well since then. An error that
    # KEDA was told counts however old it is: the readings need not show it (a limit was reached, a read came too late).
    fresh = seen.trouble_at if seen.taken - seen.trouble_at < settle_seconds else NEVER
    if max(fresh, settling.error_at) > trouble_at:
        floor, trouble_at, low_since = settling.told, max(fresh, settling.error_at), math.nan
    if floor is not None:
        if not _is_lower(level, floor):
            low_since = math.nan
            settled = seen.taken - trouble_at >= settle_seconds
        else:
            low_since = max(seen.taken, trouble_at) if math.isnan(low_since) else low_since
            settled = seen.taken - low_since >= settle_seconds or settle_seconds == 0
        if settled:
            floor, low_since = None, math.nan
    if floor is None:
        told, answer = level, raw
    else:
        told = _higher(level, floor)
        answer = raw if told == level else _held_up(raw, told, seen.taken - low_since, settle_seconds)
    after = Settling(told, seen.taken, floor, trouble_at, low_since, settling.error_at)
    return after, answer


def _is_lower(told: Level, floor: Level) -> bool:
    return (floor.active and not told.active) or any(
        value < least for value, least in zip(told.values, floor.values, strict=True)
    )


def _higher(told: Level, floor: Level) -> Level:
    values = tuple(max(value, least) for value, least in zip(told.values, floor.values, strict=True))
    return Level(values, told.active or floor.active)


def _held_up(raw: Assessment, told: Level, seen_seconds: float, settle_seconds: float) -> Assessment:
    lower = "inactive" if told.active and not raw.active else "lower"
    reason = (
        f"settling: {lower} is read since trouble, but only seen for {max(0.0, seen_seconds):.0f} s of "
        f"settleSeconds {settle_seconds:g}; KEDA is told what it was told before"
    )
    metrics = tuple(replace(metric, value=value) for metric, value in zip(raw.metrics, told.values, strict=True))
    return replace(raw, metrics=metrics, active=told.active, reasons=(reason, *raw.reasons))


def note_error(settling: Settling, now: float) -> Settling:
    """Return what to remember after KEDA was told an error at `now`."""
    return replace(settling, error_at=now)


def hold(settling: Settling, specs: Sequence[MetricSpec], now: float, rule: Rule, why: str) -> Assessment | None:
    """Return the last answer once more while `why` keeps the places from being read, or None if KEDA must get an error.

    An active answer is repeated for `holdSeconds` after its readings have become stale, because KEDA may scale to zero
    on errors (kedacore/keda 2.20.2: a failing call clears the cache of scalers, and a poll that finds the cache empty
    counts as inactive). An inactive answer is not repeated: at zero pods an error costs nothing, and it can be seen.
    """
    told = settling.told
    if told is None or not told.active or rule.hold_seconds == 0:
        return None
    if now > settling.told_at + rule.stale_seconds + rule.hold_seconds:
        return None
    age = now - settling.told_at
    reason = f"held: the last good reading is {age:.0f} s old; KEDA is told what it was told then ({why})"
    metrics = tuple(Metric(spec.name, value) for spec, value in zip(specs, told.values, strict=True))
    return Assessment(metrics, active=True, reasons=(reason,))
