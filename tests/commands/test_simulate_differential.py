"""The simulator, which goes from event to event, against one that goes step by step and keeps every thread by itself."""

import json
import math
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.commands.simulate import Options, Simulator, Subject, simulate, subject_of
from scaler.commands.trace import Trace
from scaler.commands.work import WorkerModel
from scaler.keda.autoscaler import Autoscaler
from scaler.keda.executor import MetricResult
from scaler.keda.hpa import ControllerFlags
from scaler.keda.manifests import parse as parse_manifests
from scaler.keda.scalable import ScaledObject

SOURCES = {
    "sqs": {"source": "sqs", "queueURL": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"},
    "sidekiq": {"source": "sidekiq", "redis": "main", "queues": "mail,low", "countWaiting": "true", "concurrency": "3"},
    "latency": {
        "source": "sidekiq",
        "redis": "main",
        "queues": "mail",
        "queueLatency": "5",
        "activationQueueLength": "2",
    },
    "ratio": {"source": "sidekiq", "redis": "main", "queues": "mail", "metricType": "Value"},
    "workqueue": {"source": "workqueue", "metricsURL": "http://x/metrics", "queues": "a,b", "queueLength": "4"},
    "flux": {"source": "flux", "controller": "kustomize-controller", "shard": "shard1"},
}


@dataclass
class Thread:
    pod: int
    order: tuple[int, int]  # since when it is free; the smallest takes the next job
    began: int = -1
    ends: int = -1  # the step in which its job ends, -1 without a job


@dataclass
class Workers:
    model: WorkerModel
    seconds: float
    seed: int | None
    threads: list[Thread] = field(default_factory=list)
    starting: list[tuple[int, int]] = field(default_factory=list)
    leaving: list[int] = field(default_factory=list)
    queue: list[int] = field(default_factory=list)  # the step in which each waiting job came
    waits: Counter[int] = field(default_factory=Counter)
    interrupted: int = 0
    pods: int = 0
    arrears: float = 0.0
    count: int = 0

    def __post_init__(self) -> None:
        self.dice = {name: random.Random(f"{self.seed}/{name}") for name in ("arrivals", "service", "pods")}

    def step(self, step: int, rate: float) -> None:
        for thread in sorted(self.threads, key=lambda thread: (thread.began, thread.order)):
            if thread.ends == step:
                thread.ends, thread.order = -1, self.next_order()
        self.leaving = [ends for ends in self.leaving if ends > step]
        self.queue += [step] * self.arrivals(rate * self.seconds)
        while self.starting and self.starting[0][0] <= step:
            pods = self.starting.pop(0)[1]
            for _ in range(self.model.per_replica):
                self.threads += [Thread(self.pods + pod, self.next_order()) for pod in range(pods)]
            self.pods += pods
        while self.queue and (free := [thread for thread in self.threads if thread.ends < 0]):
            thread = min(free, key=lambda thread: thread.order)
            self.waits[step - self.queue.pop(0)] += 1
            thread.began, thread.ends = step, step + self.service()
            thread.order = self.next_order()

    def next_order(self) -> tuple[int, int]:
        self.count += 1
        return self.count, 0

    def arrivals(self, mean: float) -> int:
        if self.seed is None:
            self.arrears += mean
            arrived = int(self.arrears + 1e-9)
            self.arrears -= arrived
            return arrived
        if not mean:
            return 0
        count, product = 0, self.dice["arrivals"].random()
        while product > math.exp(-mean):
            count += 1
            product *= self.dice["arrivals"].random()
        return count

    def service(self) -> int:
        mean = self.model.service_seconds / self.seconds
        if self.seed is None:
            return max(1, round(mean))
        return max(1, round(-mean * math.log(1 - self.dice["service"].random())))

    def scale(self, change: int, step: int, now: float, start: float) -> None:
        if change > 0:
            ready = step + 1
            while start + ready * self.seconds < now + self.model.startup_seconds:
                ready += 1
            self.starting.append((ready, change))
        for _ in range(-change):
            if self.starting:
                ready, count = self.starting.pop()
                if count > 1:
                    self.starting.append((ready, count - 1))
                change += 1
        if change < 0:
            self.remove(-change, step)

    def remove(self, count: int, step: int) -> None:
        pods = sorted({thread.pod for thread in self.threads})
        if self.model.spare_busy == "off":
            gone = self.dice["pods"].sample(pods, count)
        else:
            gone = sorted(pods, key=lambda pod: (self.cost(pod, step), -pod))[:count]
        jobs = [thread.ends for thread in self.threads if thread.pod in gone and thread.ends >= 0]
        last = step + math.floor(self.model.grace_seconds / self.seconds)
        self.leaving += [ends for ends in jobs if ends <= last]
        back = [ends for ends in jobs if ends > last]
        self.interrupted += len(back)
        self.queue = [step] * len(back) + self.queue
        self.threads = [thread for thread in self.threads if thread.pod not in gone]

    def cost(self, pod: int, step: int) -> int:
        busy = [thread for thread in self.threads if thread.pod == pod and thread.ends >= 0]
        return 1 + math.floor(math.log2(sum(max(1, step - thread.began) for thread in busy))) if busy else 0

    @property
    def busy(self) -> list[int]:
        return [thread.pod for thread in self.threads if thread.ends >= 0]


def step_by_step(  # noqa: C901 - one loop that reads from top to bottom is what it is for
    subject: Subject, trace: Trace, options: Options
) -> dict[str, Any]:
    spec, seconds, start = subject.scaled_object, options.step_seconds, trace.times[0]
    scaler = Autoscaler(spec, start, spec.min_replica_count, options.flags)
    workers = Workers(options.workers, seconds, options.seed)
    workers.starting = [(0, spec.min_replica_count)] if spec.min_replica_count else []
    poll, sync, push, pause = start, start + options.flags.sync_period_seconds, math.inf, 1.0
    found: dict[str, Any] = {"replicas": [], "values": [], "active": [], "backlog": [], "wakeUps": 0}
    was_active = False
    for step in range(math.floor(trace.seconds / seconds + 1e-9) + 1):
        now = start + step * seconds
        row = max(number for number, time in enumerate(trace.times) if time <= now)
        before = scaler.replicas
        workers.step(step, trace.columns["arrivals"][row])
        running, busy, waiting = len({thread.pod for thread in workers.threads}), workers.busy, len(workers.queue)
        at_work, trigger = len(busy) + len(workers.leaving), subject.trigger
        names = trigger.counts or ("waiting", "busy")
        counts = {names[0]: waiting, names[1]: at_work, "concurrency": options.workers.per_replica}
        counts["latency"] = (step - workers.queue[0]) * seconds if waiting else 0.0
        if trigger.counts:
            said = trigger.assess(trigger.imagined({name: counts.get(name, 0) for name in names}, running, now), now)
            values, active = [metric.value for metric in said.metrics], said.active
        else:
            values, active = [float(waiting + at_work)], waiting + at_work > 0
        results = [
            MetricResult(f"s0-{spec.name}", subject.manifest.target_type, spec.target, value, active)
            for spec, value in zip(trigger.specs(), values, strict=True)
        ]
        if subject.spare_busy == "hold":
            results.append(MetricResult("s0-sidekiq-held", "AverageValue", 1.0, len(set(busy)), active))
        if subject.manifest.type == "external-push":
            if not active:
                push = math.inf
            elif not was_active:
                push, pause = now, 1.0
            if now >= push:
                scaler.push(now)
                push, pause = now + pause, min(2 * pause, 60.0)
        was_active = active
        if now >= poll:
            poll += spec.polling_interval
            scaler.poll(now, results, running)
        if now >= sync:
            sync += options.flags.sync_period_seconds
            scaler.sync(now, results if scaler.looks_at_metrics() else [], ready=running)
        if scaler.replicas != before:
            workers.scale(scaler.replicas - before, step, now, start)
        found["wakeUps"] += before == 0 < scaler.replicas
        found["replicas"].append(scaler.replicas)
        found["values"].append(values[0])
        found["active"].append(active)
        found["backlog"].append(len(workers.queue) + len(workers.busy) + len(workers.leaving))
    return {**found, "waits": dict(workers.waits), "interrupted": workers.interrupted}


def subject(source: str, spec: dict[str, Any], kind: str, spare: str) -> Subject:
    metadata = {"scalerAddress": "x:1", **SOURCES[source]}
    if source in {"sidekiq", "ratio"}:
        metadata["spareBusy"] = spare
    trigger = {"type": kind, "metadata": metadata, "metricType": metadata.get("metricType", "AverageValue")}
    document = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {**spec, "scaleTargetRef": {"name": "worker"}, "triggers": [trigger]},
    }
    (found,) = parse_manifests(json.dumps(document)).objects
    assert isinstance(found, ScaledObject)
    return subject_of(found, 0)


