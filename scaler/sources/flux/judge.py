"""Counts the objects of a Flux controller that are pending or due at a moment, and says when that changes."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scaler.sources.flux.work import Artifact, Work

JITTER = 0.05
"""Flux's default `--interval-jitter-percentage`: an object may be reconciled this part of its interval early."""
WAKE_SECONDS = 60
"""How long a wake-up by the clock lasts: two of KEDA's default polling intervals, so that a poll sees it."""
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of a trigger about time, in seconds; `phase` shifts the timers of different shards."""

    lead: float
    retry_hold: float
    wake_on_interval: bool
    phase: int


@dataclass(slots=True)
class Findings:
    """How many objects are pending, by cause, with a few names; it stays true until the Unix time `until`."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    until: float = math.inf

    def add(self, cause: str, name: str) -> None:
        """Count an object."""
        count = self.counts.get(cause, 0)
        self.counts[cause] = count + 1
        if count < EXAMPLES:
            self.examples.setdefault(cause, []).append(name)

    def change_at(self, moment: float) -> None:
        """Note that something changes at `moment`."""
        self.until = min(self.until, moment)


def judge(works: Iterable[Work], artifacts: Mapping[str, Artifact], rules: Rules, now: float) -> Findings:
    """Judge every object at Unix time `now`, in whole seconds: 13,000 due times must not be 13,000 changes.

    The causes are those of `Work.cause`, and
    `revision`: its source has a new revision;
    `retrying`: it fails, its spec or its source changed less than `retry_hold` ago, and Flux tries again. An older
    failure does not keep a controller running; the next change, request or interval wakes it;
    `due`: its interval has passed, counted to the earliest moment that Flux may choose;
    `soon`: it will be due within `lead`.
    """
    second = math.floor(now)
    found = Findings()
    timed: list[Work] = []
    for work in works:
        cause: str = work.cause
        changed = work.changed
        if not cause and work.source:
            artifact = artifacts.get(work.source)
            if artifact is not None:
                changed = max(changed, artifact.updated)
                # If it reports a failure since then, the controller has seen the artifact and waits for something else.
                if work.attempted not in (artifact.revision, artifact.digest) and (
                    work.failed is None or work.failed < artifact.updated
                ):
                    cause = "revision"
        if not cause and work.failed is not None and not work.stalled:
            ends = math.ceil(changed + rules.retry_hold)
            if second < ends:
                cause = "retrying"
                found.change_at(ends)
        if cause:
            found.add(cause, work.name)
        elif work.interval and not work.stalled and rules.wake_on_interval:
            if work.last is None:
                timed.append(work)
            else:
                _interval(work, work.last, found, rules, second)
    _timer(timed, found, rules, second)
    return found


def _interval(work: Work, last: float, found: Findings, rules: Rules, now: int) -> None:
    """Judge an object whose status says when it was `last` reconciled.

    A failing object may never report a newer time (kustomize-controller writes its history only after the build has
    succeeded), so it wakes the controller once in every interval, for `WAKE_SECONDS`.
    """
    due = math.ceil(last + work.interval * (1 - JITTER))
    soon = math.ceil(due - rules.lead)
    if now < soon:
        cause, lasts = "", soon - now
    elif now < due:
        cause, lasts = "soon", due - now
    elif work.failed is None:
        found.add("due", work.name)
        return
    else:
        cause, lasts = _tick(now - due, work.interval, rules.lead)
    if cause:
        found.add(cause, work.name)
    found.change_at(now + lasts)


def _timer(timed: list[Work], found: Findings, rules: Rules, now: int) -> None:
    """Wake the controller at fixed moments for objects whose status does not say when they were last reconciled.

    The moments are as far apart as the shortest interval of these objects, because a controller that starts reconciles
    all of them. They depend on the clock only, so a restart of the scaler does not move them; `rules.phase` differs by
    shard.
    """
    if not timed:
        return
    period = min(work.interval for work in timed)
    cause, lasts = _tick(now - rules.phase, period, rules.lead)
    if cause:
        for work in timed:
            if work.interval == period:
                found.add(cause, work.name)
    found.change_at(now + lasts)


def _tick(passed: int, period: float, lead: float) -> tuple[str, int]:
    """Return the cause, or "", at `passed` seconds on a timer with `period`, and for how many seconds it stays so."""
    whole = max(1, math.floor(period))
    passed %= whole
    if passed < WAKE_SECONDS:
        return "due", min(WAKE_SECONDS, whole) - passed
    soon = math.ceil(whole - lead)
    return ("soon", whole - passed) if passed >= soon else ("", soon - passed)
