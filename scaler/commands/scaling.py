"""The decisions that KEDA and the HPA would make now by the answers about a ScaledObject, as lines for people."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scaler.keda.arithmetic import Metric, Pods, Tolerances, written_out
from scaler.keda.behavior import Behavior
from scaler.keda.executor import MetricResult, Missing
from scaler.keda.expression import parse
from scaler.keda.formula import FormulaError, compiled
from scaler.keda.hpa import MESSAGES, ControllerFlags, Hpa, HpaSpec
from scaler.keda.jobs import JobCounts, poll
from scaler.keda.scalable import ScaledJob, ScaledObject, ScalingModifiers

Explained = dict[str, Any]
"""A trigger as `explain` shows it; docs/explain.md describes its keys."""


def of_job(owner: ScaledJob, triggers: Sequence[Explained], others: int, running: int | None) -> dict[str, Any]:
    """Return the Jobs that a poll of KEDA starts, with `running` unfinished Jobs, none of which counts as pending."""
    lines = [f"a ScaledJob: jobs are started between {owner.min_replica_count} and {owner.max_replica_count}"]
    jobs = JobCounts(running or 0)
    started = poll(owner, [_results(trigger) for trigger in triggers], jobs)
    if owner.paused:
        lines.append("paused by annotation: KEDA does not poll, and starts none")
    elif started.reason == "TriggerError":
        lines.append("KEDA starts none while a trigger fails and no other is active")
    elif started.demand.active:
        lines.append(
            f"a poll that finds {jobs.running} of them running starts {started.jobs}, by its scalingStrategy "
            f"{owner.scaling_strategy.strategy}: queue length {started.demand.queue_length}, "
            f"{started.demand.max_scale} by the targets"
        )
    else:
        lines.append("inactive: a poll starts none")
    if others and not owner.paused:
        lines.append("triggers of other scalers are left out here")
    return {"replicas": None, "desired": None, "lines": lines}


def _results(trigger: Explained) -> list[MetricResult]:
    active = bool(trigger.get("active"))
    return [
        MetricResult(
            f"s{trigger['index']}-{metric['name']}",
            trigger["metricType"],
            metric["target"],
            Missing.FAILED if metric["value"] is None or trigger.get("error") else metric["value"],
            active,
        )
        for metric in trigger.get("metrics", ())
    ]


def of_object(owner: ScaledObject, triggers: Sequence[Explained], others: int, given: int | None) -> dict[str, Any]:
    """Return the replicas that KEDA and the HPA would choose with `given` replicas now, and why."""
    failed = [trigger for trigger in triggers if trigger.get("error")]
    modifiers = owner.advanced.scaling_modifiers
    formula = "" if modifiers is None else modifiers.formula
    active = owner.force_activation or (not formula and any(trigger.get("active") for trigger in triggers))
    replicas = given if given is not None else max(owner.min_replica_count, 1 if active else 0)
    lines = list(owner.held_by())
    if owner.paused:
        desired = replicas if owner.paused_replicas is None else owner.paused_replicas
        return {"replicas": replicas, "desired": desired, "lines": lines}
    if failed:
        lines.append(f"{len(failed)} of {len(triggers)} triggers fail")
    if failed and not active:
        return {"replicas": replicas, "desired": _while_failing(owner, replicas, lines), "lines": lines}
    metrics = _metrics(triggers)
    if modifiers is not None and formula:
        lines.append(
            f"scalingModifiers: KEDA is active by {formula} > {modifiers.activation_target or 0}, and the HPA sees only "
            f"that value, with target {modifiers.target}"
        )
        try:
            value = _worked_out(modifiers, owner, triggers)
        except FormulaError as error:
            lines.append(f"not worked out here: {error}")
            return {"replicas": replicas, "desired": None, "lines": lines}
        lines.append(f"{formula} = {value:g}")
        active = active or value > modifiers.activation_above
        metrics = [Metric(modifiers.metric_type, modifiers.target_value, value, "composite-metric")]
    asleep = owner.idle_replica_count or 0
    if not active and not others and owner.sleeps:
        if not owner.paused_scale_in:
            lines.append(
                f"inactive: KEDA scales to {asleep} once nothing was active for cooldownPeriod {owner.cooldown_period} s"
            )
            return {"replicas": replicas, "desired": asleep, "lines": lines}
        lines.append(f"inactive: but for the annotation KEDA would scale to {asleep} after cooldownPeriod")
    before, replicas = replicas, _by_keda(owner, replicas, lines, active=active)
    if replicas == 0:
        lines.append(MESSAGES["ScalingDisabled"])
        return {"replicas": before, "desired": 0, "lines": lines}
    return {"replicas": before, "desired": _by_hpa(owner, metrics, replicas, lines), "lines": lines}


def _then(owner: ScaledObject, replicas: int) -> str:
    """Return what fallback does in the end, as the end of a sentence."""
    fallback, modifiers = owner.fallback, owner.advanced.scaling_modifiers
    if fallback is None:
        return "; there is no fallback"
    if owner.working_fallback is None:
        return "; fallback does nothing beside a scalingModifiers.target that is not a whole number"
    count = f"goes to fallback.replicas {fallback.replicas}"
    possible = min(max(fallback.replicas, owner.min_replica_count, 1), owner.max_replica_count)
    if possible != fallback.replicas:
        count = f"goes to {possible}, the nearest to fallback.replicas {fallback.replicas} that the HPA may choose,"
    goes_on = {
        "static": count,
        "currentReplicas": "fallback keeps those that there are then",
        "currentReplicasIfHigher": f"{count}, unless there are more,",
        "currentReplicasIfLower": f"{count}, unless there are fewer,",
        "scalingModifiers": "works the formula out with nil for that trigger",
    }
    if modifiers is not None and owner.sleeps_on_errors(replicas):
        asleep = f"scales to {owner.idle_replica_count or 0} after cooldownPeriod {owner.cooldown_period} s"
        value = f"{modifiers.target_value * fallback.count(replicas):g}"
        goes_on[fallback.behavior] = f"{asleep}, because fallback's value {value} is not above activationTarget,"
    from_zero = "" if replicas else " (from 0 replicas since KEDA 2.19: before it polls pass fallback over)"
    return (
        f", and {goes_on[fallback.behavior]} after more than {fallback.failure_threshold} failures in a row{from_zero}"
    )


def _while_failing(owner: ScaledObject, replicas: int, lines: list[str]) -> int:
    """Return the replicas in the end while nothing is active and a trigger fails, and say why in `lines`."""
    asleep = f"{owner.idle_replica_count or 0} after cooldownPeriod {owner.cooldown_period} s"
    may_fall = owner.sleeps and not owner.paused_scale_in
    if may_fall and owner.fallback is not None and owner.fallback.replicas == 0:
        lines.append(f"fallback.replicas is 0: while a trigger fails KEDA scales to {asleep}{_then(owner, replicas)}")
    else:
        lines.append(f"KEDA keeps the {replicas} replicas that there are while a trigger fails{_then(owner, replicas)}")
        if may_fall and replicas:
            lines.append(
                "unless it misses the error: KEDA 2.20 does when the HPA asks during a slow failing poll, and then scales to "
                + asleep
            )
    return (owner.idle_replica_count or 0) if may_fall and owner.sleeps_on_errors(replicas) else replicas


def _by_keda(owner: ScaledObject, replicas: int, lines: list[str], *, active: bool) -> int:
    """Return the replicas after KEDA's own part, between 0 or idle and the minimum."""
    idle, least = owner.idle_replica_count, owner.min_replica_count
    woken = max(1, least)
    if active and (replicas == 0 or (idle is not None and replicas < least)):
        if owner.paused_scale_out:
            lines.append(f"active: but for the annotation KEDA would scale from {replicas} to {woken}")
            return replicas
        lines.append(f"active: KEDA scales from {replicas} to {woken} at once")
        return woken
    if not active and idle is None and replicas < least:
        lines.append(f"below minReplicaCount: KEDA scales from {replicas} to {least} at once")
        return least
    return replicas


