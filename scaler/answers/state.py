"""The values in which all that changes about a ScaledObject is kept: frozen, and replaced whole. Times are monotonic seconds."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from scaler.core.domain import Assessment, Place, Reading
from scaler.core.errors import Fault, ScalerError
from scaler.store.place_state import PlaceState

State = Literal["active", "inactive", "settling", "held"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a trigger is told, and what it stands on.

    `readings` are those of its places, in their order (none while it is held, or nobody has asked for long), `raw`
    follows from them alone, and `told` is what KEDA gets.
    Until `valid_until` (monotonic) it is right unless the store has another reading; until `rejudge_at` (Unix
    time) an equal reading makes no difference. `fault` is why it is held. `wire` is for the messages made of `told`.
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
    """An error that was told at `at`."""

    error: ScalerError
    at: float


@dataclass(frozen=True, slots=True)
class Poll:
    """What GetMetrics was told at `at`, for the IsActive that follows it."""

    at: float
    outcome: Answer | ScalerError


@dataclass(frozen=True, slots=True)
class Lease:
    """The places that readings named besides those of the metadata, and all of them as the store has them.

    `held` are the places of the metadata and then `found`, each in its order; it is empty when nothing is leased. At
    `renew_at` the store is to be asked again.
    """

    found: tuple[Place, ...] = ()
    held: tuple[PlaceState, ...] = ()
    renew_at: float = -math.inf

    def has_newest(self, readings: tuple[Reading, ...]) -> bool:
        """Tell whether `readings` are the newest that the store has."""
        if len(readings) != len(self.held):
            return False
        return all(state.reading is reading for state, reading in zip(self.held, readings, strict=True))


NO_LEASE = Lease()
