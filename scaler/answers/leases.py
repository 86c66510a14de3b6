"""What ScaledObjects hold of the store: leases on the places that they stand on, and the readings there."""

import math
from collections.abc import Sequence

from scaler.answers.scaledobject import ScaledObject
from scaler.core.clock import Clock
from scaler.core.domain import Place, Reading
from scaler.store.place_state import Entry
from scaler.store.snapshots import Snapshots

SLACK = 0.1
"""Share of a lease after which it is renewed, and by which it lasts longer, so that none runs out under a poll."""


class Leases:
    """Asks the store to keep places fresh for those who ask: fast while one listens and sleeps."""

    def __init__(self, snapshots: Snapshots, clock: Clock, seconds: float) -> None:
        """Keep a place fresh for `seconds` after it was asked for."""
        self._snapshots, self._clock, self._seconds = snapshots, clock, seconds

    @property
    def lasting_seconds(self) -> float:
        """How long a lease lasts after the last call of who holds it, at most."""
        return (1 + SLACK) * self._seconds

    def keep(self, asker: ScaledObject) -> None:
        """Renew the leases of `asker` when it is time; raises `LimitError`."""
        if self._clock.now() >= asker.renew_at:
            self.renew(asker)

    def renew(self, asker: ScaledObject) -> None:
        """Lease all places of `asker` as it is now: whether it listens, and whether it sleeps; raises `LimitError`."""
        asker.held = tuple([self._lease(asker, place) for place in (*asker.places, *asker.found)])
        asker.renew_at = math.inf if asker.listeners else self._clock.now() + SLACK * self._seconds

    def _lease(self, asker: ScaledObject, place: Place) -> Entry:
        trigger = asker.trigger
        asleep = bool(asker.listeners) and asker.assessment is not None and not asker.assessment.active
        interval = min(trigger.idle_refresh_seconds, trigger.refresh_seconds) if asleep else trigger.refresh_seconds
        until = math.inf if asker.listeners else self._clock.now() + self.lasting_seconds
        return self._snapshots.lease(asker, place, interval, until, asker.namespace)

    def readings(
        self, asker: ScaledObject, held: Sequence[Entry], refresh_seconds: float
    ) -> tuple[Reading, ...] | None:
        """Return what the store knows of `held`, no older than `refresh_seconds`; None if it lacks one.

        Raises the `Fault` of a place that has no reading young enough for `asker`.
        """
        readings = []
        for entry in held:
            reading = self._snapshots.current(entry, refresh_seconds, asker.trigger.stale_seconds)
            if reading is None:
                return None
            readings.append(reading)
        return tuple(readings)
