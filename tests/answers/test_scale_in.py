"""How many busy pods scale-in chooses under `hold`: a simulation of heartbeats, readings, costs and the controller.

Everything that decides is the real thing (`deletion_cost`, `plan`, `deletion_order`); time and the work are made up.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.answers.pod_costs import COST, Workload, plan, project_pod
from scaler.clients.kubernetes.api import FIELD_MANAGER
from scaler.core.clock import SystemClock
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_patch import note_manager
from scaler.demo.kubernetes_replicas import ReplicaSet
from scaler.keda.arithmetic import Metric
from scaler.sources.sidekiq.deletion_cost import deletion_cost
from scaler.sources.sidekiq.info import Info
from scaler.sources.sidekiq.state import Process

SYNC_SECONDS = 15
WRITES_PER_SECOND = 5
THREADS = 5
INFO = Info("", frozenset(), frozenset({"default"}), (), THREADS)


@dataclass
class Outcome:
    """What a course came to."""

    deleted: int = 0
    busy: int = 0


class MadeUpClock(SystemClock):
    """Time that only this test lets pass."""

    seconds = 1_800_000_000.0

    def wall(self) -> float:  # type: ignore[override]  # of an instance
        return self.seconds


class Course:
    """Pods that get jobs at random and lose them when they are done, and an HPA that follows the metrics of `hold`."""

    def __init__(self, seed: int, *, pods: int, beat_seconds: float, refresh_seconds: float) -> None:
        self.dice = random.Random(seed)
        self.clock, self.api = MadeUpClock(), KubernetesDouble()
        self.replicas = ReplicaSet(self.api, self.clock, "shop", "worker-1")
        names, _ = self.replicas.scale(pods)
        self.jobs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}  # began, ends
        self.beat_seconds, self.refresh_seconds = beat_seconds, refresh_seconds
        self.offsets = {name: self.dice.uniform(0, beat_seconds) for name in names}
        self.told: dict[str, tuple[float, ...]] = dict.fromkeys(names, ())  # when the jobs of the last beat began
        self.read: dict[str, tuple[float, ...]] = dict(self.told)
        self.read_at = -math.inf
        self.outcome = Outcome()

    def work(self, now: float, load: float, job_seconds: float) -> None:
        """Let jobs end and begin, `load` of them a second, which take `job_seconds` on average."""
        for name, jobs in self.jobs.items():
            self.jobs[name] = [job for job in jobs if job[1] > now]
        for _ in range(int(load + self.dice.random())):
            name = self.dice.choice(list(self.jobs))
            if len(self.jobs[name]) < THREADS:
                self.jobs[name].append((now, now + self.dice.expovariate(1 / job_seconds)))

    def beat(self, now: float) -> None:
        """Tell Redis of the jobs of those whose beat is due, and read it when that is due."""
        for name, jobs in self.jobs.items():
            if not self.beat_seconds or (now + self.offsets[name]) % self.beat_seconds < 1:
                self.told[name] = tuple(began for began, _ in jobs)
        if now - self.read_at >= self.refresh_seconds:
            self.read, self.read_at = {name: self.told[name] for name in self.jobs}, now

    @property
    def held(self) -> int:
        """The metric of `hold`."""
        return sum(bool(began) for began in self.read.values())

    def spare(self, *, everything: bool) -> None:
        """Write what `plan` says, as fast as the client does, or `everything` at once."""
        costs = {}
        for name, began in self.read.items():
            process = Process(
                f"{name}:1:0", INFO, len(began), THREADS, quiet=False, late=False, began=tuple(sorted(began))
            )
            costs[name] = deletion_cost([process], self.read_at)
        metrics = (Metric("AverageValue", 1.0, float(self.held)),)
        pods = [project_pod(pod) for pod in self.replicas.pods()]
        _, writes = plan("shop", [Workload(costs, self.read_at, settled=True, metrics=metrics)], pods)
        for write in writes if everything else writes[:WRITES_PER_SECOND]:
            there = self.api.store.get(self.api.kinds["pods"], "shop", write.pod.name)
            assert there is not None
            change = {"metadata": {"annotations": {COST: str(write.cost)}}}
            there["metadata"].setdefault("annotations", {})[COST] = str(write.cost)
            # Before the reading, so that the whole seconds of this stamp keep no later reading from counting.
            self.api.put("pods", note_manager(self.api.kinds["pods"], there, change, FIELD_MANAGER, 0))

    def scale_in(self) -> None:
        """Let the HPA follow the metric, and the controller choose."""
        _, ending = self.replicas.scale(max(1, self.held)) if self.held < len(self.jobs) else ([], [])
        for name in ending:
            self.outcome.deleted += 1
            self.outcome.busy += bool(self.jobs.pop(name))
            self.read.pop(name, None)
            self.replicas.gone(name)

    def run(self, seconds: int, *, at_once: bool, load: float = 4.0, job_seconds: float = 20.0) -> Outcome:
        """Play a load that falls off; with `at_once` nothing is late but the beats and the readings."""
        for second in range(seconds):
            now = self.clock.wall()
            self.work(now, load * (1 - second / seconds), job_seconds)
            self.beat(now)
            self.spare(everything=at_once)
            if second % SYNC_SECONDS == SYNC_SECONDS - 1:
                self.scale_in()
            self.clock.seconds += 1
        return self.outcome


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(2, 20))
@pytest.mark.slow
def test_with_hold_and_beats_without_lag_no_busy_pod_is_chosen(seed: int, pods: int) -> None:
    outcome = Course(seed, pods=pods, beat_seconds=0, refresh_seconds=0).run(180, at_once=True)
    assert outcome.busy == 0


@pytest.mark.parametrize(("load", "job_seconds"), [(4.0, 20.0), (0.2, 300.0)], ids=["many short", "few long"])
@pytest.mark.slow
def test_with_beats_every_10_s_some_are(
    load: float, job_seconds: float, record_property: Callable[[str, object], None]
) -> None:
    """The numbers stand in docs/sidekiq.md: a pod that took a job since its last beat is taken for idle.

    With `load` jobs a second for P pods that is 1 - exp(-load / P * lag) of the idle ones; the lag is that of beat and
    reading, some 8 s.
    """
    total = Outcome()
    for seed in range(20):
        course = Course(seed, pods=20, beat_seconds=10, refresh_seconds=5)
        outcome = course.run(300, at_once=False, load=load, job_seconds=job_seconds)
        total.deleted += outcome.deleted
        total.busy += outcome.busy
    record_property("busy pods of those deleted", f"{total.busy} of {total.deleted}")
    assert total.deleted > 50
    assert 0 < total.busy / total.deleted < (0.7 if load > 1 else 0.15)
