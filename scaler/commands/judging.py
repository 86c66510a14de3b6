"""Computes what KEDA would be told in a step of a simulation, by the trigger's own formulas."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast, get_args

from scaler.commands.trace import Trace
from scaler.commands.work import SpareBusy, Work
from scaler.core.domain import Assessment, Metric
from scaler.core.errors import ScalerError
from scaler.keda import expression, formula
from scaler.keda.executor import MetricResult
from scaler.keda.scalable import ScaledObject, ScalingModifiers
from scaler.keda.scalable import Trigger as ManifestTrigger
from scaler.sources.base import Trigger
from scaler.sources.triggers import FROM_ENV, parse

SPARE_BUSY = "spareBusy"
HELD_METRIC = "sidekiq-held"
FORMULA = "scalingModifiers.formula"
STAND_IN_QUEUE = "https://sqs.us-east-1.amazonaws.com/000000000000/queue"
_STAND_INS = {  # replace addresses from the environment, as nothing is read
    "redisURL": "redis://localhost",
    "queueURL": STAND_IN_QUEUE,
    "metricsURL": "http://localhost/metrics",
    "prometheusURL": "http://localhost",
}
Formula = Callable[[Mapping[str, float], int, float], Assessment]


class SimulationError(ScalerError):
    """The trace does not fit the trigger, or the options do not fit the trace."""

    code = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class Subject:
    """One trigger of a ScaledObject to simulate, with its parsed metadata."""

    scaled_object: ScaledObject
    index: int
    trigger: Trigger
    spare_busy: SpareBusy = "off"
    composite: formula.Formula | None = None
    """The formula of `scalingModifiers`."""

    @property
    def manifest(self) -> ManifestTrigger:
        """The trigger of the manifest."""
        return self.scaled_object.triggers[self.index]


def subject_of(scaled_object: ScaledObject, index: int) -> Subject:
    """Return the subject for trigger `index` of `scaled_object`.

    Raises `ScalerError` for metadata that the scaler would refuse. A key `…FromEnv` takes its value from this process's
    environment, where addresses may be missing.
    """
    written = scaled_object.triggers[index].metadata
    metadata = {key: _from_env(key, value) for key, value in written.items()}
    if (
        "awsRegion" in {key.removesuffix(FROM_ENV) for key in written}
        and metadata.get("queueURLFromEnv") == STAND_IN_QUEUE
    ):
        metadata["queueURLFromEnv"] = "queue"  # a name, as the URL would tell another region
    spare = metadata.pop(SPARE_BUSY, "").strip() or "off"
    if spare not in get_args(SpareBusy):
        raise SimulationError(
            f"{SPARE_BUSY}: {spare!r} is not allowed; it must be one of {', '.join(get_args(SpareBusy))}"
        )
    if spare != "off" and metadata.get("source") != "sidekiq":
        raise SimulationError(f"{SPARE_BUSY}: only source sidekiq knows which pods work")
    trigger = parse(metadata, scaled_object.namespace)
    names = [spec.name for spec in trigger.specs()] + [HELD_METRIC] * (spare == "hold")
    composite = _composite(scaled_object, index, names)
    return Subject(scaled_object, index, trigger, cast("SpareBusy", spare), composite)


def _composite(owner: ScaledObject, index: int, metrics: Sequence[str]) -> formula.Formula | None:
    """Return the formula of `scalingModifiers`, in which nothing but the trigger can vary."""
    modifiers = owner.advanced.scaling_modifiers
    if modifiers is None or modifiers == ScalingModifiers():
        return None
    if len(metrics) > 1:
        raise SimulationError(f"{FORMULA}: takes one metric of each trigger, but the trigger has {', '.join(metrics)}")
    if modifiers.target_value <= 0:
        raise SimulationError("scalingModifiers.target: must be above 0, or KEDA refuses the formula")
    name = owner.triggers[index].name
    try:
        composite = formula.compiled(modifiers.formula, {trigger.name for trigger in owner.triggers})
        others = sorted(expression.parse(modifiers.formula).names - {name})
    except formula.FormulaError as error:
        raise SimulationError(f"{FORMULA}: it is not known how to work it out: {error}") from None
    if others:
        raise SimulationError(
            f"{FORMULA}: it uses {', '.join(others)}, of which the trace says nothing; simulate a copy of the manifest "
            "with a number in the formula instead"
        )
    return composite


def _from_env(key: str, value: str) -> str:
    if not key.endswith(FROM_ENV):
        return value
    known = os.environ.get(value) or _STAND_INS.get(key.removesuffix(FROM_ENV))
    if known is None:
        raise SimulationError(f"{key}: set {value} in the environment of this command, as the workload has it")
    return known


def with_metadata(scaled_object: ScaledObject, index: int, metadata: Mapping[str, str]) -> ScaledObject:
    """Return `scaled_object` with other metadata in one trigger."""
    triggers = list(scaled_object.triggers)
    triggers[index] = replace(triggers[index], metadata=metadata)
    return replace(scaled_object, triggers=tuple(triggers))


def judge(trigger: Trigger, trace: Trace) -> Formula:
    """Return the trigger's formula as a function of the counts of a step, the replicas and the time.

    A column `value` is used as the first metric, which is active above `activationQueueLength`; so are the jobs of a
    source without `imagined`. Raises `SimulationError` for columns that the source does not have.
    """
    columns = {*trace.columns}
    if columns == {"value"} or (columns == {"arrivals"} and not trigger.counts):
        specs, threshold = trigger.specs(), getattr(trigger, "activation_queue_length", 0)
        if len(specs) > 1:
            names = ", ".join(spec.name for spec in specs)
            way = (
                f"give its own counts instead: {', '.join(trigger.counts)}" if trigger.counts else "it is not simulated"
            )
            raise SimulationError(f"{', '.join(columns)} gives one metric, but the trigger has {names}; {way}")

        def one_metric(counts: Mapping[str, float], _replicas: int, _now: float) -> Assessment:
            value = sum(counts.values())
            return Assessment((Metric(specs[0].name, value),), value > threshold, ())

        return one_metric
    if not (columns == {"arrivals"} or columns <= {*trigger.counts}):
        expected = ", ".join(("value", "arrivals", *trigger.counts))
        raise SimulationError(f"the trace has {', '.join(trace.columns)}; source {trigger.source} takes {expected}")

    def formulas(counts: Mapping[str, float], replicas: int, now: float) -> Assessment:
        try:
            return trigger.assess(trigger.imagined(counts, replicas, now), now)
        except ValueError as error:
            raise SimulationError(str(error)) from None

    return formulas


class Told(NamedTuple):
    """The answer that KEDA would be told: the first metric's value, the activity, and each metric's result in a poll.

    `until` is the time at which it may change by the passing of time alone.
    """

    value: float
    active: bool
    results: list[MetricResult]
    until: float


class Judge:
    """Computes what KEDA would be told; results that do not depend on the time are cached by their counts."""

    def __init__(self, subject: Subject, trace: Trace) -> None:
        """Judge the one trigger of `subject`."""
        self._subject, self._assess = subject, judge(subject.trigger, trace)
        specs, manifest = subject.trigger.specs(), subject.manifest
        self._results = [
            MetricResult(
                f"s{subject.index}-{spec.name}",
                manifest.target_type,
                spec.target,
                0.0,
                False,
                manifest.use_cached_metrics,
            )
            for spec in specs
        ]
        self._known: dict[tuple[float, ...], Told] = {}
        names = subject.trigger.counts or ("waiting", "busy")
        self._waiting, self._busy = names[:2]
        self._latency, self._concurrency = "latency" in names, "concurrency" in names

    def of_jobs(self, work: Work, busy: int, waiting: int, at: tuple[int, float]) -> Told:
        """Judge with `busy` running and `waiting` waiting jobs of `work`; `at` is the step and its time."""
        key = (waiting, busy, work.running)
        known = self._known.get(key)
        if known is not None:
            return known
        counts: dict[str, float] = {self._waiting: waiting, self._busy: busy}
        if self._latency:
            counts["latency"] = work.oldest_seconds(at[0]) if waiting else 0.0
        if self._concurrency:
            counts["concurrency"] = work.model.per_replica
        return self._told(key, counts, work.running, at[1])

    def of_counts(self, counts: dict[str, float], replicas: int, now: float) -> Told:
        """Judge counts from a trace."""
        key = (replicas, *counts.values())
        return self._known.get(key) or self._told(key, counts, replicas, now)

    def _told(self, key: tuple[float, ...], counts: dict[str, float], replicas: int, now: float) -> Told:
        said = self._assess(counts, replicas, now)
        results = [
            result._replace(value=metric.value, active=said.active)
            for result, metric in zip(self._results, said.metrics, strict=True)
        ]
        told = Told(said.metrics[0].value, said.active, results, said.until)
        if said.until == math.inf:
            self._known[key] = told
        return told

    def held(self, work: Work, told: Told) -> list[MetricResult]:
        """Return the results with that of `spareBusy: hold`: the number of busy pods."""
        name = f"s{self._subject.index}-{HELD_METRIC}"
        return [*told.results, MetricResult(name, "AverageValue", 1.0, work.busy_pods(), told.active)]
