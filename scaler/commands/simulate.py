"""The command `simulate`: replays a recorded load through the trigger's formulas and models of KEDA and the HPA. Pure.

It goes from event to event (an arrival, the end of a job, a poll, a sync, a push), each in the first step that is not
before it. In the steps between, nothing changes, or only the number of busy threads, which can be computed at once.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from scaler.commands.course import Change, Run, Waits
from scaler.commands.grid import Grid, arrived, row_steps
from scaler.commands.judging import Judge, SimulationError, Subject, Told, subject_of, with_metadata
from scaler.commands.trace import Trace
from scaler.commands.work import NEVER, Work, WorkerModel
from scaler.commands.workers import working
from scaler.keda.autoscaler import Autoscaler
from scaler.keda.executor import MetricResult
from scaler.keda.hpa import ControllerFlags
from scaler.keda.scalable import ScaledObject

__all__ = ["Options", "Run", "SimulationError", "Simulator", "Subject", "changed", "simulate", "subject_of"]

FORMULA_TARGET = "scalingModifiers.target"
LONGEST_REPEAT_SECONDS = 60.0
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run; times are in seconds."""

    step_seconds: float = 1.0
    initial_replicas: int | None = None
    workers: WorkerModel = field(default_factory=WorkerModel)
    flags: ControllerFlags = field(default_factory=ControllerFlags)
    seed: int | None = None


def simulate(subject: Subject, trace: Trace, options: Options, progress: Progress | None = None) -> Run:
    """Replay `trace` for `subject`; `progress` is called now and then with the share that is done.

    Readings are always fresh here; real ones are up to `refreshSeconds` old, and up to `idleRefreshSeconds` while
    inactive.
    """
    return Simulator(trace, options).run(subject, progress)


class Simulator:
    """A trace, prepared for any number of runs, which all get the same arrivals."""

    def __init__(self, trace: Trace, options: Options) -> None:
        """Prepare `trace`; raises `TraceError` if it has too many steps."""
        self.trace, self.options = trace, options
        self.grid = Grid.of(trace, options.step_seconds)
        self.begins = row_steps(self.grid, trace)
        rates = trace.columns.get("arrivals")
        self._total = None if rates is None else arrived(self.grid, self.begins, rates, options.seed)

    def work(self, subject: Subject) -> Work | None:
        """Return workers without pods, or None if the trace has no arrivals."""
        model = replace(self.options.workers, spare_busy=subject.spare_busy)
        return None if self._total is None else working(model, self.grid, self._total, self.options.seed)

    def run(self, subject: Subject, progress: Progress | None = None, *, changes: bool = True) -> Run:
        """Replay for `subject`; without `changes` only the totals are kept."""
        return _Simulation(self, subject, changes=changes).run(progress)


