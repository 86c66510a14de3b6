"""Leases tell the store which places to keep fresh for a ScaledObject, how fresh, and until when."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from scaler.answers.scaledobject import ScaledObject
from scaler.answers.state import NO_LEASE, Lease
from scaler.core.clock import Clock
from scaler.core.domain import Place
from scaler.core.errors import LimitError
from scaler.store.place_state import PlaceState
from scaler.store.snapshots import Snapshots

SLACK = 0.1
"""Share of a lease after which it is renewed, and by which it lasts longer, so that none ends between two polls."""


class Leases:
    """Leases places: to be read every `refreshSeconds`, or `idleRefreshSeconds` while inactive with an open stream.

    `on_places` is called after each renewal with the ScaledObject, and the further places that it had before.
    """

    def __init__(self, snapshots: Snapshots, clock: Clock, seconds: float) -> None:
        """Keep places fresh for `seconds` after the last call of a ScaledObject, and as long as a stream is open."""
        self._snapshots, self._clock, self._seconds = snapshots, clock, seconds
        self.on_places: Callable[[ScaledObject, tuple[Place, ...]], None] = lambda _scaled_object, _before: None

    @property
    def lasting_seconds(self) -> float:
        """How many seconds a lease lasts at most after the last call of its ScaledObject."""
        return (1 + SLACK) * self._seconds

    def keep(self, scaled_object: ScaledObject) -> None:
        """Renew the lease of `scaled_object` when it is time; raises `LimitError`."""
        if self._clock.now() >= scaled_object.lease.renew_at:
            self.renew(scaled_object, scaled_object.lease.further_places)

    def renew(self, scaled_object: ScaledObject, further: tuple[Place, ...]) -> None:
        """Lease the places of `scaled_object`, `further` being those that its readings name; raises `LimitError`.

        Leases on further places that are no longer named end.
        """
        before = scaled_object.lease.further_places
        scaled_object.lease = NO_LEASE  # and so it stays if the store has no room; then each call tries again
        try:
            scaled_object.lease = self._renewed(scaled_object, before, further)
        finally:
            self.on_places(scaled_object, before)

    def _renewed(self, scaled_object: ScaledObject, before: tuple[Place, ...], further: tuple[Place, ...]) -> Lease:
        for place in set(before) - set(further):
            self._snapshots.release(scaled_object, place)
        try:
            states = [self._lease(scaled_object, place) for place in (*scaled_object.question.places, *further)]
        except LimitError:
            for place in further:
                self._snapshots.release(scaled_object, place)
            raise
        renew_at = math.inf if scaled_object.listeners else self._clock.now() + SLACK * self._seconds
        return Lease(further, tuple(states), renew_at)

    def _lease(self, scaled_object: ScaledObject, place: Place) -> PlaceState:
        trigger = scaled_object.trigger
        # With `refreshSeconds: "0"` every call reads by itself, so the store need not refresh the place in between.
        interval = trigger.refresh_seconds or self._seconds
        if scaled_object.listeners and scaled_object.answer is not None and not scaled_object.active:
            interval = min(interval, trigger.idle_refresh_seconds)
        until = math.inf if scaled_object.listeners else self._clock.now() + self.lasting_seconds
        return self._snapshots.lease(scaled_object, place, interval, until, scaled_object.namespace)

    def rest(self, scaled_objects: Iterable[ScaledObject]) -> None:
        """Drop the leases that have ended of `scaled_objects`, which are in the order of their last calls.

        Their last readings are dropped too, so that they take no memory once the store has forgotten the places.
        """
        before = self._clock.now() - self.lasting_seconds
        for scaled_object in scaled_objects:
            if scaled_object.asked_at >= before:
                break
            if scaled_object.lease.states and not scaled_object.listeners:
                scaled_object.lease = NO_LEASE
                if scaled_object.answer is not None:  # settling still needs what KEDA was told
                    scaled_object.answer = replace(scaled_object.answer, readings=(), raw=None, valid_until=-math.inf)
