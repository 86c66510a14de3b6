"""Warnings about settings of ScaledObjects with this scaler that are allowed but probably not meant."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from scaler.keda.authentications import Authentication
from scaler.keda.rivals import AUTOSCALER, Rival
from scaler.keda.scalable import ScaledJob, ScaledObject, Trigger
from scaler.sources.base import Trigger as ParsedTrigger


@dataclass(frozen=True, slots=True)
class Trap:
    """A warning about `key` in the manifest, at `line`."""

    line: int
    key: str
    text: str


def of_trigger(owner: ScaledObject | ScaledJob, trigger: Trigger, parsed: ParsedTrigger) -> Iterator[Trap]:
    """Yield the traps of one trigger of `owner`; `parsed` is its metadata."""
    specs = parsed.specs()
    if trigger.target_type != parsed.metric_type:
        yield Trap(
            trigger.key_lines.get("metricType", trigger.line),
            "metricType",
            f"the trigger's metricType is {trigger.target_type}, but its metadata says {parsed.metric_type}: "
            "ratios and ages would be reported in the wrong form; make both the same",
        )
    if trigger.use_cached_metrics and isinstance(owner, ScaledJob):
        yield Trap(trigger.line, "useCachedMetrics", "KEDA passes over it in a ScaledJob; leave it out")
    elif trigger.type == "external-push" and trigger.use_cached_metrics:
        yield Trap(
            trigger.line,
            "useCachedMetrics",
            "with external-push the HPA keeps seeing the value of the last poll, up to pollingInterval old",
        )
    if trigger.type == "external-push" and isinstance(owner, ScaledJob):
        yield Trap(trigger.line, "type", "KEDA does not act on pushes for a ScaledJob; use type external")
    if len(specs) > 1 and isinstance(owner, ScaledJob):
        text = f"a ScaledJob uses only the first of these metrics: {_names(parsed)}; {parsed.one_metric_each}"
        yield Trap(trigger.line, "metadata", text)
    if len(specs) > 1 and isinstance(owner, ScaledObject) and owner.advanced.scaling_modifiers is not None:
        yield Trap(
            trigger.line,
            "metadata",
            f"scalingModifiers work with one metric for each trigger, but this one has {_names(parsed)}; "
            f"{parsed.one_metric_each}",
        )
    if isinstance(owner, ScaledJob):
        yield from _of_counts(owner, trigger, parsed)
    elif (
        owner.sleeps
        and not parsed.wakes
        and all(each.metadata.get("source") == parsed.source for each in owner.triggers)
    ):
        yield Trap(
            trigger.line,
            "minReplicaCount",
            "without a pod there is no page of metrics, so nothing wakes the workload from zero again; write "
            "minReplicaCount: 1, unless this is another workload than the one that is measured",
        )
    target_name = owner.scale_target_ref.name if isinstance(owner, ScaledObject) else ""
    for text in parsed.cautions(_scaled_kind(owner), owner.max_replica_count, target_name):
        yield Trap(trigger.line, "source", text)


def _of_counts(owner: ScaledJob, trigger: Trigger, parsed: ParsedTrigger) -> Iterator[Trap]:
    if parsed.refresh_seconds > 0:
        yield Trap(
            trigger.key_lines.get("refreshSeconds", trigger.line),
            "refreshSeconds",
            "an old or held count starts Jobs for work that others have taken; "
            'in a ScaledJob write refreshSeconds: "0", so that every poll reads anew',
        )
    for text in parsed.job_cautions(owner.scaling_strategy.strategy):
        yield Trap(trigger.line, "scalingStrategy", text)


PORTS = {"9091": "the status page", "9092": "health checks without TLS"}
"""By default; gRPC has 9090."""
DEFAULT_COOLDOWN_SECONDS = 300
_TRUE = {"1", "t", "T", "true", "True", "TRUE"}  # as Go's ParseBool
_TRUTHS = _TRUE | {"0", "f", "F", "false", "False", "FALSE"}


def of_connection(trigger: Trigger) -> Iterator[Trap]:
    """Yield the traps of how KEDA is to reach the scaler (KEDA pkg/scalers/external_scaler.go)."""
    metadata = trigger.metadata
    port = metadata.get("scalerAddress", "").rpartition(":")[2]
    if port in PORTS:
        line = trigger.key_lines.get("scalerAddress", trigger.line)
        yield Trap(line, "scalerAddress", f"port {port} is by default that of {PORTS[port]}; gRPC has 9090")
    for key in ("caCert", "tlsClientCert", "tlsClientKey"):
        if metadata.get(key):
            text = "KEDA takes it from a TriggerAuthentication alone; name one with authenticationRef, and leave it out here"
            yield Trap(trigger.key_lines.get(key, trigger.line), key, text)
    for key in ("enableTLS", "unsafeSsl"):
        if metadata.get(key, "true") not in _TRUTHS:
            yield Trap(trigger.key_lines.get(key, trigger.line), key, 'KEDA refuses it; write "true" or "false"')
    bare = trigger.authentication_ref is None
    tls, unsafe = (metadata.get(key) in _TRUE for key in ("enableTLS", "unsafeSsl"))
    if tls and bare and not unsafe and metadata.get("source") == "sidekiq":
        line = trigger.key_lines.get("enableTLS", trigger.line)
        text = "it is about the way from KEDA to the scaler; TLS on the way to Redis is rediss:// in redisURL"
        yield Trap(line, "enableTLS", text)
    if unsafe and bare and not tls:
        line = trigger.key_lines.get("unsafeSsl", trigger.line)
        yield Trap(
            line, "unsafeSsl", 'it is about the way from KEDA to the scaler, and does nothing without enableTLS: "true"'
        )


def of_authentication(
    owner: ScaledObject | ScaledJob, trigger: Trigger, known: Iterable[Authentication]
) -> Iterator[Trap]:
    """Yield a trap if the `authenticationRef` of a trigger of ours has no effect; `known` may not have it."""
    ref = trigger.authentication_ref
    if ref is None:
        return
    where = "" if ref.kind == "ClusterTriggerAuthentication" else owner.namespace
    found = [each for each in known if (each.kind, each.namespace, each.name) == (ref.kind, where, ref.name)]
    if found and found[0].serves_tls:
        half = found[0].half_a_certificate
        if half:
            text = f"{ref.kind} {ref.name} has {half} alone: KEDA takes tlsClientCert and tlsClientKey together or not at all"
            yield Trap(trigger.line, "authenticationRef", text)
        return
    if found:
        names = [f"podIdentity {found[0].provider}"] if found[0].provider else []
        names += [parameter.name for parameter in found[0].parameters]
        text = f"{ref.kind} {ref.name} has {', '.join(names[:8]) or 'no parameter'}, but "
    elif trigger.metadata.get("enableTLS") == "true" or "queue-scaler" in ref.name:  # the name in the chart
        return
    else:
        text = f"{ref.kind} {ref.name}: "
    yield Trap(
        trigger.line,
        "authenticationRef",
        f"{text}KEDA hands an external scaler only caCert, tlsClientCert and tlsClientKey, and this scaler reads with its "
        "own credentials; remove authenticationRef unless it is for TLS",
    )


def _scaled_kind(owner: ScaledObject | ScaledJob) -> str:
    """Return the kind of the workload; "" if the HPA may not scale it and only recommends."""
    if not isinstance(owner, ScaledObject):
        return "Job"
    behavior = owner.advanced.horizontal_pod_autoscaler_config.behavior
    if behavior is not None and behavior.scale_up.select_policy == behavior.scale_down.select_policy == "Disabled":
        return ""
    return owner.scale_target_ref.kind


def of_owner(owner: ScaledObject | ScaledJob) -> Iterator[Trap]:
    """Yield the traps of a whole ScaledObject or ScaledJob."""
    if isinstance(owner, ScaledJob):
        if owner.deletes_running_jobs:
            yield Trap(
                owner.line,
                "rollout",
                "every edit of its spec deletes the Jobs that run; write rollout: {strategy: gradual} to let them end",
            )
        return
    yield from _of_fallback(owner)
    if owner.idle_replica_count:
        yield Trap(
            owner.line,
            "idleReplicaCount",
            f"only 0 works: the HPA undoes {owner.idle_replica_count} at its next sync, since its minimum is "
            f"minReplicaCount {owner.min_replica_count}, so the replicas flap; use 0, or leave it out",
        )
    if owner.sleeps and owner.advanced.scaling_modifiers is not None and owner.advanced.scaling_modifiers.formula:
        pushes = any(trigger.type == "external-push" for trigger in owner.triggers)
        yield Trap(
            owner.line,
            "scalingModifiers",
            "KEDA ignores this scaler's active and inactive here: active is formula > activationTarget, "
            "so work in progress does not keep the workload alive; with minReplicaCount 1 or more it need not"
            + ("; and a push wakes it even below activationTarget, which type external would not" if pushes else ""),
        )
    if not owner.sleeps and owner.cooldown_period != DEFAULT_COOLDOWN_SECONDS:
        yield Trap(
            owner.line,
            "cooldownPeriod",
            f"KEDA waits so long only before zero, and minReplicaCount is {owner.min_replica_count}; leave it out: how "
            "long the HPA waits is spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.stabilizationWindowSeconds",
        )
    if owner.sleeps and owner.cooldown_period < 60:
        yield Trap(
            owner.line,
            "cooldownPeriod",
            f"{owner.cooldown_period} s is shorter than many jobs run and than the counts of SQS (60 s) and the "
            "heartbeats of Sidekiq (10 s) need to settle; use 60 or more, and more than your longest job",
        )


_Workload = tuple[str, str, str, str]


def _workload(owner: ScaledObject) -> _Workload:
    """Return what `owner` scales; a version of the API is no difference."""
    target = owner.scale_target_ref
    return owner.namespace, target.api_version.partition("/")[0], target.kind, target.name


def by_workload(owners: Iterable[ScaledObject | ScaledJob]) -> dict[_Workload, list[ScaledObject]]:
    """Return the ScaledObjects of each workload, for `of_rivals`."""
    found: dict[_Workload, list[ScaledObject]] = defaultdict(list)
    for owner in owners:
        if isinstance(owner, ScaledObject):
            found[_workload(owner)].append(owner)
    return found


def of_rivals(owner: ScaledObject | ScaledJob, scaled: Mapping[_Workload, Iterable[ScaledObject]]) -> Iterator[Trap]:
    """Yield a trap if another ScaledObject scales the same workload; KEDA's webhook refuses the second."""
    if not isinstance(owner, ScaledObject):
        return
    other = next((each for each in scaled[_workload(owner)] if each.name != owner.name), None)
    if other is not None:
        target = owner.scale_target_ref
        text = (
            f"ScaledObject {other.name} scales {target.kind} {target.name} as well: KEDA refuses the second; make it "
            "one ScaledObject with the triggers of both"
        )
        yield Trap(owner.line, "scaleTargetRef", text)