@st.composite
def loads(draw: st.DrawFn) -> Trace:
    rates = draw(
        st.lists(st.one_of(st.just(0.0), st.sampled_from([0.02, 0.1, 1.0]), st.floats(0, 6)), min_size=2, max_size=8)
    )
    gaps = draw(st.lists(st.sampled_from([1.0, 7.0, 60.0, 33.3]), min_size=len(rates), max_size=len(rates)))
    times = [1_800_000_000.0]
    for gap in gaps[1:]:
        times.append(times[-1] + gap)
    return Trace(tuple(times), {"arrivals": tuple(rates)})


BEHAVIORS = (
    None,
    {"scaleDown": {"stabilizationWindowSeconds": 20, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}]}},
    {"scaleUp": {"stabilizationWindowSeconds": 12}, "scaleDown": {"stabilizationWindowSeconds": 0}},
)


@given(
    trace=loads(),
    source=st.sampled_from(sorted(SOURCES)),
    kind=st.sampled_from(["external", "external-push"]),
    spare=st.sampled_from(["off", "prefer", "hold"]),
    workers=st.builds(
        WorkerModel,
        st.sampled_from([0.0, 0.4, 2.0, 11.0, 45.0]),
        st.sampled_from([0.0, 3.0, 20.0]),
        st.integers(1, 4),
        st.sampled_from([0.0, 5.0, 30.0]),
    ),
    behavior=st.sampled_from(BEHAVIORS),
    periods=st.tuples(st.integers(1, 30), st.integers(0, 40), st.sampled_from([4.0, 15.0])),
    least=st.integers(0, 2),
    seed=st.none() | st.integers(0, 5),
    seconds=st.sampled_from([0.5, 1.0]),
)
@pytest.mark.slow
@settings(max_examples=100, deadline=None)
def test_event_to_event_is_step_by_step(  # noqa: PLR0917 - hypothesis passes them by name
    trace: Trace,
    source: str,
    kind: str,
    spare: str,
    workers: WorkerModel,
    behavior: Any,
    periods: Any,
    least: int,
    seed: int | None,
    seconds: float,
) -> None:
    spec: dict[str, Any] = {
        "pollingInterval": periods[0],
        "cooldownPeriod": periods[1],
        "minReplicaCount": least,
        "maxReplicaCount": 6,
    }
    if behavior is not None:
        spec["advanced"] = {"horizontalPodAutoscalerConfig": {"behavior": behavior}}
    chosen = subject(source, spec, kind, spare)
    model = WorkerModel(
        workers.service_seconds, workers.startup_seconds, workers.per_replica, workers.grace_seconds, chosen.spare_busy
    )
    options = Options(seconds, None, model, ControllerFlags(periods[2], 30), seed)
    run, expected = simulate(chosen, trace, options), step_by_step(chosen, trace, options)
    for name in ("replicas", "active", "backlog"):
        assert getattr(run, name) == expected[name], name
    assert all(
        math.isclose(one, other, abs_tol=1e-5) for one, other in zip(run.values, expected["values"], strict=True)
    )
    assert run.wait is not None
    waits = {round(time / seconds): jobs for time, jobs in zip(run.wait.times, run.wait.jobs, strict=True)}
    assert waits == expected["waits"]
    assert (run.interrupted, run.wake_ups) == (expected["interrupted"], expected["wakeUps"])
    assert run.replica_steps == sum(expected["replicas"])
    assert run.max_backlog == max(expected["backlog"])
    assert Simulator(trace, options).run(chosen, changes=False).summary() == run.summary()
