"""One trigger of one ScaledObject or ScaledJob, with the values of `state` that hold all that changes about it."""

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
"""The listeners of a ScaledObject without streams; an empty set for each of them would take 216 bytes."""
Key = bytes
"""The ScaledObjectRef in protobuf's deterministic form: equal for equal metadata, in whatever order its keys came."""


class Question:
    """A trigger and what follows from it alone; ScaledObjects of a namespace with equal triggers share one."""

    __slots__ = ("__weakref__", "has_further_places", "places", "rule", "spares", "specs", "trigger", "wire")

    def __init__(self, trigger: Trigger) -> None:
        """Work out the places and metrics of `trigger`."""
        self.trigger = trigger
        self.specs: tuple[MetricSpec, ...] = trigger.specs()
        self.places: tuple[Place, ...] = trigger.places()
        # False for most triggers, whose metadata names all places.
        self.has_further_places = type(trigger).further_places is not Trigger.further_places
        self.spares = trigger.spares_busy
        self.rule = Rule(trigger.settle_seconds, trigger.stale_seconds, trigger.hold_seconds)
        self.wire: list[Any] = []  # caches the protobuf message that the service makes of `specs`


class ScaledObject:
    """One trigger of a ScaledObject or ScaledJob, and its last answer. Times are monotonic seconds.

    Except for counters, all that changes are values that are replaced as a whole: `lease` (the places that the store
    keeps fresh for it), `answer` (None before the first answer and while KEDA gets an error), `error`, `settling` and
    `poll`.
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
        """Start without an answer."""
        self.key, self.namespace, self.name, self.question = key, namespace, name, question
        self.asked_at, self.calls = now, 0
        self.lease: Lease = NO_LEASE
        self.answer: Answer | None = None
        self.error: ToldError | None = None
        self.settling = Settling()
        self.poll: Poll | None = None
        self.active_since = math.nan  # when the activity changed last
        self.listeners: set[Callable[[], None]] | frozenset[Callable[[], None]] = NOBODY
        self.timer: Timer | None = None
        self.spared: Spared | None = None  # with `spareBusy`, once its pods have been looked at
        self.line: Any = None  # its line in the journal of `observe`

    @property
    def trigger(self) -> Trigger:
        """Its metadata, parsed."""
        return self.question.trigger

    @property
    def specs(self) -> tuple[MetricSpec, ...]:
        """The metrics of its trigger."""
        return self.question.specs

    @property
    def places(self) -> tuple[Place, ...]:
        """The places to read: those that its metadata names, and those that the readings of these name."""
        return (*self.question.places, *self.lease.further_places)

    @property
    def told(self) -> Assessment | None:
        """The assessment that KEDA is told; None before the first answer and while KEDA gets an error."""
        return None if self.answer is None else self.answer.told

    @property
    def active(self) -> bool:
        """Whether KEDA is told active; False also while KEDA gets an error."""
        return self.answer is not None and self.answer.told.active

    def metric_index(self, name: str) -> int:
        """Return the index of the metric `name`, compared without case; raises `UnknownMetricError`."""
        folded = name.lower()
        for index, spec in enumerate(self.specs):
            if spec.name == folded:
                return index
        known = ", ".join(spec.name for spec in self.specs)
        raise UnknownMetricError(f"metric {name[:100]!r} is not one of this trigger; known: {known}")
