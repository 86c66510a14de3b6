"""The command `explain`: what KEDA is told about each trigger now, what the HPA makes of it, and what blocks."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scaler.commands import traps
from scaler.commands.manifests import is_ours, resolved
from scaler.keda.arithmetic import Metric, Pods, Tolerances, written_out
from scaler.keda.authentications import Authentication
from scaler.keda.behavior import Behavior
from scaler.keda.findings import Manifests
from scaler.keda.hpa import ControllerFlags, Hpa, HpaSpec
from scaler.keda.scalable import ScaledJob, ScaledObject, Trigger
from scaler.sources.triggers import check

Ask = Callable[[str, str, Mapping[str, str]], Awaitable[dict[str, Any]]]
"""Explains one trigger, given namespace, name and metadata as KEDA sends them: a running server, or this process."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How a trigger is asked about, and what is known around it."""

    ask: Ask
    env: Mapping[str, str]
    authentications: tuple[Authentication, ...]


async def explain(manifests: Manifests, ask: Ask, env: Mapping[str, str], replicas: int | None) -> list[dict[str, Any]]:
    """Return an explanation of each owner in `manifests` that has a trigger of ours; docs/explain.md describes its keys.

    `env` stands in for the environment of the workload's container, `replicas` for what it has now (by default its
    minimum, and at least one where something is active).
    """
    return [
        await _explain_owner(owner, Asking(ask, env, manifests.authentications), replicas)
        for owner in manifests.objects
        if any(map(is_ours, owner.triggers))
    ]


async def _explain_owner(owner: ScaledObject | ScaledJob, asking: Asking, replicas: int | None) -> dict[str, Any]:
    triggers = [
        await _explain_trigger(owner, index, trigger, asking)
        for index, trigger in enumerate(owner.triggers)
        if is_ours(trigger)
    ]
    others = sum(not is_ours(trigger) for trigger in owner.triggers)
    return {
        "kind": owner.kind,
        "namespace": owner.namespace,
        "name": owner.name,
        "file": owner.file,
        "line": owner.line,
        "triggers": triggers,
        "otherTriggers": others,
        "scaling": _scaling(owner, triggers, others, replicas),
        "warnings": [{"line": trap.line, "key": trap.key, "text": trap.text} for trap in traps.of_owner(owner)],
    }


async def _explain_trigger(
    owner: ScaledObject | ScaledJob, index: int, trigger: Trigger, asking: Asking
) -> dict[str, Any]:
    sent, missing = resolved(trigger, asking.env)
    parsed, _ = check(sent, owner.namespace)
    answer = await asking.ask(owner.namespace, owner.name, sent)
    warnings = [] if parsed is None else list(traps.of_trigger(owner, trigger, parsed))
    warnings += traps.of_authentication(owner, trigger, asking.authentications)
    warnings += [
        traps.Trap(
            trigger.line,
            "FromEnv",
            f"{name} is not set here; KEDA would take it from the workload's container, so give it with --env {name}=…",
        )
        for name in missing
    ]
    return {
        **answer,
        "index": index,
        "type": trigger.type,
        "line": trigger.line,
        "metricType": trigger.target_type,
        "warnings": [{"line": trap.line, "key": trap.key, "text": trap.text} for trap in warnings],
    }


def _scaling(
    owner: ScaledObject | ScaledJob, triggers: list[dict[str, Any]], others: int, given: int | None
) -> dict[str, Any]:
    """Return what KEDA and the HPA make of the answers, as lines, and the replicas that they would choose now."""
    failed = [trigger for trigger in triggers if trigger.get("error")]
    active = any(trigger.get("active") for trigger in triggers)
    bounds = f"between {owner.min_replica_count} and {owner.max_replica_count}"
    if isinstance(owner, ScaledJob):
        return {
            "replicas": None,
            "desired": None,
            "lines": [f"a ScaledJob: jobs are started {bounds}, by its scalingStrategy"],
        }
    replicas = given if given is not None else max(owner.min_replica_count, 1 if active else 0)
    if owner.paused:
        held = replicas if owner.paused_replicas is None else owner.paused_replicas
        return {"replicas": replicas, "desired": held, "lines": [f"paused by annotation: KEDA holds {held} replicas"]}
    lines = [f"{len(failed)} of {len(triggers)} triggers fail"] if failed else []
    if failed and not active:
        lines.append(f"KEDA keeps the {replicas} replicas that there are while a trigger fails{_fallback(owner)}")
        return {"replicas": replicas, "desired": replicas, "lines": lines}
    if not active and not others and owner.min_replica_count == 0:
        lines.append(
            f"inactive: KEDA scales to {owner.idle_replica_count or 0} once nothing was active for cooldownPeriod {owner.cooldown_period} s"
        )
        return {"replicas": replicas, "desired": 0, "lines": lines}
    return _hpa(owner, triggers, replicas, lines)


def _fallback(owner: ScaledObject) -> str:
    if owner.fallback is None:
        return "; there is no fallback"
    return (
        f", and goes to fallback.replicas {owner.fallback.replicas} after more than "
        f"{owner.fallback.failure_threshold} failures in a row"
    )


def _hpa(owner: ScaledObject, triggers: list[dict[str, Any]], replicas: int, lines: list[str]) -> dict[str, Any]:
    if replicas == 0:
        lines.append(f"active: KEDA scales from 0 to {max(1, owner.min_replica_count)} at once")
        replicas = max(1, owner.min_replica_count)
    flags, pods = ControllerFlags(downscale_stabilization_seconds=0), Pods(replicas, replicas, replicas)
    metrics = [
        Metric(trigger["metricType"], metric["target"], metric["value"], f"s{trigger['index']}-{metric['name']}")
        for trigger in triggers
        for metric in trigger.get("metrics", ())
    ]
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
    return {"replicas": replicas, "desired": decision.desired, "lines": lines}


def _unhurried(spec: HpaSpec) -> HpaSpec:
    """Return `spec` without stabilisation windows: what was asked for before is not known here."""
    if spec.behavior is None:
        return spec
    return replace(
        spec,
        behavior=Behavior(
            replace(spec.behavior.scale_up, stabilization_window_seconds=0),
            replace(spec.behavior.scale_down, stabilization_window_seconds=0),
        ),
    )
