"""Checks for what KEDA refuses in ScaledObjects and ScaledJobs although the API server accepts it."""

from collections.abc import Iterator

from scaler.keda.jobs import running_share
from scaler.keda.scalable import ScaledJob, ScaledObject, ScalingStrategy
from scaler.keda.yaml_nodes import Path


def refusals(manifest: ScaledObject | ScaledJob) -> Iterator[tuple[Path, str]]:
    """Yield what KEDA's admission webhook or reconciler refuses although the API server accepts it.

    Sources: KEDA apis/keda/v1alpha1, CheckReplicaCountBoundsAreValid and ValidateTriggers; pkg/scalers/scaler.go,
    GetMetricTargetType; controllers/keda/scaledjob_controller.go.
    """
    least, most = manifest.min_replica_count, manifest.max_replica_count
    if least > most:
        yield ("spec", "minReplicaCount"), f"{least} is above maxReplicaCount {most}"
    idle = manifest.idle_replica_count if isinstance(manifest, ScaledObject) else None
    if idle is not None and idle >= least:
        yield ("spec", "idleReplicaCount"), f"must be below minReplicaCount {least}"
    if isinstance(manifest, ScaledJob):
        yield from _unknown_strategy(manifest.scaling_strategy)
    elif (modifiers := manifest.advanced.scaling_modifiers) and modifiers.formula and modifiers.target_value <= 0:
        yield ("spec", "advanced", "scalingModifiers", "target"), "must be above 0"
    if not manifest.triggers:
        yield ("spec", "triggers"), "needs at least one trigger"
    names = set()
    for index, trigger in enumerate(manifest.triggers):
        path = ("spec", "triggers", index)
        if trigger.name and trigger.name in names:
            yield (*path, "name"), f"{trigger.name} is the name of another trigger"
        names.add(trigger.name)
        if trigger.metric_type == "Utilization" and trigger.type not in {"cpu", "memory"}:
            yield (*path, "metricType"), "must be AverageValue or Value; Utilization is for cpu and memory"
        elif trigger.metric_type is not None and isinstance(manifest, ScaledJob):
            yield (*path, "metricType"), "is not allowed in a ScaledJob"


def _unknown_strategy(strategy: ScalingStrategy) -> Iterator[tuple[Path, str]]:
    """Yield what KEDA silently ignores in a scalingStrategy (scale_jobs.go, metrics.go)."""
    path = ("spec", "scalingStrategy")
    if strategy.strategy not in {"", "default", "custom", "accurate", "eager"}:
        yield (*path, "strategy"), "KEDA takes it for default; it knows default, custom, accurate and eager"
    if strategy.strategy == "custom" and running_share(strategy) is None:
        yield (*path, "customScalingRunningJobPercentage"), 'must be a number such as "0.5", or KEDA goes by default'
    if strategy.multiple_scalers_calculation not in {"", "max", "min", "avg", "sum"}:
        yield (*path, "multipleScalersCalculation"), "KEDA takes it for max; it knows max, min, avg and sum"
