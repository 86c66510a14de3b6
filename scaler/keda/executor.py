"""KEDA's own decisions as a state machine without I/O: 0 ↔ 1, cooldown, idle replicas, fallback, cached metrics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from scaler.keda.arithmetic import Metric, MetricType, Pods
from scaler.keda.scalable import Fallback, ScaledObject

_CACHE_LAG_SECONDS = 0.05
"""For so long after KEDA scaled to 0 its cache may have the old count, so that a push has no effect."""


class Missing(Enum):
    """Why a metric has no value."""

    FAILED = "GetMetrics or IsActive failed"
    NO_SPECS = "GetMetricSpec failed"  # fallback does not count it (KEDA issue 8056)
    NO_VALUES = "GetMetrics answered an empty list"
    CACHE_CLOSED = "KEDA closed its scalers during the call"  # KEDA counts it neither as an error nor as a result


class MetricResult(NamedTuple):
    """The result of one metric of a trigger, at a poll or an HPA sync.

    `name` is that of the HPA, `s0-sqs-orders`; it is "" if the metrics of the trigger are not known (`NO_SPECS`).
    """

    name: str
    type: MetricType
    target: float
    value: float | Missing
    active: bool = False
    cached: bool = False  # the trigger has useCachedMetrics

    @property
    def failed(self) -> bool:
        """Whether KEDA counts it as an error of the trigger; an empty answer does not count."""
        return self.value is Missing.FAILED or self.value is Missing.NO_SPECS


class Outcome(NamedTuple):
    """KEDA's decision after a poll or a push."""

    replicas: int  # what spec.replicas becomes
    active: bool
    reason: str  # as in KEDA's conditions Active and Ready


