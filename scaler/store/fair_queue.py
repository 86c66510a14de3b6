"""The order in which the due places of one backend are read when its rate limit does not allow all of them at once."""

from collections import OrderedDict
from collections.abc import Iterator

from scaler.core.domain import Place
from scaler.store.place_state import PlaceState


class _NamespaceQueue:
    """The due places of one namespace: those never read, those read before, and those whose last read failed."""

    __slots__ = ("again", "failed", "first")

    def __init__(self) -> None:
        self.first: OrderedDict[Place, PlaceState] = OrderedDict()
        self.again: OrderedDict[Place, PlaceState] = OrderedDict()
        self.failed: OrderedDict[Place, PlaceState] = OrderedDict()

    def __iter__(self) -> Iterator[OrderedDict[Place, PlaceState]]:
        return iter((self.first, self.again, self.failed))


class FairQueue:
    """The due places of one backend that wait for its rate limit.

    Namespaces take turns, so that none starves the others. Within a namespace, places never read go first, the others
    in the order in which they became due, so that a tight rate limit delays all of them alike. Places that failed go
    last, and only as often as the rate limit allows retries.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._owners: OrderedDict[str, _NamespaceQueue] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._owners)

    def __contains__(self, state: PlaceState) -> bool:
        return any(state.place in lane for lane in self._owners.get(state.owner, ()))

    def __iter__(self) -> Iterator[PlaceState]:
        return (state for lanes in self._owners.values() for lane in lanes for state in lane.values())

    def add(self, state: PlaceState) -> None:
        """Add `state` at the end of its namespace's queue."""
        lanes = self._owners.get(state.owner)
        if lanes is None:
            lanes = self._owners[state.owner] = _NamespaceQueue()
        lane = lanes.failed if state.failing else lanes.again if state.reading else lanes.first
        lane[state.place] = state

    def take(self, *, failed: bool) -> PlaceState | None:
        """Remove and return the next place, one that failed only with `failed`; None if there is none."""
        for owner, lanes in self._owners.items():
            lane = lanes.first or lanes.again or (lanes.failed if failed else None)
            if lane:
                self._owners.move_to_end(owner)
                state = next(iter(lane.values()))
                self.discard(state)
                return state
        return None

    @property
    def only_failed(self) -> bool:
        """Whether all waiting places have failed."""
        return not any(lanes.first or lanes.again for lanes in self._owners.values())

    def discard(self, state: PlaceState) -> None:
        """Remove `state`."""
        lanes = self._owners.get(state.owner)
        if lanes is None:
            return
        for lane in lanes:
            lane.pop(state.place, None)
        if not any(lanes):
            del self._owners[state.owner]