class _Simulation:
    """The state of one run."""

    def __init__(self, simulator: Simulator, subject: Subject, *, changes: bool) -> None:
        spec, options, grid = subject.scaled_object, simulator.options, simulator.grid
        initial = spec.min_replica_count if options.initial_replicas is None else options.initial_replicas
        self._simulator, self._subject, self._grid = simulator, subject, grid
        self._judge = Judge(subject, simulator.trace)
        self._autoscaler = Autoscaler(spec, grid.start, initial, options.flags, subject.composite)
        self._work = simulator.work(subject)
        if self._work is not None:
            self._work.begin_with(initial)
        self._holds = subject.spare_busy == "hold"
        self._cached = subject.manifest.use_cached_metrics
        self._sync_every = options.flags.sync_period_seconds
        self._next_poll, self._next_sync = grid.start, grid.start + self._sync_every
        self._poll_step, self._sync_step = 0, grid.first(self._next_sync)
        self._pushes = subject.manifest.type == "external-push"
        self._push_step, self._pause = NEVER, 1.0
        self._was_active = self._changed = False
        self._row = -1
        self._counts: dict[str, float] = {}
        self._asked: int | None = None
        self._replicas_since = 0
        self._keep = changes
        self._run = Run(grid)

    def run(self, progress: Progress | None) -> Run:
        """Go from event to event."""
        step, visited = 0, 0
        while step < self._grid.steps:
            told = self._step(step)
            step = self._next(step, told)
            visited += 1
            if progress is not None and visited % 1000 == 0:
                progress(step / self._grid.steps)
        run, work = self._run, self._work
        run.replica_steps += self._autoscaler.replicas * (self._grid.steps - self._replicas_since)
        if work is not None:
            run.wait, run.waited = Waits.of(work.waits, self._grid.seconds), work.waited
            run.interrupted = work.interrupted
        return run

    def _step(self, step: int) -> Told:
        """Simulate `step`: first the work, then KEDA's push and poll, then the HPA's sync."""
        grid, work, before = self._grid, self._work, self._autoscaler.replicas
        now = grid.start + step * grid.seconds
        if work is None:
            told = self._judge.of_counts(self._row_of(step), before, now)
            running, backlog = before, told.value
        else:
            work.step(step)
            told = self._judge.of_jobs(work, work.busy, work.waiting, (step, now))
            running, backlog = work.running, float(work.waiting + work.busy)
        self._autoscale(step, now, told, running)
        after, run = self._autoscaler.replicas, self._run
        self._changed = after != before
        if self._changed:
            if work is not None:
                work.scale(after, step)
            run.wake_ups += before == 0
            run.replica_steps += before * (step - self._replicas_since)
            self._replicas_since = step
        run.max_replicas = max(run.max_replicas, after)
        run.max_backlog = max(run.max_backlog, backlog)
        if self._keep:
            self._change(step, told, after, backlog)
        return told

    def _row_of(self, step: int) -> dict[str, float]:
        begins = self._simulator.begins
        while self._row + 1 < len(begins) and begins[self._row + 1] <= step:
            self._row += 1
            self._counts = {}
        if not self._counts:
            self._counts = {name: column[self._row] for name, column in self._simulator.trace.columns.items()}
        return self._counts

    def _change(self, step: int, told: Told, replicas: int, backlog: float) -> None:
        changes = self._run.changes
        if changes:
            last = changes[-1]
            same = last.value == told.value and last.active is told.active and last.backlog == backlog
            if same and last.replicas == replicas and last.asked == self._asked:
                return
        changes.append(Change(step, told.value, told.active, replicas, self._asked, backlog))

    def _autoscale(self, step: int, now: float, told: Told, running: int) -> None:
        scaler, active = self._autoscaler, told.active
        if self._pushes:
            if not active:
                self._push_step = NEVER
            elif not self._was_active:
                self._push_step, self._pause = step, 1.0
            if step >= self._push_step:  # StreamIsActive: when it turns active, then after 1, 2, 4 … and every 60 s
                scaler.push(now)
                self._push_step = self._grid.first(now + self._pause)
                self._pause = min(2 * self._pause, LONGEST_REPEAT_SECONDS)
        self._was_active = active
        if step >= self._poll_step:
            self._next_poll += self._subject.scaled_object.polling_interval
            self._poll_step = max(step + 1, self._grid.first(self._next_poll))
            if active and scaler.replicas and not self._cached and self._subject.composite is None:
                scaler.push(now)  # a push has the effect of such a poll
            else:
                scaler.poll(now, self._results(told), running)
        if step >= self._sync_step:
            self._next_sync += self._sync_every
            self._sync_step = max(step + 1, self._grid.first(self._next_sync))
            read = self._results(told) if scaler.looks_at_metrics() else []
            if self._cached:
                read = [scaler.cached(result.name) or result for result in read]
            self._asked = scaler.sync(now, read, ready=running).proposal

    def _results(self, told: Told) -> list[MetricResult]:
        return told.results if self._work is None or not self._holds else self._judge.held(self._work, told)

    def _next(self, step: int, told: Told) -> int:
        """Return the next step with an event, and record the steps between."""
        if self._changed:
            return step + 1
        limit = min(self._poll_step, self._sync_step, self._push_step, self._grid.steps)
        if told.until < math.inf:
            limit = min(limit, max(step + 1, self._grid.first(told.until)))
        work = self._work
        if work is None:
            begins = self._simulator.begins
            return min(limit, begins[self._row + 1]) if self._row + 1 < len(begins) else limit
        busy = work.calm(step, limit)
        if not busy:
            return work.next(step, limit)
        return self._pass(work, step, busy, active=told.active)

    def _pass(self, work: Work, step: int, busy: list[int], *, active: bool) -> int:
        """Skip the steps after `step` in which nothing waits and the activity stays `active`; return the next step."""
        judge = self._judge
        answers = {count: judge.of_jobs(work, count, 0, (step, self._grid.at(step))) for count in {*busy}}
        if any(told.active is not active or told.until < math.inf for told in answers.values()):
            first = next(
                number
                for number, count in enumerate(busy)
                if answers[count].active is not active or answers[count].until < math.inf
            )
            busy = busy[:first]
            if not busy:
                return step + 1
        most = max(busy)
        if most > self._run.max_backlog:
            self._run.max_backlog = float(most)
        if self._keep:
            for number, count in enumerate(busy, step + 1):
                self._change(number, answers[count], self._autoscaler.replicas, float(count))
        work.skip(step + len(busy))
        return step + 1 + len(busy)


def changed(scaled_object: ScaledObject, index: int, key: str, value: str) -> ScaledObject:
    """Return the ScaledObject with `key` set to `value`, for a sweep.

    `key` is `pollingInterval`, `cooldownPeriod`, `minReplicaCount`, `maxReplicaCount`, `scalingModifiers.target` or a
    metadata key.
    """
    modifiers = scaled_object.advanced.scaling_modifiers
    if key == FORMULA_TARGET and modifiers is not None:
        if not re.fullmatch(r"\d+(\.\d+)?", value):
            raise SimulationError(f"{key}: {value!r} is not a number")
        advanced = replace(scaled_object.advanced, scaling_modifiers=replace(modifiers, target=value))
        return replace(scaled_object, advanced=advanced)
    if key not in _SWEPT:
        metadata = {**scaled_object.triggers[index].metadata, key: value}
        return with_metadata(scaled_object, index, metadata)
    try:
        number = int(value)
    except ValueError:
        raise SimulationError(f"{key}: {value!r} is not a whole number") from None
    if number < 1 and key in {"pollingInterval", "maxReplicaCount"}:
        raise SimulationError(f"{key}: must be at least 1")
    return _SWEPT[key](scaled_object, number)


_SWEPT: dict[str, Callable[[ScaledObject, int], ScaledObject]] = {
    "pollingInterval": lambda spec, number: replace(spec, polling_interval=number),
    "cooldownPeriod": lambda spec, number: replace(spec, cooldown_period=number),
    "minReplicaCount": lambda spec, number: replace(spec, min_replica_count=number),
    "maxReplicaCount": lambda spec, number: replace(spec, max_replica_count=number),
}
