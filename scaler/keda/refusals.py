"""Checks for what KEDA refuses in ScaledObjects and ScaledJobs although the API server accepts it."""

from collections.abc import Iterator, Mapping
from typing import Any

from scaler.keda.formula import mistakes
from scaler.keda.jobs import running_share
from scaler.keda.scalable import ScaledJob, ScaledObject, ScaleTargetRef, ScalingModifiers
from scaler.keda.yaml_nodes import Path

LONGEST_NAME = 63
"""KEDA writes the name into a label, too, which has no more characters."""


def refusals(manifest: ScaledObject | ScaledJob, given: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield what KEDA's admission webhook or reconciler refuses although the API server accepts it.

    `given` is its spec as written. Sources: KEDA apis/keda/v1alpha1, CheckReplicaCountBoundsAreValid,
    ValidateTriggers and ValidateAndCompileScalingModifiers; pkg/scalers/scaler.go, GetMetricTargetType;
    controllers/keda/scaledjob_controller.go.
    """
    if len(manifest.name) > LONGEST_NAME:
        yield ("metadata", "name"), f"KEDA makes a label of it, so it may have {LONGEST_NAME} characters at most"
    least, most = manifest.min_replica_count, manifest.max_replica_count
    if least > most:
        yield ("spec", "minReplicaCount"), f"{least} is above maxReplicaCount {most}"
    if isinstance(manifest, ScaledObject):
        idle = manifest.idle_replica_count
        if idle is not None and idle >= (max(least, 1) if "minReplicaCount" in given else least):
            yield ("spec", "idleReplicaCount"), f"must be below minReplicaCount {least}"
        yield from _target(manifest.scale_target_ref)
        yield from _modifiers(manifest)
    elif manifest.scaling_strategy.strategy == "custom":
        strategy, path = given["scalingStrategy"], ("spec", "scalingStrategy")
        if running_share(manifest.scaling_strategy) is None:
            key = "customScalingRunningJobPercentage"
            yield (*path, key), 'must be a number such as "0.5", or KEDA goes by default'
        elif "customScalingQueueLengthDeduction" not in strategy:
            yield (
                (*path, "strategy"),
                "custom needs customScalingQueueLengthDeduction, if only 0: KEDA fails without it",
            )
    yield from _triggers(manifest)


_SCALED = {
    "apps/v1": ("Deployment", "StatefulSet", "ReplicaSet"),
    "v1": ("ReplicationController",),
    "batch/v1": (),
}
"""The kinds of Kubernetes itself that have the subresource `scale`, by their apiVersion."""


def _target(target: ScaleTargetRef) -> Iterator[tuple[Path, str]]:
    """Yield a kind that there is not in its apiVersion, or that has no replicas (KEDA gvkr_types.go, ParseGVKR)."""
    kinds = _SCALED.get(target.api_version)
    if kinds is None or target.kind in kinds:
        return
    home = next((version for version, theirs in _SCALED.items() if target.kind in theirs), None)
    meant = next((kind for kind in kinds if kind.casefold() == target.kind.casefold()), None)
    if home is not None:
        hint = f"; it is of apiVersion {home}"
    elif meant is not None:
        hint = f"; did you mean {meant}?"
    elif target.kind in {"Job", "CronJob"}:
        hint = "; write a ScaledJob"
    elif target.kind == "DaemonSet":
        hint = ""
    else:
        hint = "; give its apiVersion"
    yield ("spec", "scaleTargetRef", "kind"), f"{target.api_version} has no {target.kind} that can be scaled{hint}"


def _triggers(manifest: ScaledObject | ScaledJob) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with the triggers, apart from their metadata."""
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


def _modifiers(scaled_object: ScaledObject) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with a formula and its target."""
    modifiers, path = scaled_object.advanced.scaling_modifiers, ("spec", "advanced", "scalingModifiers")
    fallback = scaled_object.fallback
    if fallback is not None and fallback.behavior == "scalingModifiers" and not (modifiers and modifiers.formula):
        yield ("spec", "fallback", "behavior"), "scalingModifiers needs spec.advanced.scalingModifiers.formula"
    if modifiers is None or modifiers == ScalingModifiers():
        return
    if not modifiers.formula:
        yield (*path, "formula"), "is required in scalingModifiers"
    elif modifiers.target_value <= 0:
        yield (*path, "target"), "must be above 0"
    names = {trigger.name for trigger in scaled_object.triggers if trigger.type not in {"cpu", "memory"}}
    if modifiers.formula:
        yield from (((*path, "formula"), mistake) for mistake in mistakes(modifiers.formula, names))
