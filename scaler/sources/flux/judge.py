"""What the objects of a Flux controller add up to at a moment: what waits, what falls due, and when that changes."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from scaler.sources.flux.work import Artifact, Work

JITTER = 0.05
"""Flux's default `--interval-jitter-percentage`: an object may be reconciled this part of its interval early."""
WAKE_SECONDS = 60
"""How long a wake-up by the clock lasts: two of KEDA's default polling intervals, so that no poll misses it."""
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of a trigger that time is judged by, in seconds; `phase` spreads the timers of different shards."""

    lead: float
    retry_hold: float
    wake_on_interval: bool
    phase: int


@dataclass(slots=True)
class Findings:
    """How many objects wait, by cause, and a few of their names; `until` is the Unix time when time changes that."""

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
    """Judge every object at Unix time `now`, which counts in whole seconds so that 13,000 due times are not 13,000 changes.

    Causes are those of `Work.cause` and
    `revision`: its source offers something that was not taken up yet;
    `retrying`: it fails, its spec or its source changed less than `retry_hold` ago, and Flux tries again. A failure
    that is older does not keep a controller awake; the next change, request or interval wakes it;
    `due`: its interval has passed, at the earliest moment that Flux may choose;
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
                # With a failure told since then the controller has seen the artifact and waits for something else.
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
    """Judge an object that tells when it was `last` reconciled.

    One that fails may never tell of a newer time (kustomize-controller writes its history only once the build has
    succeeded): it wakes the controller once in every interval, for a moment.
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
    """Wake for objects that do not tell when they were last reconciled, at fixed moments of the clock.

    These are as far apart as their shortest interval, because a controller that starts takes up every object it has.
    Nothing needs to be remembered, so a restart of the scaler moves none of them; `rules.phase` sets shards apart.
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
    """Return what a clock that strikes every `period` says `passed` seconds after it was started, and for how long."""
    whole = max(1, math.floor(period))
    passed %= whole
    if passed < WAKE_SECONDS:
        return "due", min(WAKE_SECONDS, whole) - passed
    soon = math.ceil(whole - lead)
    return ("soon", whole - passed) if passed >= soon else ("", soon - passed)
