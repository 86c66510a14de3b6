"""Memory for the sums that stay with the store until they are read again, shared between tenants."""

from collections.abc import Iterable

from scaler.clients.pages.exposition import SUM_BYTES, Page
from scaler.core.budget import Budget, Held
from scaler.core.domain import Place

MAX_KEPT_BYTES = 32 * 1024 * 1024
"""For all places of a reader; a tenant may use no more than it leaves free."""


class Kept:
    """What is held for each place; a new reading takes the room of the one before it."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._budget = Budget(MAX_KEPT_BYTES, "bytes of sums of pages")
        self._of: dict[Place, Held] = {}

    def held(self) -> Held:
        """Return what a reading under way may `resize`, for the present tenant."""
        return self._budget.held()

    def keep(self, place: Place, held: Held) -> None:
        """Keep `held` for `place` instead of what was there."""
        self.forget(place)
        self._of[place] = held

    def forget(self, place: Place) -> None:
        """Give back what is held for `place`."""
        if (held := self._of.pop(place, None)) is not None:
            held.resize(0)


def bytes_of(pages: Iterable[Page]) -> int:
    """Return about what the sums of `pages` take in memory."""
    return sum(SUM_BYTES + len(group) for page in pages for sums in page.sums.values() for group in sums)
