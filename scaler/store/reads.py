"""One read that is under way, of one place or of many together."""

from collections.abc import Callable, Sequence

from scaler.core.domain import Found, Place
from scaler.core.errors import Fault, Unavailable
from scaler.core.logs import get_logger
from scaler.store.place_state import Entry

log = get_logger()
Dues = dict[float, list[Entry]]
"""Those that were read together, by the date of their next read."""


class Read:
    """Who waits for an answer, and what came so far.

    What is read together is due together again: one throw of `dice` for all, and so one date for equal intervals. What
    was only begun together drifts apart.
    """

    __slots__ = ("_dice", "_dues", "_finish", "_good", "_on_read", "_settle", "_thrown", "_together", "_waiting")

    def __init__(
        self,
        entries: Sequence[Entry],
        dice: Callable[[], float],
        finish: Callable[[Entry], None],
        settle: Callable[[Entry, Found | Fault, float, Dues | None], None],
        on_read: Callable[[Place, float, Fault | None, int], None],
    ) -> None:
        """Begin to read `entries`.

        `finish` is called when the backend has done with one of them, or with all that are read together; `settle` with
        each and what was reported of it; `on_read` as `Snapshots.observe` says.
        """
        self._dice, self._finish, self._settle, self._on_read = dice, finish, settle, on_read
        self._thrown = dice()
        self._together = entries[0].reader.together
        self._waiting = {entry.place: entry for entry in entries}
        self._dues: Dues | None = {} if self._together else None
        self._good: list[Entry] = []  # of those together, to be told in one go

    def report(self, place: Place, outcome: Found | Fault) -> None:
        """Take what a reader reports; a second report of a place is ignored, and what has no proof is a fault."""
        if not isinstance(outcome, Found | Fault):
            log.error("a reader reported a value without its proof", place=str(place), value=type(outcome).__name__)
            outcome = Unavailable(f"{place}: internal error: a value without its proof; the scaler's log says more")
        entry = self._waiting.pop(place, None)
        if entry is None:
            return
        if not self._together or not self._waiting:
            self._finish(entry)
        self._settle(entry, outcome, self._thrown if self._together else self._dice(), self._dues)
        fault = outcome if isinstance(outcome, Fault) else None
        if self._together and fault is None:
            self._good.append(entry)
        else:
            self._on_read(place, entry.read_seconds, fault, 1)

    def end(self, fault: Fault | None, why: str) -> None:
        """Report whatever was not reported as `fault`, or as unavailable for the reason `why`."""
        for place in list(self._waiting):
            self.report(place, fault or Unavailable(f"{place}: {why}"))
        if self._good:
            last = self._good[-1]
            self._on_read(last.place, last.read_seconds, None, len(self._good))
