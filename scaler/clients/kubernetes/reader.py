"""Reports objects of the Kubernetes API from watches that stay open while someone asks for them."""

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import Objects
from scaler.core.domain import Found, Hint, Place, SingleReader


class ObjectsReader(SingleReader):
    """Reports places of kind `kubernetes` from watches that stay open while someone asks for them."""

    kinds = frozenset({Objects.kind})
    watched = True

    def __init__(self, kubernetes: Kubernetes) -> None:
        """Use `kubernetes`, whose watches other users share."""
        self._kubernetes = kubernetes
        self._hint: Hint | None = None
        self._places: set[Objects] = set()

    async def find(self, place: Objects) -> Found:
        """Return the current objects of `place`."""
        self._places.add(place)
        patience = 0.9 * self.timeout_seconds  # less than the store's, so that the fault says how far the list is
        return await self._kubernetes.found(
            place, user=self, changed=lambda: self._changed(place), timeout_seconds=patience
        )

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
