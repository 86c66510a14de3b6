"""One trigger of one ScaledObject or ScaledJob: who asks, and the values in which all that changes about it is kept."""

import math
from typing import TYPE_CHECKING, Any

from scaler.answers.settling import Rule, Settling
from scaler.answers.state import NO_LEASE, Answer, Lease, Poll, ToldError
from scaler.core.domain import Assessment, MetricSpec, Place
from scaler.core.errors import UnknownMetricError
from scaler.sources.base import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from scaler.answers.pod_costs import Spared
    from scaler.core.clock import Timer

NOBODY: frozenset[Any] = frozenset()
"""Of most ScaledObjects; a set of its own for each would take 216 bytes."""
Key = bytes
"""The ScaledObjectRef in protobuf's deterministic form: equal for equal metadata, in whatever order it came."""


class Question:
    """A trigger and what follows from it alone: one for all ScaledObjects of a namespace that ask the same."""

    __slots__ = ("__weakref__", "has_further_places", "places", "rule", "spares", "specs", "trigger", "wire")

    def __init__(self, trigger: Trigger) -> None:
        """Work out what `trigger` reads and tells."""
        self.trigger = trigger
        self.specs: tuple[MetricSpec, ...] = trigger.specs()
        self.places: tuple[Place, ...] = trigger.places()
        self.has_further_places = (
            type(trigger).further_places is not Trigger.further_places
        )  # most triggers name all their places in metadata
        self.spares = trigger.spares_busy
        self.rule = Rule(trigger.settle_seconds, trigger.stale_seconds, trigger.hold_seconds)
        self.wire: list[Any] = []  # the message that the service makes of `specs`


class ScaledObject:
    """Who asks, and what it was told last. Times are monotonic seconds.

    Apart from counters, what changes are values that are replaced whole: `lease` (what it holds of the store), `answer`
    (what it is told; None while that is an error, or nothing was asked yet), `error`, `settling` and `poll`.
    """

    __slots__ = (
        "active_since",
        "answer",
        "asked_at",
        "calls",
        "error",
        "key",
        "lease",
        "line",
        "listeners",
        "name",
        "namespace",
        "poll",
        "question",
        "settling",
        "spared",
        "timer",
    )

    def __init__(self, key: Key, namespace: str, name: str, question: Question, now: float) -> None:
        """Know nothing of what to tell yet."""
        self.key, self.namespace, self.name, self.question = key, namespace, name, question
        self.asked_at, self.calls = now, 0
        self.lease: Lease = NO_LEASE
        self.answer: Answer | None = None
        self.error: ToldError | None = None
        self.settling = Settling()
        self.poll: Poll | None = None
        self.active_since = math.nan  # since when it is active or inactive
        self.listeners: set[Callable[[], None]] | frozenset[Callable[[], None]] = NOBODY
        self.timer: Timer | None = None
        self.spared: Spared | None = None  # with `spareBusy`, once its pods were looked at
        self.line: Any = None  # of the journal

    @property
    def trigger(self) -> Trigger:
        """What it asks."""
        return self.question.trigger

    @property
    def specs(self) -> tuple[MetricSpec, ...]:
        """The metrics of its trigger."""
        return self.question.specs

    @property
    def places(self) -> tuple[Place, ...]:
        """What must be read for it: what its metadata names, and what the readings there name."""
        return (*self.question.places, *self.lease.further_places)

    @property
    def told(self) -> Assessment | None:
        """What it is told now; None while that is an error, or nothing was asked yet."""
        return None if self.answer is None else self.answer.told

    @property
    def active(self) -> bool:
        """Whether it is told active; False also while it is told an error."""
        return self.answer is not None and self.answer.told.active

    def metric_index(self, name: str) -> int:
        """Return which of its metrics has `name`, compared without case; raises `UnknownMetricError`."""
        folded = name.lower()
        for index, spec in enumerate(self.specs):
            if spec.name == folded:
                return index
        known = ", ".join(spec.name for spec in self.specs)
        raise UnknownMetricError(f"metric {name[:100]!r} is not one of this trigger; known: {known}")
