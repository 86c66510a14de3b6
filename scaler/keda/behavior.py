"""The HPA's `behavior`: how far and how fast it may move, and the record of moves that its rate limits count."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from scaler.keda.quantity import parse_quantity

CAMEL_CASE = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)
"""How a Kubernetes object is read into a dataclass: camelCase keys, no unknown ones, no guessing of types."""


def _quantity(value: object) -> object:
    """Take a quantity as the API server does: a string or a whole number, never a decimal (int-or-string)."""
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
    """The rules for one direction; the defaults of what is not given depend on the direction."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    policies: _Policies = (Policy("Percent", 100, 15),)
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"
    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    tolerance: Tolerance | None = None


@dataclass(frozen=True, slots=True)
class ScaleUp(ScalingRules):
    """The rules for growing, with the API server's defaults (pkg/apis/autoscaling/v2/defaults.go)."""

    policies: _Policies = (Policy("Pods", 4, 15), Policy("Percent", 100, 15))
    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] | None = 0


@dataclass(frozen=True, slots=True)
class ScaleDown(ScalingRules):
    """The rules for shrinking; without a window, the controller's flag counts."""


@dataclass(frozen=True, slots=True)
class Behavior:
    """`behavior` as given; once there is one at all, both directions have rules."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    scale_up: ScaleUp = ScaleUp()
    scale_down: ScaleDown = ScaleDown()


class ScaleEvents:
    """The moves an HPA made lately, which rate limits count (horizontal.go, storeScaleEvent)."""

    __slots__ = ("_added", "_removed")

    def __init__(self) -> None:
        """Start with no moves."""
        self._added: list[tuple[float, int]] = []
        self._removed: list[tuple[float, int]] = []

    def record(self, now: float, before: int, after: int, behavior: Behavior) -> None:
        """Remember the move from `before` to `after` replicas."""
        if after > before:
            _store(self._added, now, after - before, behavior.scale_up)
        else:
            _store(self._removed, now, before - after, behavior.scale_down)

    def up_limit(self, now: float, replicas: int, rules: ScalingRules) -> int:
        """Return how many replicas the policies allow at most; per cent are rounded up.

        Source: horizontal.go, calculateScaleUpLimitWithScalingRules. Moves of both directions count, and the limit may
        lie below `replicas` when more was added than the policies allow.
        """
        if rules.select_policy == "Disabled":
            return replicas
        limits = (
            start + policy.value if policy.type == "Pods" else math.ceil(start * (1 + policy.value / 100))
            for policy, start in self._starts(now, replicas, rules.policies)
        )
        return min(limits) if rules.select_policy == "Min" else max(limits)

    def down_limit(self, now: float, replicas: int, rules: ScalingRules) -> int:
        """Return how few replicas the policies allow at least; what remains after per cent is cut off.

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
        """Yield each policy with the replicas that there were when its period began."""
        for policy in policies:
            since = now - policy.period_seconds
            added = sum(change for at, change in self._added if at > since)
            removed = sum(change for at, change in self._removed if at > since)
            yield policy, replicas - added + removed


def _store(events: list[tuple[float, int]], now: float, change: int, rules: ScalingRules) -> None:
    """Put a move into the last slot that no policy of its own direction looks at any more, as the controller does.

    The policies of the other direction may look further back: for them the overwritten move stops counting early.
    """
    outdated = now - max(policy.period_seconds for policy in rules.policies)
    for slot in range(len(events) - 1, -1, -1):
        if events[slot][0] < outdated:
            events[slot] = (now, change)
            return
    events.append((now, change))
