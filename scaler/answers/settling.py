"""How answers come down after trouble: slowly, and only on evidence.

KEDA's cooldown and the HPA's window run on through an outage, so the first low answer after it kills at once, and what a
backend says just after it came back may not be whole. Trouble is a fault of any place, an error that was told, or a
backend that says that it has just started or changed its role. For `settleSeconds` after it:

- Where something was told before, activity stays, and every metric tells the higher of what it told before the trouble
  and what is read now. A lower reading is told once it was seen for `settleSeconds` without a break; and at once, when
  meanwhile a reading that was not lower has stood `settleSeconds` after the trouble.
- Where nothing was told before, because the process has just started or is asked for the first time, and a place shows
  trouble, nothing is told until `settleSeconds` have passed since: KEDA then holds what there is.
- Where there is no sign of trouble, what is read is told at once.

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
    """How long, in seconds, a trigger settles, takes its last reading for known, and holds its last answer after that."""

    settle_seconds: float
    stale_seconds: float
    hold_seconds: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What readings say besides their values: they were true at `taken` or later, and the newest trouble was at `trouble_at`."""

    taken: float
    trouble_at: float = NEVER


@dataclass(frozen=True, slots=True)
class Told:
    """What KEDA was told: a value for each metric, and the activity."""

    values: tuple[float, ...]
    active: bool


@dataclass(frozen=True, slots=True)
class Settling:
    """What is remembered of trouble, and of what was told.

    `told` is what was told last, `told_at` when what it stands on was read. `floor` is what was told before the trouble
    of `trouble_at`, below which nothing is told while it settles; None when there is none or it has settled. `low_since`
    is since when lower is read without a break. `error_at` is when an error was told last.
    """

    told: Told | None = None
    told_at: float = NEVER
    floor: Told | None = None
    trouble_at: float = NEVER
    low_since: float = math.nan
    error_at: float = NEVER

    @property
    def is_settling(self) -> bool:
        """Whether lower than `floor` is not told yet."""
        return self.floor is not None


def evidence(places: Iterable[Place], readings: Iterable[Reading], now: float) -> Evidence:
    """Return what `readings`, one for each of `places`, say at `now` besides their values."""
    taken, trouble_at = now, NEVER
    for place, reading in zip(places, readings, strict=True):
        # What is read seldom is as good as new until it is read again.
        taken = min(taken, reading.at + place.min_refresh_seconds)
        trouble_at = max(trouble_at, reading.trouble_at)
    return Evidence(taken, trouble_at)


def settle(settling: Settling, raw: Assessment, seen: Evidence, rule: Rule) -> tuple[Settling, Assessment]:
    """Return what is remembered from now on, and what to tell by `raw`, which stands on readings with the evidence `seen`.

    Raises `Unsettled` where nothing is to be told yet; `settling` then stays as it is.
    """
    now_told, settle_seconds = Told(tuple(metric.value for metric in raw.metrics), raw.active), rule.settle_seconds
    if settling.told is None:
        left = settle_seconds - (seen.taken - seen.trouble_at)
        if left > 0:
            raise Unsettled(
                "what was read is not told yet: the backend has failed or started a moment ago, and this process has "
                f"told nothing before; it waits {math.ceil(left)} s more of settleSeconds {settle_seconds:g}"
            )
    floor, trouble_at, low_since = settling.floor, settling.trouble_at, settling.low_since
    # A backend that has answered well for so long has settled by itself; an error that was told leaves no such trace.
    fresh = seen.trouble_at if seen.taken - seen.trouble_at < settle_seconds else NEVER
    if max(fresh, settling.error_at) > trouble_at:
        floor, trouble_at, low_since = settling.told, max(fresh, settling.error_at), math.nan
    if floor is not None:
        if not _is_lower(now_told, floor):
            low_since = math.nan
            settled = seen.taken - trouble_at >= settle_seconds
        else:
            low_since = max(seen.taken, trouble_at) if math.isnan(low_since) else low_since
            settled = seen.taken - low_since >= settle_seconds or settle_seconds == 0
        if settled:
            floor, low_since = None, math.nan
    if floor is None:
        told, answer = now_told, raw
    else:
        told = _higher(now_told, floor)
        answer = raw if told == now_told else _held_up(raw, told, seen.taken - low_since, settle_seconds)
    after = Settling(told, seen.taken, floor, trouble_at, low_since, settling.error_at)
    return after, answer


def _is_lower(told: Told, floor: Told) -> bool:
    return (floor.active and not told.active) or any(
        value < least for value, least in zip(told.values, floor.values, strict=True)
    )


def _higher(told: Told, floor: Told) -> Told:
    values = tuple(max(value, least) for value, least in zip(told.values, floor.values, strict=True))
    return Told(values, told.active or floor.active)


def _held_up(raw: Assessment, told: Told, seen_seconds: float, settle_seconds: float) -> Assessment:
    lower = "inactive" if told.active and not raw.active else "lower"
    reason = (
        f"settling: {lower} is read since trouble, but only seen for {max(0.0, seen_seconds):.0f} s of "
        f"settleSeconds {settle_seconds:g}; KEDA is told what it was told before"
    )
    metrics = tuple(replace(metric, value=value) for metric, value in zip(raw.metrics, told.values, strict=True))
    return replace(raw, metrics=metrics, active=told.active, reasons=(reason, *raw.reasons))


def note_error(settling: Settling, now: float) -> Settling:
    """Return what is remembered after an error was told at `now`."""
    return replace(settling, error_at=now)


def hold(settling: Settling, specs: Sequence[MetricSpec], now: float, rule: Rule, why: str) -> Assessment | None:
    """Return what to tell while nothing young enough is known because of `why`, or None if that is to be an error.

    What was told active goes on being told for `holdSeconds` after the reading behind it has become stale: KEDA scales
    to zero under errors (kedacore/keda 2.20.2: a failing call clears the cache of scalers, and a poll that meets the
    cleared cache counts as inactive). Where inactive was told there is nothing to lose.
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