@dataclass(slots=True)
class Executor:
    """KEDA's scale executor for one ScaledObject, with the state that KEDA keeps in its status.

    Times are Unix seconds: KEDA keeps them as whole seconds, so the fractions matter. Source: KEDA
    pkg/scaling/executor/scale_scaledobjects.go and pkg/fallback/fallback.go. The formula of `scalingModifiers` is not
    evaluated here; without its value a poll uses the activity of the triggers.
    """

    scaled_object: ScaledObject
    created: float
    _last_active: int | None = field(default=None, init=False)
    _failures: dict[str, int] = field(default_factory=dict, init=False)
    _cache: dict[str, MetricResult] = field(default_factory=dict, init=False)
    _before_zero: tuple[float, int] = field(default=(-math.inf, 0), init=False)

    def poll(self, now: float, pods: Pods, results: Sequence[MetricResult], formula: float | None = None) -> Outcome:
        """Process the results of all triggers, one for each metric, and remember them.

        `formula` is the value of `scalingModifiers`, NaN if it has none. It alone decides about activity, and after an
        error nothing is active; with fallback it is not used (scale_handler.go, getScaledObjectState, and
        modifiers/formula.go). A push ignores it.
        """
        active = error = fallen_back = False
        for result in results:
            value, stand_in = self._value(result, pods)
            active, fallen_back = active or result.active, fallen_back or stand_in
            error = error or (value is None and result.failed)
        self._cache = {
            result.name: result
            for result in results
            if result.cached and result.name and result.value is not Missing.CACHE_CLOSED
        }
        modifiers = self.scaled_object.advanced.scaling_modifiers
        if formula is not None and modifiers is not None:
            active = not error and formula > modifiers.activation_above
        return self._request_scale(now, pods.replicas, active=active or fallen_back, error=error)

    def push(self, now: float, replicas: int) -> Outcome:
        """Process a `true` of StreamIsActive; KEDA ignores a `false`."""
        zeroed_at, count = self._before_zero
        if replicas == 0 and now < zeroed_at + _CACHE_LAG_SECONDS:
            return self._request_scale(now, count, active=True, error=False)._replace(replicas=0)
        return self._request_scale(now, replicas, active=True, error=False)

    def cached(self, name: str) -> MetricResult | None:
        """Return the result of the last poll that an HPA sync gets instead of a call (`useCachedMetrics`)."""
        return self._cache.get(name)

    def for_hpa(self, pods: Pods, results: Sequence[MetricResult]) -> list[Metric]:
        """Return the metrics that the HPA gets for `results`, with fallback, which also counts failures here."""
        metrics = []
        for result in results:
            value, _ = self._value(result, pods)
            metrics.append(Metric(result.type, result.target, value, result.name))
            if value is None and result.failed:
                self._cache.clear()  # one failed read drops the whole cache, so the next sync calls the scaler
        return metrics

    def _value(self, result: MetricResult, pods: Pods) -> tuple[float | None, bool]:
        """Return the value, or that of fallback, and whether it is that of fallback."""
        fallback, value = self.scaled_object.fallback, result.value
        if not isinstance(value, Missing):
            if fallback is not None:
                self._failures[result.name] = 0
            return value, False
        if fallback is None or value is Missing.NO_SPECS or value is Missing.CACHE_CLOSED:
            return None, False
        failures = 0 if value is Missing.NO_VALUES else self._failures.get(result.name, 0) + 1
        self._failures[result.name] = failures
        if failures <= fallback.failure_threshold:
            return None, False
        replicas: float = _fallback_replicas(fallback, pods.replicas)
        if result.type == "Value":
            if not pods.ready:
                return None, False
            replicas /= pods.ready
        return int(result.target * 1000 * replicas) / 1000, True

    def _request_scale(self, now: float, replicas: int, *, active: bool, error: bool) -> Outcome:
        """Decide like KEDA's RequestScale; this and the next two methods have its cases in the same order."""
        if active or self.scaled_object.force_activation:
            return self._while_active(now, replicas, error=error)
        spec = self.scaled_object
        if error and (spec.fallback is None or spec.fallback.replicas != 0):
            return Outcome(replicas, active, "TriggerError" if spec.fallback is None else "ScalerNotActive")
        return self._while_inactive(now, replicas)

    def _while_active(self, now: float, replicas: int, *, error: bool) -> Outcome:
        spec = self.scaled_object
        least = spec.min_replica_count
        if replicas == 0 or (spec.idle_replica_count is not None and replicas < least):
            if spec.paused_scale_out:  # KEDA does not even note the time of the activity
                return Outcome(replicas, active=True, reason="ScalerActive")
            replicas = max(least, 1)
        elif error:  # an error of some triggers does not count as activity for the cooldown
            return Outcome(replicas, active=True, reason="PartialTriggerError")
        self._last_active = int(now)
        return Outcome(replicas, active=True, reason="ScalerActive")

    def _while_inactive(self, now: float, replicas: int) -> Outcome:
        spec, reason = self.scaled_object, "ScalerNotActive"
        idle = spec.idle_replica_count or 0
        if spec.sleeps and replicas > idle:
            if not spec.paused_scale_in and not self._cooled_down(now):
                reason = "ScalerCooldown"
            elif not spec.paused_scale_in:
                if idle == 0:
                    self._before_zero = (now, replicas)
                replicas = idle
        elif spec.idle_replica_count is None:
            replicas = max(replicas, spec.min_replica_count)
        return Outcome(replicas, active=False, reason=reason)

    def _cooled_down(self, now: float) -> bool:
        """Tell whether the cooldown is over; a workload that was never active has initialCooldownPeriod."""
        if self._last_active is None:
            return int(self.created) + self.scaled_object.initial_cooldown_period < now
        return self._last_active + self.scaled_object.cooldown_period < now


def _fallback_replicas(fallback: Fallback, replicas: int) -> int:
    match fallback.behavior:
        case "currentReplicas":
            return replicas
        case "currentReplicasIfHigher":
            return max(replicas, fallback.replicas)
        case "currentReplicasIfLower":
            return min(replicas, fallback.replicas)
        case _:
            return fallback.replicas
