"""Reports objects of the Kubernetes API from watches that stay open while someone asks for them."""

import asyncio
from collections.abc import Sequence

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import Objects
from scaler.core.domain import Fault, Hint, Place, Reader, Report


class ObjectsReader(Reader):
    """Reports places of kind `kubernetes` from watches that stay open while someone asks for them."""

    kinds = frozenset({Objects.kind})
    watched = True

    def __init__(self, kubernetes: Kubernetes) -> None:
        """Use `kubernetes`, whose watches other users share."""
        self._kubernetes = kubernetes
        self._hint: Hint | None = None
        self._places: set[Objects] = set()

    async def read(self, places: Sequence[Place], report: Report) -> None:
        """Report the current objects of each place, or its fault."""
        reads = (self._read(place, report) for place in places if isinstance(place, Objects))
        for outcome in await asyncio.gather(*reads, return_exceptions=True):  # so that an error at one place does not
            # affect the others
            if outcome is not None:
                raise outcome

    async def _read(self, place: Objects, report: Report) -> None:
        self._places.add(place)
        patience = 0.9 * self.timeout_seconds  # less than the store's, so that the fault says how far the list is
        try:
            found = await self._kubernetes.found(
                place, user=self, changed=lambda: self._changed(place), timeout_seconds=patience
            )
        except Fault as fault:
            report(place, fault)
        else:
            report(place, found)

    def _changed(self, place: Objects) -> None:
        if self._hint is not None:
            self._hint(place)

    def listen(self, hint: Hint) -> None:
        """Call `hint` when a watch has delivered a change."""
        self._hint = hint

    def forget(self, place: Place) -> None:
        """Close the watch of `place`, unless it has other users."""
        if isinstance(place, Objects):
            self._places.discard(place)
            self._kubernetes.forget(place, user=self)

    async def close(self) -> None:
        """Forget every place; the client itself is closed by its owner."""
        for place in tuple(self._places):
            self.forget(place)
