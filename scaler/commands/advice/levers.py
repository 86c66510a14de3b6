"""The settings of a ScaledObject that `advise` may change, each with its path in YAML and the values to try."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from scaler.commands.judging import SPARE_BUSY, Subject, with_metadata
from scaler.keda.behavior import Behavior, Policy
from scaler.keda.scalable import ScaledObject
from scaler.sources.base import Trigger
from scaler.sources.triggers import FROM_ENV, keys_of

Path = tuple[str | int, ...]
Value = Any  # int, text, or a list of policies as in YAML
_BEHAVIOR: Path = ("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior")
_BEHAVIORS = TypeAdapter(Behavior)
TARGETS = ("queueLength", "busyRatio", "queueLatency", "pendingObjects", "pendingRequests")
_FACTORS = (0.125, 0.25, 0.5, 0.7, 0.85, 1.2, 1.5, 2.0, 4.0, 8.0)
_LEAST_COOLDOWN = {"sqs": 120, "sidekiq": 60}
"""SQS's counts may lag by a minute, and the heartbeat of a killed Sidekiq process lasts one; not simulated."""


_LEAST_WINDOW = {"sqs": 60, "sidekiq": 60}
"""Real values vary: SQS's counts are approximate, and Sidekiq reports busy threads every 10 s. Simulated ones do
not."""


def _policies(*policies: tuple[str, int, int]) -> list[dict[str, Any]]:
    return [{"type": kind, "value": value, "periodSeconds": period} for kind, value, period in policies]


_DOWN_POLICIES = (
    _policies(("Percent", 100, 15)),
    _policies(("Percent", 50, 60)),
    _policies(("Percent", 10, 60)),
    _policies(("Pods", 1, 60)),
)
_UP_POLICIES = (
    _policies(("Pods", 4, 15), ("Percent", 100, 15)),
    _policies(("Percent", 900, 15)),
    _policies(("Percent", 100, 60)),
)


@dataclass(frozen=True, slots=True)
class Lever:
    """One setting. `values` returns those to try, given the current one; `write` sets one in a ScaledObject."""

    name: str
    path: Path  # from the root of the manifest
    now: Callable[[ScaledObject], Value]
    write: Callable[[ScaledObject, Value], ScaledObject]
    values: Callable[[ScaledObject], Iterable[Value]]


def levers(subject: Subject, threads: int, *, every_wait: bool) -> list[Lever]:
    """Return the levers of a trigger, those that usually matter most first; none for keys set by the environment.

    `threads` is the number of concurrent jobs of a replica. Without a limit for `every_wait`, activation thresholds are
    not tried, because jobs below one wait until others come, which no percentile shows.
    """
    index, trigger = subject.index, subject.trigger
    known = keys_of(type(trigger))
    found = [_target(index, key, trigger) for key in TARGETS if _has_target(subject, known, key)]
    if "countWaiting" in known:
        found.append(_count_waiting(index, threads))
    found += [_type(index), *_hpa(trigger.source), _cooldown(trigger.source), _polling()]
    if every_wait and "activationQueueLength" in known:
        found.append(_metadata(index, "activationQueueLength", "0", lambda _: ("0", "1", "5", "20")))
    if SPARE_BUSY in known and subject.scaled_object.scale_target_ref.kind not in {"StatefulSet", "Job"}:
        found.append(_metadata(index, SPARE_BUSY, "off", lambda _: ("off", "prefer", "hold")))
    env = {key.removesuffix(FROM_ENV) for key in subject.manifest.metadata if key.endswith(FROM_ENV)}
    return [lever for lever in found if lever.name not in env]


def _has_target(subject: Subject, known: Mapping[str, Any], key: str) -> bool:
    """Tell whether the trigger has a number as its target `key`: `busyRatio` may be off."""
    if key not in known:
        return False
    given = subject.manifest.metadata.get(key, known[key].default)
    try:
        return given is not None and math.isfinite(float(given))
    except (TypeError, ValueError):
        return False


def _metadata(
    index: int,
    key: str,
    default: str,
    values: Callable[[ScaledObject], Iterable[str]],
    beside: Mapping[str, str] | None = None,
) -> Lever:
    """Return the lever of a metadata key; `beside` are other keys that it needs, to be added if missing."""

    def write(spec: ScaledObject, value: str) -> ScaledObject:
        metadata = spec.triggers[index].metadata
        if metadata.get(key, default) == value:
            return spec
        more = {name: text for name, text in (beside or {}).items() if name not in metadata}
        return with_metadata(spec, index, {**metadata, key: value, **more})

    path = ("spec", "triggers", index, "metadata", key)
    return Lever(key, path, lambda spec: spec.triggers[index].metadata.get(key, default), write, values)


