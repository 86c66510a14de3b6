"""The number of Jobs that KEDA starts for a ScaledJob at a poll, without I/O."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from scaler.keda.executor import MetricResult, Missing
from scaler.keda.scalable import ScaledJob, ScalingStrategy


class JobCounts(NamedTuple):
    """The Jobs of a ScaledJob that are neither complete nor failed, and how many of those are pending.

    A Job is pending if no pod of it runs or has succeeded; with `pendingPodConditions`, if no pod of it has all of
    them.
    """

    running: int = 0  # KEDA's word for all unfinished Jobs, also pending ones
    pending: int = 0


class Demand(NamedTuple):
    """The demand of all triggers together."""

    active: bool
    queue_length: int  # waiting jobs; never more Jobs than this are started
    max_scale: int  # the wanted number of Jobs


class Started(NamedTuple):
    """KEDA's decision after a poll."""

    jobs: int  # to start now
    demand: Demand
    reason: str  # as in KEDA's conditions Active and Ready


class _Asked(NamedTuple):
    """The demand of one metric."""

    queue_length: float
    max_value: float
    active: bool


def poll(scaled_job: ScaledJob, answers: Iterable[Sequence[MetricResult]], jobs: JobCounts) -> Started:
    """Return the Jobs to start; `answers` are the results of each trigger, empty if GetMetricSpec failed.

    After an error of one trigger the others decide. Source: KEDA pkg/scaling/executor/scale_jobs.go, RequestJobScale,
    and pkg/scaling/scale_handler.go, getScaledJobMetrics.
    """
    if scaled_job.paused:
        return Started(0, Demand(active=False, queue_length=0, max_scale=0), "ScaledJobPaused")
    answers = list(answers)
    wanted = demand(scaled_job, answers)
    error = any(result.value is Missing.FAILED for results in answers for result in results)
    if not wanted.active:
        return Started(0, wanted, "TriggerError" if error else "ScalerNotActive")
    most, queue_length = _bounds(scaled_job, wanted, jobs)
    return Started(max(0, min(queue_length, most)), wanted, "PartialTriggerError" if error else "ScalerActive")


def demand(scaled_job: ScaledJob, answers: Iterable[Sequence[MetricResult]]) -> Demand:
    """Return the demand of the triggers (KEDA pkg/scaling/scaledjob/metrics.go, IsScaledJobActive).

    Only the value of a trigger's first metric is used as queue length, divided by the mean of the trigger's targets.
    Its other metrics count as entries of length 0, which lower the result of `min` and `avg`.
    """
    most = _most(scaled_job)
    asked = [entry for results in answers for entry in _of_trigger(results, most)]
    length, value, active = _calculated(scaled_job.scaling_strategy.multiple_scalers_calculation, asked)
    return Demand(active or scaled_job.min_replica_count > 0, math.ceil(length), math.ceil(min(value, most)))


def _of_trigger(results: Sequence[MetricResult], most: int) -> Iterable[_Asked]:
    active = False
    for index, result in enumerate(results):
        if result.value is Missing.FAILED or result.value is Missing.CACHE_CLOSED:
            continue
        active = active or result.active
        length = 0.0 if index or isinstance(result.value, Missing) else result.value
        target = sum(each.target for each in results) / len(results)
        yield _Asked(length, min(length / target, most) if target else 0.0, active)


def _calculated(how: str, asked: Sequence[_Asked]) -> tuple[float, float, bool]:
    """Combine the active metrics by `multipleScalersCalculation`."""
    asked = [entry for entry in asked if entry.active]
    match how:
        case "min":
            length, value = 0.0, 0.0
            for entry in asked:
                if length == 0 or entry.queue_length < length:  # as in KEDA: a length of 0 is replaced by the next
                    length, value = entry.queue_length, entry.max_value
            return length, value, bool(asked)
        case "avg" | "sum":
            share = len(asked) if how == "avg" and asked else 1
            length = sum(entry.queue_length for entry in asked) / share
            return length, sum(entry.max_value for entry in asked) / share, bool(asked)
        case _:  # an active trigger without a queue is inactive here
            longest = max(asked, key=lambda entry: entry.queue_length, default=_Asked(0, 0, active=False))
            return (longest.queue_length, longest.max_value, True) if longest.queue_length > 0 else (0.0, 0.0, False)


def _bounds(scaled_job: ScaledJob, wanted: Demand, jobs: JobCounts) -> tuple[int, int]:
    """Return how many Jobs may be started, by the strategy and by the queue length."""
    least = min(scaled_job.min_replica_count, scaled_job.max_replica_count)
    if jobs.running < least:
        return least - jobs.running, least - jobs.running
    above = JobCounts(jobs.running - least, jobs.pending)
    return effective_max(scaled_job.scaling_strategy, wanted, above, _most(scaled_job))


def effective_max(strategy: ScalingStrategy, wanted: Demand, jobs: JobCounts, most: int) -> tuple[int, int]:
    """Return the maximum of Jobs that `strategy` starts, and the queue length that it uses.

    `jobs` are those above minReplicaCount, and `most` is maxReplicaCount minus minReplicaCount.
    """
    scale, length = wanted.max_scale, wanted.queue_length
    match strategy.strategy:
        case "custom" if (share := running_share(strategy)) is not None:
            deducted = strategy.custom_scaling_queue_length_deduction + int(jobs.running * share)
            return min(scale - deducted, most), length
        case "accurate":
            return (most - jobs.running if scale + jobs.running > most else scale - jobs.pending), length
        case "eager":
            return min(most - jobs.running - jobs.pending, scale), most
        case _:
            return scale - jobs.running, length


def running_share(strategy: ScalingStrategy) -> float | None:
    """Return `customScalingRunningJobPercentage` as a share; None if KEDA cannot parse it and uses `default`."""
    text = strategy.custom_scaling_running_job_percentage
    return float(text) if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) else None


def _most(scaled_job: ScaledJob) -> int:
    least, most = scaled_job.min_replica_count, scaled_job.max_replica_count
    return most if least > most else most - least
