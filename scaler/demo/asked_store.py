"""The store with methods that read places in one call, for tests."""

from collections.abc import Iterable

from scaler.core.domain import Place, Reading
from scaler.store.place_state import PlaceState
from scaler.store.snapshots import Snapshots


class AskedStore(Snapshots):
    """Snapshots for tests. Times are seconds of the store's clock; the places must be leased."""

    def newest(
        self, place: Place, refresh_seconds: float, stale_seconds: float, *, waited: bool = False
    ) -> Reading | None:
        """Return the reading of `place` if it may be used now, or None; raises its `Fault`."""
        state = self._states.get(place)
        if state is None:
            return None
        now = self._clock.now()
        stale_at = now - stale_seconds - place.min_refresh_seconds
        return self.current(state, stale_at if waited else now - state.fresh_seconds(refresh_seconds), stale_at)

    async def read(
        self, places: Iterable[Place], refresh_seconds: float, stale_seconds: float, timeout_seconds: float
    ) -> dict[Place, Reading]:
        """Return one reading for each of `places`, waiting at most `timeout_seconds` for reads."""
        places = list(places)
        missing = [place for place in places if self.newest(place, refresh_seconds, stale_seconds) is None]
        await self.wait([self._states[place] for place in missing], timeout_seconds)
        found: dict[Place, Reading] = {}
        for place in places:
            reading = self.newest(place, refresh_seconds, stale_seconds, waited=place in missing)
            if reading is None:
                raise self.unanswered(self._states[place])
            found[place] = reading
        return found

    def state(self, place: Place) -> PlaceState:
        """Return the state of `place`."""
        return self._states[place]
