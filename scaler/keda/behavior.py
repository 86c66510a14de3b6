"""The HPA's `behavior`: its rate limits and stabilization windows, and the scale events that the limits count."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from scaler.keda.quantity import parse_quantity

CAMEL_CASE = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)
"""Parses a Kubernetes object into a dataclass: camelCase keys, no unknown keys, strict types."""


def _quantity(value: object) -> object:
    """Accept a quantity as the API server does: a string or a whole number, never a decimal (int-or-string)."""
    if isinstance(value, str):
        return parse_quantity(value)
    if isinstance(value, float):
        raise ValueError(f'must be in quotes, "{value}"')  # noqa: TRY004 - only a ValueError becomes a finding
    return value


Tolerance = Annotated[float, BeforeValidator(_quantity), Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Policy:
    """One rate limit: at most `value` pods, or per cent of the pods, in `period_seconds`."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    type: Literal["Pods", "Percent"]
    value: Annotated[int, Field(gt=0)]
    period_seconds: Annotated[int, Field(gt=0, le=1800)]


_Policies = Annotated[tuple[Policy, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """The rules for one direction; the defaults depend on the direction."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    policies: _Policies = (Policy("Percent", 100, 15),)
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"
    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    tolerance: Tolerance | None = None


@dataclass(frozen=True, slots=True)
class ScaleUp(ScalingRules):
    """The rules for scaling up, with the API server's defaults (pkg/apis/autoscaling/v2/defaults.go)."""

    policies: _Policies = (Policy("Pods", 4, 15), Policy("Percent", 100, 15))
    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] | None = 0


@dataclass(frozen=True, slots=True)
class ScaleDown(ScalingRules):
    """The rules for scaling down; without a window the controller's flag is used."""


@dataclass(frozen=True, slots=True)
class Behavior:
    """The field `behavior`; if it is set at all, both directions have rules."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    scale_up: ScaleUp = ScaleUp()
    scale_down: ScaleDown = ScaleDown()


class ScaleEvents:
    """The recent scale events of an HPA, which the rate limits count (horizontal.go, storeScaleEvent)."""

    __slots__ = ("_added", "_removed")

    def __init__(self) -> None:
        self._added: list[tuple[float, int]] = []
        self._removed: list[tuple[float, int]] = []

    def record(self, now: float, before: int, after: int, behavior: Behavior) -> None:
        """Remember an event from `before` to `after` replicas."""
        if after > before:
            _store(self._added, now, after - before, behavior.scale_up)
        else:
            _store(self._removed, now, before - after, behavior.scale_down)

    def up_limit(self, now: float, replicas: int, rules: ScalingRules) -> int:
        """Return the maximum replicas that the policies allow; percentages are rounded up.

        Source: horizontal.go, calculateScaleUpLimitWithScalingRules. Events of both directions count, and the limit may
        be below `replicas` if more were added than the policies allow.
        """
        if rules.select_policy == "Disabled":
            return replicas
        limits = (
            start + policy.value if policy.type == "Pods" else math.ceil(start * (1 + policy.value / 100))
            for policy, start in self._starts(now, replicas, rules.policies)
        )
        return min(limits) if rules.select_policy == "Min" else max(limits)

    def down_limit(self, now: float, replicas: int, rules: ScalingRules) -> int:
        """Return the minimum replicas that the policies allow; percentages are rounded down.

        Source: horizontal.go, calculateScaleDownLimitWithBehaviors.
        """
        if rules.select_policy == "Disabled":
            return replicas
        limits = (
            start - policy.value if policy.type == "Pods" else int(start * (1 - policy.value / 100))
            for policy, start in self._starts(now, replicas, rules.policies)
        )
        return max(limits) if rules.select_policy == "Min" else min(limits)

    def _starts(self, now: float, replicas: int, policies: Iterable[Policy]) -> Iterable[tuple[Policy, int]]:
        """Yield each policy with the number of replicas at the beginning of its period."""
        for policy in policies:
            since = now - policy.period_seconds
            added = sum(change for at, change in self._added if at > since)
            removed = sum(change for at, change in self._removed if at > since)
            yield policy, replicas - added + removed


def _store(events: list[tuple[float, int]], now: float, change: int, rules: ScalingRules) -> None:
    """Store an event in place of the last one that is outdated for all policies of its own direction, if there is any.

    So does the controller. Policies of the other direction may look further back, and for them the replaced event stops
    counting too early.
    """
    outdated = now - max(policy.period_seconds for policy in rules.policies)
    for slot in range(len(events) - 1, -1, -1):
        if events[slot][0] < outdated:
            events[slot] = (now, change)
            return
    events.append((now, change))
