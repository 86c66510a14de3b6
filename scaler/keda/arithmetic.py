"""The replicas that the HPA proposes for one external metric, and the steps of that calculation for people."""

import math
from typing import Literal, NamedTuple

from scaler.keda.quantity import milli

MetricType = Literal["AverageValue", "Value"]

_MOST = 2**31 - 1  # the HPA keeps replicas in 32 bits


class Metric(NamedTuple):
    """One metric of an HPA at a sync; `value` is None if it could not be read."""

    type: MetricType
    target: float
    value: float | None
    name: str = ""


class Pods(NamedTuple):
    """The scale target at a sync: `spec.replicas`, `status.replicas`, and the pods that are Running and Ready."""

    replicas: int
    status_replicas: int
    ready: int


class Tolerances(NamedTuple):
    """How far the ratio of value and target may be below and above 1 without scaling; both limits are included."""

    down: float
    up: float

    def hold(self, ratio: float) -> bool:
        """Return whether `ratio` is close enough to 1."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


def propose(metric: Metric, value: float, pods: Pods, tolerances: Tolerances) -> int:
    """Return the replicas that `metric` asks for at `value`; its target must be at least 0.001.

    `AverageValue` asks for ceil(value ÷ target). `Value` multiplies the ready pods by value ÷ target, so a constant
    ratio above 1 adds replicas at every sync. Source: replica_calculator.go, GetExternalPerPodMetricReplicas and
    GetExternalMetricReplicas.
    """
    ratio = _ratio(metric, value, pods)
    if tolerances.hold(ratio):
        return pods.status_replicas if metric.type == "AverageValue" else pods.replicas
    if metric.type == "AverageValue":
        return min(math.ceil(float(milli(value)) / float(milli(metric.target))), _MOST)
    return min(math.ceil(ratio * pods.ready), _MOST)


def written_out(metric: Metric, pods: Pods, tolerances: Tolerances) -> tuple[str, ...]:
    """Return the steps of `propose` as lines, the last one with the result: `ceil(128 / 5) = 26`."""
    if metric.value is None:
        return ("it could not be read: it proposes nothing, and until it can be read nothing scales down",)
    usage, target = milli(metric.value) / 1000, milli(metric.target) / 1000
    proposal = propose(metric, metric.value, pods, tolerances)
    ratio = _ratio(metric, metric.value, pods)
    rounded = [] if usage == metric.value else [f"the HPA reads {metric.value:g} as {_number(usage)}"]
    if metric.type == "AverageValue":
        division = f"{_number(usage)} / ({_number(target)} * {_count(pods.status_replicas, 'replica')})"
        result = f"ceil({_number(usage)} / {_number(target)}) = {proposal}"
    else:
        division = f"{_number(usage)} / {_number(target)}"
        result = f"ceil({ratio:.6g} * {_count(pods.ready, 'ready pod')}) = {proposal}"
    if ratio == math.inf:
        return (*rounded, "no replica runs yet: the tolerance does not count", result)
    band = f"the tolerance of {1 - tolerances.down:.6g} to {1 + tolerances.up:.6g}"
    if tolerances.hold(ratio):
        return (*rounded, f"{division} = {ratio:.6g}, within {band}: {_count(proposal, 'replica')}, as now")
    return (*rounded, f"{division} = {ratio:.6g}, outside {band}", result)


def _ratio(metric: Metric, value: float, pods: Pods) -> float:
    """Return value ÷ target, for `AverageValue` per current replica; infinite for `AverageValue` without replicas."""
    usage, target = float(milli(value)), float(milli(metric.target))
    if metric.type == "Value":
        return usage / target
    return usage / (target * pods.status_replicas) if pods.status_replicas else math.inf


def _number(value: float) -> str:
    """Write a number of thousandths without trailing zeros."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
