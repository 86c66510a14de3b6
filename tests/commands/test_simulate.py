"""The simulator against recordings of a real KEDA, against the stand-in, and against sums done by hand."""

import asyncio
import dataclasses
import json
import math
import sys
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.commands.simulate import Options, SimulationError, Simulator, changed, simulate, subject_of
from scaler.commands.trace import Trace
from scaler.commands.work import WorkerModel
from scaler.demo.clock import ManualClock
from scaler.keda.hpa import ControllerFlags
from scaler.keda.standin import StandIn
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerServicer, add_ExternalScalerServicer_to_server
from tests.commands.subjects import subject

TRACES = Path(__file__).parents[1] / "keda" / "fixtures" / "traces"
ONE_METRIC = (  # those whose reads tell the course: no failed reads, no edits, no dips shorter than a poll
    "b-cooldown-vs-hpa",
    "b-default-0-10-0",
    "b-default-periods",
    "b-partial-behavior-down-only",
    "b-up-pods-1-per-10-down-win-15",
    "b-walk-default",
    "c-flap-cooldown-60",
    "c-k8s-default-behavior",
    "c-tolerance",
    "down-two-policies-max",
    "down-window-20",
    "up-pods-1-per-10",
    "up-window-12",
    "walk-behavior-min1",
)
SQS = {"source": "sqs", "queueURL": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"}


def at(times: list[float], values: list[int], when: float) -> int:
    return values[max(0, bisect_right(times, when) - 1)]


@pytest.mark.parametrize("name", ONE_METRIC)
def test_the_same_replicas_as_a_real_keda_within_one_sync_and_one_poll(name: str) -> None:
    trace = json.loads((TRACES / f"{name}.json").read_text())
    reads = [(event["t"], event["value"]) for event in trace["events"] if event["event"] in {"poll_read", "hpa_read"}]
    reads.sort()
    # A value is known from when it was read; it has changed at some time since the read before.
    began = [reads[0][0], *(min(then + 0.3, now - 0.01) for (then, _), (now, _) in pairwise(reads))]
    course = dict(zip(began, (value for _, value in reads), strict=True))
    start = trace["startUnixTime"]
    (target,) = trace["targets"].values()
    spec = {key: value for key, value in trace["scaledObjectSpec"].items() if key != "triggers"}
    flags = ControllerFlags(
        trace["hpaSyncPeriodSeconds"], trace["hpaDownscaleStabilizationSeconds"], trace["hpaTolerance"]
    )
    run = simulate(
        subject(spec, {**SQS, "queueLength": str(target)}),
        Trace(tuple(start + moment for moment in course), {"value": tuple(map(float, course.values()))}),
        Options(0.1, trace["initialReplicas"], flags=flags),
    )
    changes = [(event["t"], event["value"]) for event in trace["events"] if event["event"] == "replicas"]
    observed_times, observed = [when for when, _ in changes], [count for _, count in changes]
    slack = flags.sync_period_seconds + spec.get("pollingInterval", 30)
    simulated_times = [when - start for when in run.times]
    for when, count in zip(simulated_times[::5], run.replicas[::5], strict=True):
        near = {at(observed_times, observed, when + shift / 4) for shift in range(-int(4 * slack), int(4 * slack) + 1)}
        assert count in near, (when, count, near)
    ends = [*observed_times[1:], simulated_times[-1]]
    lasting = [(when, count) for (when, count), end in zip(changes, ends, strict=True) if end - when > slack]
    assert lasting
    for when, count in lasting:
        first, last = (max(0, bisect_right(simulated_times, when + shift) - 1) for shift in (-slack, slack))
        assert count in run.replicas[first : last + 1], (when, count)


class _Course(ExternalScalerServicer):
    """Answers a course of values by the manual clock."""

    def __init__(self, clock: ManualClock, start: float, values: list[float]) -> None:
        self._clock, self._start, self._values = clock, start, values

    def value(self) -> float:
        return self._values[min(len(self._values) - 1, int(self._clock.wall() - self._start + 1e-6))]

    async def GetMetricSpec(self, request: Any, context: Any) -> Any:  # noqa: N802 - KEDA's name
        return pb.GetMetricSpecResponse(metricSpecs=[pb.MetricSpec(metricName="sqs-orders", targetSizeFloat=5)])

    async def GetMetrics(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.GetMetricsResponse(metricValues=[pb.MetricValue(metricName="q", metricValueFloat=self.value())])

    async def IsActive(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.IsActiveResponse(result=self.value() > 0)


@pytest.mark.parametrize("formula", [None, "orders > 10 ? orders / 2 : 0", "count([orders], # > 20) * 20"])
async def test_the_same_replicas_as_the_stand_in_step_for_step(formula: str | None) -> None:
    clock = ManualClock(wall=1_800_000_000.0)
    start = clock.wall()
    values = [0.0] * 7 + [23.0] * 40 + [60.0] * 33 + [4.0] * 45 + [0.0] * 95
    advanced = {"scalingModifiers": {"formula": formula, "target": "5", "activationTarget": "4"}} if formula else {}
    chosen = subject({"pollingInterval": 3, "cooldownPeriod": 20, "maxReplicaCount": 9, "advanced": advanced}, SQS)
    flags = ControllerFlags(sync_period_seconds=4, downscale_stabilization_seconds=15)
    server = grpc.aio.server()
    add_ExternalScalerServicer_to_server(_Course(clock, start, values), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    seen = []

    async def ignore(_replicas: int) -> None:
        return

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stand_in = StandIn(chosen.scaled_object, channel, ignore, clock=clock, flags=flags)
        task = asyncio.create_task(stand_in.run())
        for _ in values:
            async with asyncio.timeout(10):
                while clock.pending < 2:  # noqa: ASYNC110 - both loops wait for time to pass: nothing tells of it
                    await asyncio.sleep(0)
            seen.append(stand_in.replicas)
            await clock.advance(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await server.stop(None)
    trace = Trace(tuple(start + second for second in range(len(values))), {"value": tuple(values)})
    assert simulate(chosen, trace, Options(flags=flags)).replicas == seen
    assert max(seen) > 3
    assert seen[-1] == 0


def test_push_wakes_at_the_next_step_and_polling_at_the_next_poll() -> None:
    trace = Trace(tuple(range(60)), {"visible": (0.0,) * 10 + (3.0,) * 50, "inFlight": (0.0,) * 60})
    woken = {}
    for kind in ("external", "external-push"):
        run = simulate(subject({"pollingInterval": 30}, SQS, kind), trace, Options())
        woken[kind] = next(when for when, count in zip(run.times, run.replicas, strict=True) if count)
    assert woken == {"external": 30, "external-push": 10}


def test_jobs_wait_for_a_pod_to_start_and_none_is_lost() -> None:
    trace = Trace((0.0, 10.0, 11.0, 600.0), {"arrivals": (0.0, 20.0, 0.0, 0.0)})
    workers = WorkerModel(service_seconds=2, startup_seconds=15, per_replica=5)
    run = simulate(
        subject({"cooldownPeriod": 60, "maxReplicaCount": 1}, SQS, "external-push"), trace, Options(workers=workers)
    )
    summary = run.summary()
    assert run.waits is not None
    assert sum(jobs for _, jobs in run.waits) == 20
    assert (summary["waitP50"], summary["waitMax"]) == (17.0, 21.0)  # 5 at once every 2 s, from 15 s after the burst
    assert (summary["wakeUps"], summary["interruptedJobs"], run.replicas[-1]) == (1, 0, 0)


SIDEKIQ = {"source": "sidekiq", "redis": "main", "queues": "mail", "concurrency": "1"}


@pytest.mark.parametrize(("spare", "interrupted"), [("off", range(1, 5)), ("prefer", range(1)), ("hold", range(1))])
def test_jobs_longer_than_the_grace_are_interrupted_unless_idle_pods_go_first(spare: str, interrupted: range) -> None:
    """Three of eight pods of one thread each are busy when the ratio asks for four pods."""
    trace = Trace((0.0, 1.0, 60.0, 61.0, 900.0), {"arrivals": (8.0, 0.0, 3.0, 0.0, 0.0)})
    workers = WorkerModel(service_seconds=55, per_replica=1, grace_seconds=10)
    spec = {"minReplicaCount": 8, "maxReplicaCount": 8}
    chosen = subject(spec, {**SIDEKIQ, "spareBusy": spare})
    smaller = dataclasses.replace(chosen.scaled_object, min_replica_count=1)
    flags = ControllerFlags(sync_period_seconds=15, downscale_stabilization_seconds=0)
    run = simulate(subject_of(smaller, 0), trace, Options(initial_replicas=8, workers=workers, flags=flags))
    assert run.interrupted in interrupted
    assert min(run.replicas) == 1


def test_hold_keeps_as_many_pods_as_are_busy() -> None:
    trace = Trace((0.0, 1.0, 40.0, 41.0, 300.0), {"arrivals": (9.0, 0.0, 0.0, 0.0, 0.0)})
    workers = WorkerModel(service_seconds=200, per_replica=10, grace_seconds=10)
    flags = ControllerFlags(downscale_stabilization_seconds=0)
    least = {}
    for spare in ("prefer", "hold"):
        chosen = subject({"minReplicaCount": 1, "maxReplicaCount": 9}, {**SIDEKIQ, "spareBusy": spare})
        run = simulate(chosen, trace, Options(initial_replicas=9, workers=workers, flags=flags))
        least[spare] = (min(run.replicas[:190]), run.interrupted)
    assert least == {"prefer": (2, 7), "hold": (9, 0)}


def test_spare_busy_is_for_sidekiq_and_one_of_three() -> None:
    with pytest.raises(SimulationError, match="spareBusy: 'yes' is not allowed; it must be one of off, prefer, hold"):
        subject({}, {**SIDEKIQ, "spareBusy": "yes"})
    with pytest.raises(SimulationError, match="spareBusy: only source sidekiq knows which pods work"):
        subject({}, {**SQS, "spareBusy": "hold"})


@given(
    rates=st.lists(st.floats(0, 50), min_size=2, max_size=60),
    service=st.floats(0, 20),
    threads=st.integers(1, 20),
    seed=st.none() | st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_jobs_are_neither_lost_nor_made_up(rates: list[float], service: float, threads: int, seed: int | None) -> None:
    trace = Trace(tuple(map(float, range(len(rates)))), {"arrivals": tuple(rates)})
    chosen = subject({"maxReplicaCount": 5}, SQS, "external-push")
    options = Options(workers=WorkerModel(service, 1, threads), seed=seed)
    run = simulate(chosen, trace, options)
    assert run.waits is not None
    assert all(0 <= wait <= len(rates) for wait, _ in run.waits)
    assert all(0 <= count <= 5 for count in run.replicas)
    again = simulate(chosen, trace, options)
    assert (again.steps(), again.summary()) == (run.steps(), run.summary())
    if seed is None:
        begun = sum(jobs for _, jobs in run.waits)
        assert begun <= sum(rates) + 1
        assert begun + run.backlog[-1] >= int(sum(rates))


COLUMNS = {
    "sidekiq": (
        {"source": "sidekiq", "redis": "main", "queues": "mail,low", "queueLength": "10", "queueLatency": "30"},
        {"waiting": 40.0, "busy": 5.0, "latency": 12.0},
        1.0,
    ),
    "workqueue": (
        {"source": "workqueue", "metricsURL": "http://x/metrics", "queues": "a,b"},
        {"depth": 7.0, "active": 2.0},
        9.0,
    ),
    "sqs": (SQS, {"visible": 7.0, "inFlight": 2.0, "delayed": 100.0}, 9.0),
    "prefix": ({"source": "sqs", "queueNamePrefix": "or", "awsRegion": "eu-west-1"}, {"visible": 7.0}, 7.0),
}


@pytest.mark.parametrize(("metadata", "counts", "value"), COLUMNS.values(), ids=COLUMNS)
def test_the_counts_of_a_source_go_through_its_own_formula(
    metadata: dict[str, str], counts: dict[str, float], value: float
) -> None:
    trace = Trace((0.0, 100.0), {name: (count, count) for name, count in counts.items()})
    run = simulate(subject({"minReplicaCount": 1, "maxReplicaCount": 1}, metadata), trace, Options())
    assert (run.values[0], run.active[0]) == (value, True)


def test_columns_that_a_source_does_not_have_are_refused() -> None:
    trace = Trace((0.0, 1.0), {"depth": (1.0, 1.0)})
    with pytest.raises(
        SimulationError, match="the trace has depth; source sqs takes value, arrivals, visible, inFlight"
    ):
        simulate(subject({}, SQS), trace, Options())


@pytest.mark.parametrize("rate", [0.1, 2.0, 9.0])
def test_a_day_goes_from_event_to_event(rate: float) -> None:
    """Counts calls of functions instead of seconds; half a million take about 0.1 s (docs/simulate.md)."""
    arrivals = tuple(rate * (1 + math.sin(minute / 230)) / 2 for minute in range(1441))
    trace = Trace(tuple(60.0 * minute for minute in range(1441)), {"arrivals": arrivals})
    chosen, options = subject({}, SQS, "external-push"), Options(workers=WorkerModel(2, 10, 5))
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    simulator = Simulator(trace, options)
    sys.setprofile(count)
    try:
        run = simulator.run(chosen, changes=False)
    finally:
        sys.setprofile(None)
    assert calls < 10 * run.grid.steps
    assert run.grid.steps == 86_401
    assert run.wait is not None
    assert sum(run.wait.jobs) == pytest.approx(sum(arrivals) * 60, rel=0.01)


def test_a_sweep_changes_the_manifest_or_the_metadata() -> None:
    chosen = subject({"cooldownPeriod": 60}, SQS)
    assert changed(chosen.scaled_object, 0, "cooldownPeriod", "90").cooldown_period == 90
    assert changed(chosen.scaled_object, 0, "queueLength", "7").triggers[0].metadata["queueLength"] == "7"
    with pytest.raises(SimulationError, match="cooldownPeriod: 'x' is not a whole number"):
        changed(chosen.scaled_object, 0, "cooldownPeriod", "x")
    with pytest.raises(SimulationError, match="pollingInterval: must be at least 1"):
        changed(chosen.scaled_object, 0, "pollingInterval", "0")
