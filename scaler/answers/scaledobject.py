"""One trigger of one ScaledObject or ScaledJob: what was read for it, what it was told, and how it settles."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scaler.answers.history import History
from scaler.core.domain import Assessment, MetricSpec, Place, Reading
from scaler.core.errors import UnknownMetricError
from scaler.sources.base import Trigger

if TYPE_CHECKING:
    from scaler.core.clock import Timer
    from scaler.core.errors import ScalerError
    from scaler.store.place_state import Entry

NOBODY: frozenset[Any] = frozenset()
"""Of most ScaledObjects; a set of its own for each would take 216 bytes."""
Key = bytes
"""The ScaledObjectRef in protobuf's deterministic form: equal for equal metadata, in whatever order it came."""


class Question:
    """A trigger and what follows from it alone: one for all ScaledObjects of a namespace that ask the same."""

    __slots__ = ("__weakref__", "finds", "places", "prepared_specs", "specs", "trigger")

    def __init__(self, trigger: Trigger) -> None:
        """Work out what `trigger` reads and tells."""
        self.trigger = trigger
        self.specs: tuple[MetricSpec, ...] = trigger.specs()
        self.places: tuple[Place, ...] = trigger.places()
        self.finds = type(trigger).found is not Trigger.found  # most triggers name all their places in metadata
        self.prepared_specs: object = None  # the message that the service made of `specs`


class ScaledObject:
    """Who asks, and what it was told last. Times are monotonic seconds."""

    __slots__ = (
        "active_at",
        "active_since",
        "answered",
        "answered_at",
        "asked_at",
        "assessment",
        "calls",
        "calm_until",
        "error",
        "error_at",
        "finds",
        "found",
        "held",
        "history",
        "inactive_seen",
        "key",
        "known",
        "listeners",
        "name",
        "namespace",
        "places",
        "prepared",
        "question",
        "raw",
        "readings",
        "renew_at",
        "specs",
        "stands_until",
        "timer",
        "trigger",
    )

    def __init__(self, key: Key, namespace: str, name: str, question: Question, now: float) -> None:
        """Know nothing of what to tell yet."""
        self.key = key
        self.namespace, self.name = namespace, name
        self.question, self.trigger = question, question.trigger
        self.specs, self.places, self.finds = question.specs, question.places, question.finds
        self.found: tuple[Place, ...] = ()  # the further places that are leased, as the newest readings name them
        self.held: tuple[Entry, ...] = ()  # what the store holds of `places` and `found`, which are leased
        self.readings: Sequence[Reading] = ()  # of `places` and `found`, as they were judged last
        self.raw: Assessment | None = None  # by the readings alone
        self.assessment: Assessment | None = None  # as told: active through a settling time
        self.prepared: object = None  # the messages that the service made of `assessment`
        self.stands_until = -math.inf  # until then `assessment` is right, unless a reading has changed
        self.calm_until = -math.inf  # Unix time until which an equal reading makes no difference to `assessment`
        self.asked_at = now
        self.answered: Assessment | None = None  # what GetMetrics was told last
        self.answered_at = -math.inf
        self.renew_at = -math.inf
        self.calls = 0
        self.error: ScalerError | None = None
        self.error_at = -math.inf
        self.known = False  # whether what a stream was told stands on readings that are young enough
        self.active_at = -math.inf  # when the newest readings that said active were taken
        self.active_since = math.nan
        self.inactive_seen = math.nan  # when inactive was first read after a fault
        self.listeners: set[Callable[[], None]] | frozenset[Callable[[], None]] = NOBODY
        self.timer: Timer | None = None
        self.history = History()

    @property
    def active(self) -> bool:
        """Whether the last assessment says active; False also when there is none."""
        return self.assessment is not None and self.assessment.active

    def rest(self) -> None:
        """Hold on to nothing of the store but the age of its reading: the leases have ended."""
        oldest = min((reading.at for reading in self.readings), default=None)
        self.held, self.raw = (), None
        self.readings = () if oldest is None else (Reading(None, oldest),)
        self.stands_until = self.calm_until = self.renew_at = -math.inf

    def metric_index(self, name: str) -> int:
        """Return which of its metrics has `name`, compared without case; raises `UnknownMetricError`."""
        folded = name.lower()
        for index, spec in enumerate(self.specs):
            if spec.name == folded:
                return index
        known = ", ".join(spec.name for spec in self.specs)
        raise UnknownMetricError(f"metric {name[:100]!r} is not one of this trigger; known: {known}")

    def has_newest(self) -> bool:
        """Tell whether `assessment` stands on the newest readings of all places."""
        for entry, reading in zip(self.held, self.readings, strict=True):  # noqa: SIM110 - for one place, `all` costs twice as much
            if entry.reading is not reading:
                return False
        return True

    def settle(self, raw: Assessment, readings: Sequence[Reading], now: float) -> Assessment:
        """Return what to tell: `raw`, or its active twin while inactive was not seen long enough after a fault.

        KEDA's cooldown runs on through an outage, so the first inactive answer after it scales to zero at once. A
        fault is one of any place, also one during which the reading before it was still served, and every error that
        was told. For `settleSeconds` after it even active proves little: what came back may not be whole.
        """
        if not raw.active and not self.active:
            return raw
        taken = now
        for place, reading in zip((*self.places, *self.found), readings, strict=True):
            # What is read seldom is as good as new until it is read again.
            taken = min(taken, reading.at + place.min_refresh_seconds)
        if raw.active:
            self.active_at, self.inactive_seen = taken, math.nan
            return raw
        fault_at = max([self.error_at, *(reading.trouble_at for reading in readings)])
        settle_seconds = self.trigger.settle_seconds
        if self.active_at - fault_at >= settle_seconds:
            return raw
        if not self.inactive_seen >= fault_at:
            self.inactive_seen = taken
        seen = taken - self.inactive_seen
        if seen >= settle_seconds:
            self.inactive_seen = math.nan
            return raw
        reason = f"active: inactive since a fault, but only seen for {seen:.0f} s of settleSeconds {settle_seconds:g}"
        return replace(raw, active=True, reasons=(reason, *raw.reasons))
