"""What KEDA refuses in ScaledObjects and ScaledJobs though the API server takes it."""

from collections.abc import Iterator

from scaler.keda.scalable import ScaledJob, ScaledObject
from scaler.keda.yaml_nodes import Path


def refusals(manifest: ScaledObject | ScaledJob) -> Iterator[tuple[Path, str]]:
    """Yield what KEDA's admission webhook or reconciler refuses, though the API server takes it.

    Sources: KEDA apis/keda/v1alpha1, CheckReplicaCountBoundsAreValid and ValidateTriggers; pkg/scalers/scaler.go,
    GetMetricTargetType; controllers/keda/scaledjob_controller.go.
    """
    least, most = manifest.min_replica_count, manifest.max_replica_count
    if least > most:
        yield ("spec", "minReplicaCount"), f"{least} is above maxReplicaCount {most}"
    idle = manifest.idle_replica_count if isinstance(manifest, ScaledObject) else None
    if idle is not None and idle >= least:
        yield ("spec", "idleReplicaCount"), f"must be below minReplicaCount {least}"
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
