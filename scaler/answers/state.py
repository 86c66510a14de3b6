"""Values that hold all that changes about a trigger: frozen, and replaced as a whole. Times are monotonic seconds."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from scaler.core.domain import Assessment, Place, Reading
from scaler.core.errors import Fault, ScalerError
from scaler.store.place_state import PlaceState

State = Literal["active", "inactive", "settling", "held"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer that KEDA gets about a trigger, and the readings behind it.

    `readings` has one reading for each place, in the order of `ScaledObject.places`. `raw` is their assessment, and
    `told` is what KEDA gets after settling. Until `valid_until` (monotonic) the answer can be used again unless the
    store has another reading; until `rejudge_at` (Unix time) readings with equal values lead to the same `raw`. A held
    answer has neither readings nor `raw`, and `fault` says why it is held. `wire` caches the protobuf messages made of
    `told`.
    """

    readings: tuple[Reading, ...]
    raw: Assessment | None
    told: Assessment
    state: State
    valid_until: float = -math.inf
    rejudge_at: float = -math.inf
    fault: Fault | None = None
    wire: list[Any] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True)
class ToldError:
    """An error that KEDA was told at `at`."""

    error: ScalerError
    at: float


@dataclass(frozen=True, slots=True)
class Poll:
    """The outcome of GetMetrics at `at`, so that the IsActive that follows it gets the same."""

    at: float
    outcome: Answer | ScalerError


@dataclass(frozen=True, slots=True)
class Lease:
    """The places of a trigger that the store keeps fresh for it, and the store's state of each.

    `further_places` are those that readings have named (a listing names queues), besides those of the metadata.
    `states` has the places of the metadata and then these, each in its order; it is empty while nothing is leased. The
    lease has to be renewed at `renew_at`.
    """

    further_places: tuple[Place, ...] = ()
    states: tuple[PlaceState, ...] = ()
    renew_at: float = -math.inf

    def has_newest(self, readings: tuple[Reading, ...]) -> bool:
        """Tell whether the store has no newer readings than `readings`."""
        if len(readings) != len(self.states):
            return False
        return all(state.reading is reading for state, reading in zip(self.states, readings, strict=True))


NO_LEASE = Lease()
