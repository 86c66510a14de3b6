"""The command `simulate`: a recorded load through the same formulas, KEDA's and the HPA's machines; no clock, no I/O."""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from scaler.commands.trace import Trace
from scaler.commands.work import Work, WorkerModel
from scaler.core.domain import Assessment, Metric
from scaler.core.errors import ScalerError
from scaler.keda.autoscaler import Autoscaler
from scaler.keda.executor import MetricResult
from scaler.keda.hpa import ControllerFlags
from scaler.keda.scalable import ScaledObject
from scaler.keda.scalable import Trigger as ManifestTrigger
from scaler.sources.base import Trigger

LONGEST_REPEAT_SECONDS = 60.0


class SimulationError(ScalerError):
    """The trace does not fit the trigger, or the options do not fit the trace."""

    code = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class Options:
    """What a run depends on beside manifest and trace; times in seconds."""

    step_seconds: float = 1.0
    initial_replicas: int | None = None
    workers: WorkerModel = field(default_factory=WorkerModel)
    flags: ControllerFlags = field(default_factory=ControllerFlags)
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is simulated: one trigger of a ScaledObject, and its metadata parsed."""

    scaled_object: ScaledObject
    index: int
    trigger: Trigger

    @property
    def manifest(self) -> ManifestTrigger:
        """The trigger as the manifest has it."""
        return self.scaled_object.triggers[self.index]


@dataclass(slots=True)
class Run:
    """The course of one simulation: a value for each step, and what it comes to."""

    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    active: list[bool] = field(default_factory=list)
    replicas: list[int] = field(default_factory=list)
    backlog: list[float] = field(default_factory=list)
    wake_ups: int = 0
    interrupted: int | None = None
    waits: list[tuple[float, int]] | None = None
    step_seconds: float = 1.0

    def summary(self) -> dict[str, Any]:
        """Return what it comes to; the waiting times and interrupted jobs only where workers were modelled."""
        found: dict[str, Any] = {
            "seconds": round(self.times[-1] - self.times[0], 3),
            "replicaHours": round(sum(self.replicas) * self.step_seconds / 3600, 4),
            "maxReplicas": max(self.replicas),
            "wakeUps": self.wake_ups,
            "maxBacklog": max(self.backlog),
        }
        if self.waits is not None:
            found |= {"interruptedJobs": self.interrupted, **_percentiles(self.waits)}
        return found

    def steps(self) -> list[dict[str, Any]]:
        """Return one object for each step."""
        return [
            {"time": time, "value": value, "active": active, "replicas": replicas}
            for time, value, active, replicas in zip(self.times, self.values, self.active, self.replicas, strict=True)
        ]


def _percentiles(waits: list[tuple[float, int]]) -> dict[str, float | None]:
    """Return the median, the 95th percentile and the longest of waiting times, each with its number of jobs."""
    waits = sorted(waits)
    ends: list[int] = []
    total = 0
    for _, jobs in waits:
        total += jobs
        ends.append(total)
    if not total:
        return {"waitP50": None, "waitP95": None, "waitMax": None}
    at = {f"waitP{share}": waits[bisect_left(ends, math.ceil(total * share / 100))][0] for share in (50, 95)}
    return {**at, "waitMax": waits[-1][0]}


@dataclass(slots=True)
class _Pushes:
    """When StreamIsActive says `true`: at the rise, then after 1, 2, 4 … and every 60 s while active."""

    due: float = math.inf
    pause: float = 1.0

    def look(self, now: float, *, active: bool, rose: bool) -> bool:
        if not active:
            self.due = math.inf
            return False
        if rose:
            self.due, self.pause = now, 1.0
        if now < self.due:
            return False
        self.due, self.pause = now + self.pause, min(2 * self.pause, LONGEST_REPEAT_SECONDS)
        return True


def judge(trigger: Trigger, trace: Trace) -> Callable[[Mapping[str, float], int, float], Assessment]:
    """Return what judges the counts of a step, given the replicas and the time: the formulas of the trigger.

    A course of `value` stands for the first metric, and is active above `activationQueueLength`. Raises
    `SimulationError` for columns that the source does not have.
    """
    if set(trace.columns) == {"value"}:
        name, threshold = trigger.specs()[0].name, getattr(trigger, "activation_queue_length", 0)
        if len(trigger.specs()) > 1:
            raise SimulationError("a trace of `value` gives one metric, but the trigger has several; remove their keys")
        return lambda counts, _replicas, _now: Assessment(
            (Metric(name, counts["value"]),), counts["value"] > threshold, ()
        )
    known = {"arrivals"} if trigger.counts else set()
    if not ({*trace.columns} == known or {*trace.columns} <= {*trigger.counts}):
        expected = ", ".join(("value", *known, *trigger.counts))
        raise SimulationError(f"the trace has {', '.join(trace.columns)}; source {trigger.source} takes {expected}")

    def formulas(counts: Mapping[str, float], replicas: int, now: float) -> Assessment:
        try:
            return trigger.assess(trigger.imagined(counts, replicas, now), now)
        except ValueError as error:
            raise SimulationError(str(error)) from None

    return formulas


def simulate(subject: Subject, trace: Trace, options: Options, progress: Callable[[float], None] | None = None) -> Run:
    """Replay `trace` for `subject`; `progress` is told the share that is done, now and then.

    Readings are taken as fresh: a real one is up to `refreshSeconds` old, and one that wakes `idleRefreshSeconds`.
    """
    simulation = _Simulation(subject, trace, options)
    steps = math.floor(trace.seconds / options.step_seconds + 1e-9) + 1
    row = 0
    for step in range(steps):
        now = trace.times[0] + step * options.step_seconds
        while row + 1 < len(trace.times) and trace.times[row + 1] <= now:
            row += 1
        simulation.step(now, step, {name: column[row] for name, column in trace.columns.items()})
        if progress is not None and step % 1000 == 0:
            progress(step / steps)
    return simulation.finished()


class _Simulation:
    """Everything that changes from step to step."""

    def __init__(self, subject: Subject, trace: Trace, options: Options) -> None:
        spec, start = subject.scaled_object, trace.times[0]
        initial = spec.min_replica_count if options.initial_replicas is None else options.initial_replicas
        self._subject, self._options = subject, options
        self._pushes = _Pushes() if subject.manifest.type == "external-push" else None
        self._assess = judge(subject.trigger, trace)
        self._names = [(f"s{subject.index}-{spec.name}", spec.target) for spec in subject.trigger.specs()]
        self._autoscaler = Autoscaler(spec, start, initial, options.flags)
        self._work = Work(options.workers, options.seed) if "arrivals" in trace.columns else None
        if self._work is not None:
            self._work.scale(initial, start - options.workers.startup_seconds, 0, options.step_seconds)
        self._next_poll, self._next_sync = start, start + options.flags.sync_period_seconds
        self._known: tuple[object, Assessment] | None = None
        self._was_active = False
        self._run = Run(step_seconds=options.step_seconds)

    def step(self, now: float, step: int, counts: dict[str, float]) -> None:
        """Let `now` come: first the work moves on, then KEDA hears a push and polls, then the HPA syncs."""
        work, before = self._work, self._autoscaler.replicas
        running = before
        if work is not None:
            work.step(now, step, self._options.step_seconds, counts["arrivals"])
            counts, running = _of_work(self._subject.trigger, work, now), work.running
        told = self._told(counts, running, now)
        self._autoscale(now, told, running)
        after = self._autoscaler.replicas
        if after != before and work is not None:
            work.scale(after, now, step, self._options.step_seconds)
        run = self._run
        run.wake_ups += before == 0 < after
        run.times.append(now)
        run.values.append(told.metrics[0].value)
        run.active.append(told.active)
        run.replicas.append(after)
        run.backlog.append(told.metrics[0].value if work is None else work.waiting + work.busy)

    def _told(self, counts: dict[str, float], running: int, now: float) -> Assessment:
        """Judge, if anything has changed."""
        key = (running, *counts.values())
        if self._known is None or self._known[0] != key or now >= self._known[1].until:
            self._known = key, self._assess(counts, running, now)
        return self._known[1]

    def _autoscale(self, now: float, told: Assessment, running: int) -> None:
        rose, self._was_active = told.active and not self._was_active, told.active
        if self._pushes is not None and self._pushes.look(now, active=told.active, rose=rose):
            self._autoscaler.push(now)
        if now >= self._next_poll:
            self._next_poll += self._subject.scaled_object.polling_interval
            self._autoscaler.poll(now, self._results(told), running)
        if now >= self._next_sync:
            self._next_sync += self._options.flags.sync_period_seconds
            looks = self._autoscaler.looks_at_metrics()
            read = [self._autoscaler.cached(result.name) or result for result in self._results(told)] if looks else []
            self._autoscaler.sync(now, read, ready=running)

    def _results(self, told: Assessment) -> list[MetricResult]:
        manifest = self._subject.manifest
        return [
            MetricResult(name, manifest.target_type, target, metric.value, told.active, manifest.use_cached_metrics)
            for (name, target), metric in zip(self._names, told.metrics, strict=True)
        ]

    def finished(self) -> Run:
        """Return the course."""
        if self._work is not None:
            self._run.waits, self._run.interrupted = self._work.waits, self._work.interrupted
        return self._run


def _of_work(trigger: Trigger, work: Work, now: float) -> dict[str, float]:
    """Return the counts that the source would show of the modelled jobs."""
    counts: dict[str, float] = dict(zip(trigger.counts, (work.waiting, work.busy), strict=False))
    if "latency" in trigger.counts:
        counts["latency"] = work.oldest_seconds(now)
    if "concurrency" in trigger.counts:
        counts["concurrency"] = work.model.per_replica
    return counts


def changed(scaled_object: ScaledObject, index: int, key: str, value: str) -> tuple[ScaledObject, dict[str, str]]:
    """Return the ScaledObject and the metadata of its trigger with `key` set to `value`, for a sweep.

    `key` is `pollingInterval`, `cooldownPeriod`, `minReplicaCount` or `maxReplicaCount`, or else a metadata key.
    """
    metadata = dict(scaled_object.triggers[index].metadata)
    if key not in _SWEPT:
        return scaled_object, {**metadata, key: value}
    try:
        number = int(float(value))
    except ValueError:
        raise SimulationError(f"{key}: {value!r} is not a whole number") from None
    return _SWEPT[key](scaled_object, number), metadata


_SWEPT: dict[str, Callable[[ScaledObject, int], ScaledObject]] = {
    "pollingInterval": lambda spec, number: replace(spec, polling_interval=number),
    "cooldownPeriod": lambda spec, number: replace(spec, cooldown_period=number),
    "minReplicaCount": lambda spec, number: replace(spec, min_replica_count=number),
    "maxReplicaCount": lambda spec, number: replace(spec, max_replica_count=number),
}