def by_target(rivals: Iterable[Rival]) -> dict[_Workload, list[Rival]]:
    """Return what else sets the replicas of each workload, for `of_setters`."""
    found: dict[_Workload, list[Rival]] = defaultdict(list)
    for each in rivals:
        found[each.namespace, each.group, each.workload_kind, each.workload].append(each)
    return found


def of_setters(owner: ScaledObject | ScaledJob, rivals: Mapping[_Workload, Iterable[Rival]]) -> Iterator[Trap]:
    """Yield a trap for each of `rivals` that sets the replicas of the workload of `owner`, too."""
    if not isinstance(owner, ScaledObject):
        return
    own = {f"keda-hpa-{owner.name}", owner.advanced.horizontal_pod_autoscaler_config.name}  # or handed over to KEDA
    for each in rivals.get(_workload(owner), ()):
        where = f"{each.kind} {each.name} ({each.file}:{each.line})"
        if each.kind != AUTOSCALER:
            text = f"whenever {where} is applied, its spec.replicas undo what KEDA has scaled; leave spec.replicas out there"
            yield Trap(owner.line, "scaleTargetRef", text)
        elif each.name not in own:
            text = f"{where} scales it as well: KEDA refuses that, and makes an HPA of its own; delete this one"
            yield Trap(owner.line, "scaleTargetRef", text)


