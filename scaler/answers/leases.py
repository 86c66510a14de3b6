"""Leases on the places that triggers stand on: kept while somebody asks, at the speed that is asked for."""

import math
from collections.abc import Iterable
from dataclasses import replace

from scaler.answers.scaledobject import ScaledObject
from scaler.answers.state import NO_LEASE, Lease
from scaler.core.clock import Clock
from scaler.core.domain import Place
from scaler.core.errors import LimitError
from scaler.store.place_state import PlaceState
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

    def keep(self, scaled_object: ScaledObject) -> None:
        """Renew the lease of `scaled_object` when it is time; raises `LimitError`."""
        if self._clock.now() >= scaled_object.lease.renew_at:
            self.renew(scaled_object, scaled_object.lease.further_places)

    def renew(self, scaled_object: ScaledObject, further: tuple[Place, ...]) -> None:
        """Lease all places of `scaled_object`, of which its readings name `further`; raises `LimitError`.

        Places that they name no more are let go of.
        """
        for place in set(scaled_object.lease.further_places) - {*scaled_object.question.places, *further}:
            self._snapshots.release(scaled_object, place)
        scaled_object.lease = NO_LEASE
        named = tuple([self._lease(scaled_object, place) for place in scaled_object.question.places])
        scaled_object.lease = Lease(
            states=named
        )  # should the store have no room for the others, it is asked anew each time
        try:
            others = tuple([self._lease(scaled_object, place) for place in further])
        except LimitError:
            for place in set(further) - set(scaled_object.question.places):
                self._snapshots.release(scaled_object, place)
            raise
        renew_at = math.inf if scaled_object.listeners else self._clock.now() + SLACK * self._seconds
        scaled_object.lease = Lease(further, named + others, renew_at)

    def _lease(self, scaled_object: ScaledObject, place: Place) -> PlaceState:
        trigger = scaled_object.trigger
        # With `refreshSeconds: "0"` every caller has a read of its own, so that nothing need be read ahead.
        interval = trigger.refresh_seconds or self._seconds
        if scaled_object.listeners and scaled_object.answer is not None and not scaled_object.active:
            interval = min(interval, trigger.idle_refresh_seconds)
        until = math.inf if scaled_object.listeners else self._clock.now() + self.lasting_seconds
        return self._snapshots.lease(scaled_object, place, interval, until, scaled_object.namespace)

    def rest(self, scaled_objects: Iterable[ScaledObject]) -> None:
        """Let those of `scaled_objects` whose leases have ended hold on to nothing of the store; those who asked last come last."""
        before = self._clock.now() - self.lasting_seconds
        for scaled_object in scaled_objects:
            if scaled_object.asked_at >= before:
                break
            if scaled_object.lease.states and not scaled_object.listeners:
                scaled_object.lease = NO_LEASE
                if scaled_object.answer is not None:  # what was told is remembered, but not by which readings
                    scaled_object.answer = replace(scaled_object.answer, readings=(), raw=None, valid_until=-math.inf)
