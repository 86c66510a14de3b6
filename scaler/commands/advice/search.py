"""Searches the cheapest settings that meet a goal, and checks them on another part of the history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scaler.commands.advice.goal import Goal
from scaler.commands.advice.levers import TARGETS, Lever
from scaler.commands.simulate import Options, Run, SimulationError, Simulator, Subject, changed, subject_of
from scaler.commands.trace import Trace

Settings = dict[str, Any]
"""Values of levers by name; other levers keep the value of the manifest."""
LEAST_SECONDS = 600.0
WORTH = 0.005
"""A setting is changed only if that saves at least this share of the replica-hours."""
MARGIN = 0.85
"""The search uses this share of a bound on waits and killed jobs, because other random arrivals give higher ones."""
ROUNDS = 3
REPLAYS = 5
FEW_JOBS = 100
DAY = 86_400.0
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Task:
    """The input of a search: the current trigger, the load, the goal and the levers."""

    subject: Subject
    trace: Trace
    options: Options
    goal: Goal
    levers: Sequence[Lever]

    def set(self, settings: Settings) -> Subject:
        """Return the subject with other settings."""
        spec = self.subject.scaled_object
        for lever in self.levers:
            if settings.get(lever.name) is not None:
                spec = lever.write(spec, settings[lever.name])
        return subject_of(spec, self.subject.index)

    def real(self, settings: Settings) -> Settings:
        """Return the settings that differ from the manifest, in the order of the levers."""
        spec, found = self.subject.scaled_object, {}
        for lever in self.levers:
            if settings.get(lever.name) is None:
                continue
            after = lever.write(spec, settings[lever.name])
            if after != spec:
                found[lever.name], spec = settings[lever.name], after
        return found


@dataclass(frozen=True, slots=True)
class Check:
    """The result of the settings on the part of the history that they were not tuned on, from `start` to `end`."""

    start: float
    end: float
    jobs: int | None
    missed: list[str]


@dataclass(frozen=True, slots=True)
class Advice:
    """The result of a search. `settings` are the changes; if `met` is False, those that come closest to the goal."""

    settings: Settings
    before: Subject
    subject: Subject
    now: Run
    then: Run
    met: bool
    missed: list[str]
    check: Check | None  # None if no history was left for it
    replays: int | None  # of REPLAYS with other random arrivals, those that met the goal
    runs: int  # number of settings tried
    bounds: str = ""  # other replica bounds that would meet the goal, if no setting does

    @property
    def sure(self) -> bool:
        """Whether the goal is met, also in the check and in most replays."""
        checked = self.check is not None and not self.check.missed
        return self.met and checked and (self.replays is None or self.replays * 2 > REPLAYS)


class _Search:
    """Coordinate descent: for one lever after the other the best value is chosen, until nothing improves."""

    def __init__(self, task: Task, progress: Progress) -> None:
        self._task, self._progress = task, progress
        self.runs = 0

    def best(self, simulator: Simulator, share: float, start: Settings) -> tuple[float, Settings]:
        """Return the smallest excess over the goal, and the cheapest settings with it."""
        known: dict[str, tuple[float, float]] = {}

        def score(settings: Settings) -> tuple[float, float]:
            subject = self._task.set(settings)
            key = repr((subject.scaled_object, subject.manifest.metadata))
            found = known.get(key)
            if found is None:
                run = simulator.run(subject, changes=False)
                found = known[key] = (round(self._task.goal.excess(run, share, MARGIN), 9), run.replica_hours)
                self.runs += 1
                self._progress(self.runs)
            return found

        found = self._descend(start, score)
        if score(found)[0]:  # perhaps stuck in a local optimum, so start again from fast settings
            found = min(found, self._descend(self._fast(), score), key=score)
        return score(found)[0], self._pruned(found, score)

    def _fast(self) -> Settings:
        """Return settings that react fast and cost much."""
        fast: Settings = {}
        for lever in self._task.levers:
            values = [*lever.values(self._task.subject.scaled_object)]
            if lever.name == "type":
                fast[lever.name] = "external-push"
            elif lever.name == "countWaiting":
                fast[lever.name] = "true"
            elif lever.name == "scaleUp.policies":
                fast[lever.name] = values[1]
            elif lever.path[-1] in TARGETS:
                fast[lever.name] = values[len(values) // 4]
        return fast

    def _descend(self, settings: Settings, score: Callable[[Settings], tuple[float, float]]) -> Settings:
        best, rank = settings, score(settings)
        for _ in range(ROUNDS):
            before = rank
            for lever in self._task.levers:
                here = self._task.set(best).scaled_object
                for value in lever.values(here):
                    tried = {**best, lever.name: value}
                    found = score(tried)
                    if _better(found, rank):
                        best, rank = tried, found
            if not _better(rank, before):
                break
        return best

    def _pruned(self, settings: Settings, score: Callable[[Settings], tuple[float, float]]) -> Settings:
        """Undo each change that saves little."""
        excess, hours = score(settings)
        for name in [*settings]:
            without = {key: value for key, value in settings.items() if key != name}
            found = score(without)
            if found[0] <= excess and found[1] <= hours * (1 + WORTH):
                settings = without
        return settings


def _better(found: tuple[float, float], than: tuple[float, float]) -> bool:
    if found[0] != than[0]:
        return found[0] < than[0]
    return found[1] < than[1] * (1 - WORTH)


def parts(trace: Trace) -> tuple[Trace, Trace]:
    """Return the part to tune on and the part for the check: the last third, in whole days if there are two."""
    start, end = trace.times[0], trace.times[-1]
    cut = start + trace.seconds * 2 / 3
    if trace.seconds >= 2 * DAY:
        cut = end - max(1, round(trace.seconds / 3 / DAY)) * DAY
    return trace.part(start, cut), trace.part(cut, end)


def advise(task: Task, progress: Progress) -> Advice:
    """Search; raises `SimulationError` if the trace is too short."""
    trace, goal = task.trace, task.goal
    if trace.seconds < LEAST_SECONDS:
        raise SimulationError(
            f"the trace is {trace.seconds:g} s long; give at least {LEAST_SECONDS:g} s, better some days"
        )
    whole, search = Simulator(trace, task.options), _Search(task, progress)
    tuned, left = parts(trace)
    _, settings = search.best(Simulator(tuned, task.options), tuned.seconds / trace.seconds, {})
    check = _check(task, settings, left)
    then = whole.run(task.set(settings))
    if check.missed or goal.excess(then):
        # The settings failed in the check, or none meets the goal: tune on the whole history, and leave nothing for a
        # check.
        _, settings = search.best(whole, 1.0, settings)
        then = whole.run(task.set(settings))
    missed = goal.missed(then)
    return Advice(
        settings=task.real(settings),
        before=task.subject,
        subject=task.set(settings),
        now=whole.run(task.subject),
        then=then,
        met=not missed,
        missed=missed,
        check=check if not missed else None,
        replays=None if missed else _replays(task, settings),
        runs=search.runs,
        bounds=_bounds(task.set(settings), whole, goal) if missed else "",
    )


def _check(task: Task, settings: Settings, left: Trace) -> Check:
    run = Simulator(left, task.options).run(task.set(settings), changes=False)
    jobs = None if run.wait is None else sum(run.wait.jobs)
    return Check(left.times[0], left.times[-1], jobs, task.goal.missed(run, left.seconds / task.trace.seconds))


def _replays(task: Task, settings: Settings) -> int | None:
    seed, subject = task.options.seed, task.set(settings)
    if seed is None or "arrivals" not in task.trace.columns:
        return None
    others = (replace(task.options, seed=seed + number) for number in range(1, REPLAYS + 1))
    runs = (Simulator(task.trace, options).run(subject, changes=False) for options in others)
    return sum(not task.goal.excess(run) for run in runs)


def _bounds(subject: Subject, simulator: Simulator, goal: Goal) -> str:
    """Return replica bounds that would meet the goal, with the smallest change; "" if none of those tried does."""
    spec = subject.scaled_object
    least, most = spec.min_replica_count, spec.max_replica_count
    tried = [
        *({"minReplicaCount": least + more} for more in (1, 2, 5) if least + more <= most),
        *({"maxReplicaCount": most * more} for more in (2, 4)),
        *({"minReplicaCount": least + more, "maxReplicaCount": most * 4} for more in (1, 5)),
    ]
    for bounds in tried:
        other = spec
        for key, value in bounds.items():
            other = changed(other, subject.index, key, str(value))
        if not goal.excess(simulator.run(subject_of(other, subject.index), changes=False)):
            return " and ".join(f"{key}: {value}" for key, value in bounds.items())
    return ""