def _of_fallback(owner: ScaledObject) -> Iterator[Trap]:
    fallback, modifiers = owner.fallback, owner.advanced.scaling_modifiers
    if fallback is None:
        return
    if fallback.replicas == 0 and owner.sleeps:
        text = "0 lets an outage scale the workload down to 1 or to zero; use 1 or more"
        yield Trap(owner.line, "fallback.replicas", text)
    elif owner.sleeps_on_errors(fallback.replicas) and modifiers is not None:
        text = (
            f"beside the formula {fallback.replicas} of them have the value {modifiers.target_value * fallback.replicas:g}, "
            "which is not above activationTarget, so that an outage scales the workload to zero; use more"
        )
        yield Trap(owner.line, "fallback.replicas", text)
    if owner.working_fallback is None and modifiers is not None:
        yield Trap(
            owner.line,
            "scalingModifiers.target",
            f"KEDA takes fallback for invalid beside {modifiers.target}; use a whole number, such as "
            f"{max(1, round(modifiers.target_value))}",
        )
    if fallback.behavior == "scalingModifiers" and modifiers is not None and "??" not in modifiers.formula:
        yield Trap(
            owner.line,
            "fallback.behavior",
            "a trigger that failed too often is nil in the formula, which then has no value, so that it counts as "
            "inactive and may scale to zero; write what replaces it: trigger ?? other ?? 5",
        )


def _names(parsed: ParsedTrigger) -> str:
    return ", ".join(spec.name for spec in parsed.specs())
