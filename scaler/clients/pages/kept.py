"""The memory limit for sums that the store keeps until the next read, shared by all tenants."""

from collections.abc import Iterable

from scaler.clients.pages.exposition import SUM_BYTES, Page
from scaler.core.budget import Budget, Held
from scaler.core.domain import Place

MAX_KEPT_BYTES = 32 * 1024 * 1024
"""For all places of a reader; a tenant may use at most as much as remains free."""


class Kept:
    """The memory held for each place; a new reading replaces the one before."""

    def __init__(self) -> None:
        self._budget = Budget(MAX_KEPT_BYTES, "bytes of sums of pages")
        self._of: dict[Place, Held] = {}

    def held(self) -> Held:
        """Return a `Held` for a read under way of the current tenant."""
        return self._budget.held()

    def keep(self, place: Place, held: Held) -> None:
        """Keep `held` for `place`, and release what was held for it before."""
        self.forget(place)
        self._of[place] = held

    def forget(self, place: Place) -> None:
        """Release the memory for `place`."""
        if (held := self._of.pop(place, None)) is not None:
            held.resize(0)


def bytes_of(pages: Iterable[Page]) -> int:
    """Return the approximate memory of the sums of `pages`."""
    return sum(SUM_BYTES + len(group) for page in pages for sums in page.sums.values() for group in sums)