def _metrics(triggers: Sequence[Explained]) -> list[Metric]:
    return [
        Metric(trigger["metricType"], metric["target"], metric["value"], f"s{trigger['index']}-{metric['name']}")
        for trigger in triggers
        for metric in trigger.get("metrics", ())
    ]


def _worked_out(modifiers: ScalingModifiers, owner: ScaledObject, triggers: Sequence[Explained]) -> float:
    """Return the value of the formula; raises `FormulaError` if it is not known, or if a trigger in it has no value."""
    if modifiers.target_value <= 0:
        raise FormulaError("KEDA refuses a formula without a target above 0")
    ours = {owner.triggers[trigger["index"]].name: trigger for trigger in triggers}
    values = {name: metric["value"] for name, trigger in ours.items() for metric in trigger.get("metrics", ())}
    function = compiled(modifiers.formula, {trigger.name for trigger in owner.triggers})
    for name in sorted(parse(modifiers.formula).names):
        if values.get(name) is None:
            why = "has no value" if name in ours else "is of another scaler"
            raise FormulaError(f"trigger {name} {why}")
    value = function(values)
    if value is None or math.isnan(value):
        raise FormulaError("it has no value with those of the triggers")
    return value


def _by_hpa(owner: ScaledObject, metrics: Sequence[Metric], replicas: int, lines: list[str]) -> int:
    flags, pods = ControllerFlags(downscale_stabilization_seconds=0), Pods(replicas, replicas, replicas)
    tolerances = Tolerances(flags.tolerance, flags.tolerance)
    for metric in metrics:
        lines += [f"{metric.name}: {step}" for step in written_out(metric, pods, tolerances)]
    spec = owner.hpa_spec()
    given = None if spec.behavior is None else spec.behavior.scale_down.stabilization_window_seconds
    window = ControllerFlags().downscale_stabilization_seconds if given is None else given
    decision = Hpa(_unhurried(spec), flags).sync(0.0, pods, metrics)
    lines += decision.steps()
    if decision.desired < replicas and window:
        lines.append(f"a scale-down waits until nothing has asked for more for {window:g} s (stabilisation window)")
    return decision.desired


def _unhurried(spec: HpaSpec) -> HpaSpec:
    """Return `spec` without stabilization windows, because earlier recommendations are not known here."""
    if spec.behavior is None:
        return spec
    return replace(
        spec,
        behavior=Behavior(
            replace(spec.behavior.scale_up, stabilization_window_seconds=0),
            replace(spec.behavior.scale_down, stabilization_window_seconds=0),
        ),
    )
