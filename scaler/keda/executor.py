"""KEDA's own decisions as a state machine without I/O: 0 ↔ 1, cooldown, idle replicas, fallback, cached metrics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from scaler.keda.arithmetic import Metric, MetricType, Pods
from scaler.keda.formula import Formula
from scaler.keda.scalable import ScaledObject, ScalingModifiers

COMPOSITE = "composite-metric"
"""KEDA's name for the metric of `scalingModifiers`, the only external one that the HPA then gets."""

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
    def trigger(self) -> int:
        """The index of the trigger, from `name`."""
        return int(self.name[1 : self.name.index("-")])

    @property
    def failed(self) -> bool:
        """Whether KEDA counts it as an error of the trigger; an empty answer does not count."""
        return self.value is Missing.FAILED or self.value is Missing.NO_SPECS


class _Read(NamedTuple):
    """One result as KEDA goes on with it."""

    result: MetricResult
    value: float | None = None
    fallback: bool = False  # the value is that of fallback
    nil: bool = False  # fallback's behavior scalingModifiers: a formula gets `nil`

    @property
    def failed(self) -> bool:
        """Whether it is an error, and no fallback replaces it."""
        return self.value is None and not self.nil and self.result.failed


class Outcome(NamedTuple):
    """KEDA's decision after a poll or a push."""

    replicas: int  # what spec.replicas becomes
    active: bool
    reason: str  # as in KEDA's conditions Active and Ready


@dataclass(slots=True)
class Executor:
    """KEDA's scale executor for one ScaledObject, with the state that KEDA keeps in its status.

    Times are Unix seconds: KEDA keeps them as whole seconds, so the fractions matter. Source: KEDA
    pkg/scaling/executor/scale_scaledobjects.go and pkg/fallback/fallback.go. `formula` is that of `scalingModifiers`;
    without it the triggers themselves count.

    That polls count failures and take a fallback for activity is so since KEDA 2.19 (kedacore/keda#7239, in its
    changelog after 2.18.3). Up to 2.18 only queries of the HPA do, of which there are none at 0 replicas, so that
    fallback never wakes, and with `fallback.replicas: 0` an outage ends at zero. Cases of RequestScale are the same.
    """

    scaled_object: ScaledObject
    created: float
    formula: Formula | None = None
    _last_active: int | None = field(default=None, init=False)
    _failures: dict[str, int] = field(default_factory=dict, init=False)
    _cache: dict[str, MetricResult] = field(default_factory=dict, init=False)
    _before_zero: tuple[float, int] = field(default=(-math.inf, 0), init=False)

    def poll(self, now: float, pods: Pods, results: Sequence[MetricResult]) -> Outcome:
        """Process the results of all triggers, one for each metric, and remember them.

        The value of a formula alone decides about activity, and after an error nothing is active (scale_handler.go,
        getScaledObjectState). A push ignores it.
        """
        read = [self._read(result, pods) for result in results]
        error = any(each.failed for each in read)
        self._cache = {
            result.name: result
            for result in results
            if result.cached and result.name and result.value is not Missing.CACHE_CLOSED
        }
        if self.formula is None:
            active = any(each.result.active or each.fallback for each in read)
        else:
            value = self._formula_value(read, self.formula)
            active = not error and not isinstance(value, Missing) and value > self._modifiers.activation_above
        return self._request_scale(now, pods.replicas, active=active, error=error)

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
        read = [self._read(result, pods) for result in results]
        if any(each.failed for each in read):
            self._cache.clear()  # one failed read drops the whole cache, so the next sync calls the scaler
        if self.formula is None or not results:
            return [Metric(each.result.type, each.result.target, each.value, each.result.name) for each in read]
        value = self._formula_value(read, self.formula)
        known = None if isinstance(value, Missing) else value
        return [Metric(self._modifiers.metric_type, self._modifiers.target_value, known, COMPOSITE)]

    @property
    def _modifiers(self) -> ScalingModifiers:
        return self.scaled_object.advanced.scaling_modifiers or ScalingModifiers()

    def _formula_value(self, read: Sequence[_Read], formula: Formula) -> float | Missing:
        """Return the value of `formula`, or that of fallback, which comes before an error.

        If the formula is `nil` because of failed triggers, `fallback.replicas` counts (KEDA
        pkg/scaling/modifiers/formula.go).
        """
        values: dict[str, float | None] = {}
        missing = None
        for result, value, stands_in, nil in read:
            if stands_in and value is not None:
                return value
            if value is None and not nil and isinstance(result.value, Missing):
                missing = result.value
            else:
                values[self.scaled_object.triggers[result.trigger].name] = value
        if missing is not None:
            return missing
        composite, fallback = formula(values), self.scaled_object.working_fallback
        if composite is None and fallback is not None:
            composite = self._modifiers.target_value * fallback.replicas
        return Missing.NO_VALUES if composite is None or math.isnan(composite) else composite

    def _read(self, result: MetricResult, pods: Pods) -> _Read:
        """Count the failures of `result`, and replace its value by that of fallback after too many."""
        fallback, value = self.scaled_object.working_fallback, result.value
        if not isinstance(value, Missing):
            if fallback is not None:
                self._failures[result.name] = 0
            return _Read(result, value)
        if fallback is None or value is Missing.NO_SPECS or value is Missing.CACHE_CLOSED:
            return _Read(result)
        failures = 0 if value is Missing.NO_VALUES else self._failures.get(result.name, 0) + 1
        self._failures[result.name] = failures
        if failures <= fallback.failure_threshold:
            return _Read(result)
        if fallback.behavior == "scalingModifiers":
            return _Read(result, nil=True)
        kind, target = result.type, result.target
        if self.formula is not None:
            kind, target = self._modifiers.metric_type, self._modifiers.target_value
        replicas: float = fallback.count(pods.replicas)
        if kind == "Value":
            if not pods.ready:
                return _Read(result)
            replicas /= pods.ready
        return _Read(result, int(target * 1000 * replicas) / 1000, fallback=True)

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