def _target(index: int, key: str, trigger: Trigger) -> Lever:
    default = keys_of(type(trigger))[key].default

    def values(spec: ScaledObject) -> Iterable[str]:
        now = float(spec.triggers[index].metadata.get(key, default))
        if key == "busyRatio":
            return ("0.4", "0.5", "0.6", "0.7", "0.75", "0.8", "0.85", "0.9", "0.95", "1")
        return sorted({f"{_round(now * factor):g}" for factor in _FACTORS}, key=float)

    return _metadata(index, key, f"{default:g}" if isinstance(default, int | float) else "", values)


def _round(value: float) -> float:
    """Round to two significant digits, and from 1 on to a whole number."""
    value = max(value, 1.0)
    size = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return float(round(value / size) * size)


def _count_waiting(index: int, threads: int) -> Lever:
    return _metadata(index, "countWaiting", "false", lambda _: ("true", "false"), {"concurrency": str(threads)})


def _type(index: int) -> Lever:
    def write(spec: ScaledObject, value: str) -> ScaledObject:
        triggers = list(spec.triggers)
        triggers[index] = replace(triggers[index], type=value)
        return replace(spec, triggers=tuple(triggers))

    values = ("external", "external-push")
    return Lever(
        "type", ("spec", "triggers", index, "type"), lambda spec: spec.triggers[index].type, write, lambda _: values
    )


def _polling() -> Lever:
    def write(spec: ScaledObject, value: int) -> ScaledObject:
        return replace(spec, polling_interval=value)

    path: Path = ("spec", "pollingInterval")
    return Lever("pollingInterval", path, lambda spec: spec.polling_interval, write, lambda _: (5, 10, 30, 60))


def _cooldown(source: str) -> Lever:
    values = [each for each in (30, 60, 120, 300, 600) if each >= _LEAST_COOLDOWN.get(source, 0)]

    def write(spec: ScaledObject, value: int) -> ScaledObject:
        return replace(spec, cooldown_period=value)

    path: Path = ("spec", "cooldownPeriod")
    return Lever("cooldownPeriod", path, lambda spec: spec.cooldown_period, write, lambda _: values)


def _behavior(spec: ScaledObject) -> dict[str, Any]:
    """Return the behavior as in YAML; {} without one."""
    behavior = spec.advanced.horizontal_pod_autoscaler_config.behavior
    if behavior is None:
        return {}
    return _BEHAVIORS.dump_python(behavior, by_alias=True, exclude_defaults=True)  # type: ignore[no-any-return]


def _with_behavior(spec: ScaledObject, behavior: dict[str, Any]) -> ScaledObject:
    config = replace(spec.advanced.horizontal_pod_autoscaler_config, behavior=_BEHAVIORS.validate_json(_json(behavior)))
    return replace(spec, advanced=replace(spec.advanced, horizontal_pod_autoscaler_config=config))


def _json(value: Any) -> bytes:
    return TypeAdapter(Any).dump_json(value)


def _hpa(source: str) -> list[Lever]:
    windows = [each for each in (0, 60, 120, 300, 600) if each >= _LEAST_WINDOW.get(source, 0)]
    return [
        _rule("scaleDown", "stabilizationWindowSeconds", windows),
        _rule("scaleDown", "policies", _DOWN_POLICIES),
        _rule("scaleUp", "policies", _UP_POLICIES),
        _rule("scaleUp", "stabilizationWindowSeconds", (0, 30)),
    ]


def _rule(direction: str, key: str, values: Iterable[Value]) -> Lever:
    """Return the lever of one rule of the HPA's behavior."""

    def now(spec: ScaledObject) -> Value:
        behavior = spec.advanced.horizontal_pod_autoscaler_config.behavior
        if behavior is None:
            return None
        rules = behavior.scale_down if direction == "scaleDown" else behavior.scale_up
        if key == "policies":
            return [_policy(policy) for policy in rules.policies]
        return rules.stabilization_window_seconds

    def write(spec: ScaledObject, value: Value) -> ScaledObject:
        if now(spec) == value or value is None:
            return spec
        behavior = _behavior(spec)
        return _with_behavior(spec, {**behavior, direction: {**behavior.get(direction, {}), key: value}})

    return Lever(f"{direction}.{key}", (*_BEHAVIOR, direction, key), now, write, lambda _: values)


def _policy(policy: Policy) -> dict[str, Any]:
    return {"type": policy.type, "value": policy.value, "periodSeconds": policy.period_seconds}
