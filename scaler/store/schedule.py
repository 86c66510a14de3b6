"""When each place is read: due dates, the turn of each backend, pauses after faults, and the reads themselves."""

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scaler.core.clock import Clock, Timer, deadline
from scaler.core.domain import Found, Place, Reader
from scaler.core.errors import Fault, Throttled
from scaler.core.logs import get_logger
from scaler.store.place_state import Entry, Turns
from scaler.store.rate_limit import Lane
from scaler.store.reads import Dues, Read

log = get_logger()

REFRESH_JITTER = 0.1
"""A refresh begins within the last tenth of its interval, so that places read together drift apart."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
GRAIN_SECONDS = 0.02
"""What falls due within it is read together: a process that wakes up for each of 300 reads a second does little else."""
LIMITED_GRAIN_SECONDS = 0.05
"""The same for what waits for the rate of its backend, and so is late anyway."""
HINT_GAP_SECONDS = 0.02
"""Hints about one place make at most fifty reads a second, and at most ten in one interval."""
UNLIMITED = 1_000.0
"""Reads per second of a backend whose kind has no limit in the configuration."""


def _ignore(*_: Any) -> None:
    """Take no notice."""


def _jittered(interval: float, dice: float) -> float:
    return interval * (1 - REFRESH_JITTER * dice)


class Refresher:
    """Keeps the due dates of all places; what is due waits for the turn of its backend, then its reader reads it."""

    def __init__(self, clock: Clock, limits: Mapping[str, float], dice: Callable[[], float]) -> None:
        """Ask no backend more often than `limits` allow: reads per second by the first part of the backend's name."""
        self._clock, self._limits, self._dice = clock, dict(limits), dice
        self.entries: dict[Place, Entry] = {}
        self.lanes: dict[str, Lane] = {}
        self.ready: dict[str, Turns] = {}  # due, but waiting for the rate of its backend
        self.members: dict[str, dict[Place, Entry]] = {}
        self._heap: list[tuple[float, int, Sequence[Entry]]] = []
        self._order = itertools.count()
        self._timer: Timer | None = None
        self._timer_at = math.inf
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.on_report: Callable[[Place, bool], None] = _ignore
        self.on_read: Callable[[Place, float, Fault | None, int], None] = _ignore
        self.on_drop: Callable[[str], None] = _ignore  # with the namespace whose turns the place was on

    # Who is in

    def admit(self, place: Place, reader: Reader, owner: str) -> Entry:
        """Take `place` in, to be read at once, on the turns of the namespace `owner`."""
        backend, now = place.backend, self._clock.now()
        lane = self.lanes.get(backend)
        if lane is None:
            limit = self._limits.get(backend.partition("/")[0], UNLIMITED)
            lane = self.lanes[backend] = Lane(limit=limit, at=now)
        entry = self.entries[place] = Entry(place, reader, lane, owner)
        self.members.setdefault(backend, {})[place] = entry
        self.schedule(entry, now)
        return entry

    def _drop(self, entry: Entry) -> None:
        place, backend = entry.place, entry.place.backend
        del self.entries[place]
        if backend in self.ready:
            self.ready[backend].discard(entry)
        del self.members[backend][place]
        if not self.entries:
            self._heap.clear()  # of dates that others have superseded
        self._drop_backend(backend)
        entry.reader.forget(place)
        self.on_drop(entry.owner)

    def _drop_backend(self, backend: str) -> None:
        """Forget a backend without places, once nothing is under way there."""
        if not self.members.get(backend) and (lane := self.lanes.get(backend)) is not None and not lane.in_flight:
            self.members.pop(backend, None)
            self.ready.pop(backend, None)
            del self.lanes[backend]

    # When to read

    def schedule(self, entry: Entry, due: float) -> None:
        """Set the next read of `entry` to `due`."""
        entry.due = due
        self._schedule_all((entry,), due)

    def _schedule_all(self, entries: Sequence[Entry], due: float) -> None:
        heapq.heappush(self._heap, (due, next(self._order), entries))
        self._wake_at(due)

    def _schedule_along(self, entry: Entry, due: float, now: float, dues: Dues | None) -> None:
        """Schedule `entry` with those that have the same date in `dues`, while that date lies ahead."""
        if dues is None or due <= now + 2 * GRAIN_SECONDS:
            self.schedule(entry, due)
        elif (others := dues.get(due)) is not None:
            entry.due = due
            others.append(entry)
        else:
            entry.due = due
            dues[due] = [entry]
            self._schedule_all(dues[due], due)

    def _wake_at(self, when: float) -> None:
        if self._closed or when >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._clock.call_at(when, self._tick)

    def hasten(self, entry: Entry, interval: float) -> None:
        """Bring the next read forward when someone new wants it sooner; never out of a pause after a fault."""
        if entry.started is None and entry.failures == 0 and entry.reading is not None:
            due = entry.reading.at + _jittered(interval, self._dice())
            if due < entry.due:
                self.schedule(entry, due)

    def hint(self, place: Place) -> None:
        """Read `place` soon: its reader has heard that it may have changed."""
        entry = self.entries.get(place)
        if entry is None or entry.failures or self._closed:
            return
        if entry.started is not None:
            entry.hinted = True  # what is being read may have been read before the change
            return
        last = entry.reading.at if entry.reading else -math.inf
        gap = max(HINT_GAP_SECONDS, (entry.interval(self._clock.now()) or 0.0) / 10)
        due = max(self._clock.now(), last + gap)
        if due < entry.due:
            self.schedule(entry, due)

    def _tick(self) -> None:
        """Move what is due to its backend's lane, drop what nobody asks for, and begin the reads that may begin."""
        now = self._clock.now()
        self._timer, self._timer_at = None, math.inf
        told: dict[Reader, list[Entry]] = {}
        while self._heap and self._heap[0][0] <= now + GRAIN_SECONDS:
            due, _, entries = heapq.heappop(self._heap)
            for entry in entries:
                if due != entry.due or entry.started is not None or self.entries.get(entry.place) is not entry:
                    continue  # superseded by another date
                if self._dropped(entry, now):
                    continue
                if entry.is_told:
                    told.setdefault(entry.reader, []).append(entry)
                else:
                    self.ready.setdefault(entry.place.backend, Turns()).add(entry)
        for looked_at in told.values():
            self._begin(looked_at, now, paced=False)
        for backend in list(self.ready):
            self._take(backend, now)
        if self._heap:
            self._wake_at(self._heap[0][0])

    def _dropped(self, entry: Entry, now: float) -> bool:
        """Drop `entry` if nobody asks for it any more; tell whether that was so."""
        if entry.waiters or entry.interval(now) is not None:
            return False
        self._drop(entry)
        return True

    def _take(self, backend: str, now: float) -> None:
        """Begin the reads that `backend` may be asked for now, in the order of their turns."""
        turns, lane = self.ready[backend], self.lanes[backend]
        batches: dict[Reader, list[Entry]] = {}
        room = lane.room(now)
        while turns and room > 0:
            entry = turns.take()
            if not self._dropped(entry, now):
                batches.setdefault(entry.reader, []).append(entry)
                room -= 1
                if entry.reader.together:
                    self._add_siblings(batches[entry.reader], turns, now)
        for reader, entries in batches.items():
            lane.begin(1 if reader.together else len(entries))
            self._begin(entries, now, paced=True)
        if not turns:
            self.ready.pop(backend, None)
        elif not lane.is_full:  # else the end of a read makes room
            self._wake_at(now + max(lane.wait_seconds(), LIMITED_GRAIN_SECONDS))

    def _add_siblings(self, entries: list[Entry], turns: Turns, now: float) -> None:
        """Add to the first of `entries` what one read can fetch along: all that is due within half of its interval.

        What has failed goes along too: a backend that is back is back for all of its places.
        """
        first, members = entries[0], self.members[entries[0].place.backend]
        for entry in members.values():
            if entry is not first and entry.reader is first.reader and entry.started is None:
                interval = entry.interval(now)
                if interval is not None and (entry.failures or entry.due - now <= interval / 2):
                    entries.append(entry)
        if len(entries) == len(members):
            turns.clear()
        else:
            for entry in entries[1:]:
                turns.discard(entry)

    # Reading

    def _begin(self, entries: list[Entry], now: float, *, paced: bool) -> None:
        for entry in entries:
            entry.started, entry.paced, entry.hinted = now, paced, False
        task = asyncio.get_running_loop().create_task(self._read(entries))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, entries: list[Entry]) -> None:
        reader, under_way = entries[0].reader, Read(entries, self._dice, self._finish, self._settle, self.on_read)
        fault, why = None, "the read ended without an answer"
        try:
            with deadline(self._clock, reader.timeout_seconds):
                await reader.read([entry.place for entry in entries], under_way.report)
        except Fault as raised:
            fault = raised
        except TimeoutError:
            why = f"no answer within {reader.timeout_seconds:g} s"
        except Exception as error:
            log.exception("a reader failed in an unforeseen way", backend=entries[0].place.backend)
            why = f"internal error {type(error).__name__}; the scaler's log says more"
        finally:
            under_way.end(fault, why)

    def _finish(self, entry: Entry) -> None:
        """Make room at the backend: a read has ended, of `entry` alone, or of many with it as the last."""
        backend, lane = entry.place.backend, entry.lane
        if entry.paced:
            if lane.is_full and backend in self.ready:
                self._wake_at(self._clock.now())
            lane.end()
        self._drop_backend(backend)

    def _settle(self, entry: Entry, outcome: Found | Fault, dice: float, dues: Dues | None) -> None:
        """Note what a read brought, tell whoever waits, and set the date of the next read; see `Read`."""
        now = self._clock.now()
        started = entry.started if entry.started is not None else now
        entry.started, entry.read_seconds = None, now - started
        interval = entry.interval(now) or 0.0
        if not isinstance(outcome, Found):
            changed = True  # every fault is news: the last good reading has aged since the one before
            entry.note_fault(outcome, now)
            if isinstance(outcome, Throttled):
                entry.lane.throttled(now)
            longest = min(LONGEST_PAUSE_SECONDS, max(1.0, 1.5 * interval))
            pause = min(longest, FIRST_PAUSE_SECONDS * 2 ** min(entry.failures - 1, 10))
            due = max(now + 0.1, started + _jittered(pause, dice))
        else:
            changed = entry.note_found(outcome, started)
            due = max(started + _jittered(interval, dice), now + (0.0 if entry.hinted else min(interval, 0.05)))
            if entry.hinted:
                due = min(due, now + HINT_GAP_SECONDS)
        held = self.entries.get(entry.place) is entry
        if held:
            self._schedule_along(entry, due, now, dues)
        for waiter in entry.waiters:
            if not waiter.done():
                waiter.set_result(None)
        if held:
            self.on_report(entry.place, changed)

    async def close(self) -> None:
        """Stop reading."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
