"""A clock that tests move by hand, so that a test of an hour takes no time and has no races."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(order=True)
class _Alarm:
    when: float
    order: int
    callback: Callable[[], object] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


async def settle(rounds: int = 50) -> None:
    """Let all tasks run until they wait for something; what comes over sockets gets `rounds` of the loop to arrive."""
    loop: Any = asyncio.get_running_loop()
    for _ in range(rounds):
        await asyncio.sleep(0)
        # There is no public way to tell: no task is ready, and no socket but the loop's own could make one so.
        if not loop._ready and len(loop._selector.get_map()) == 1:  # noqa: SLF001
            break


async def _quiet(rounds: int = 50) -> None:
    """Let tasks run until none is ready, which is much faster than `settle` with many alarms."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public way
    for _ in range(rounds):
        await asyncio.sleep(0)
        if not ready:
            break


class ManualClock:
    """Implements `scaler.core.clock.Clock`; time moves only by `advance`."""

    def __init__(self, now: float = 1_000.0, wall: float = 1_800_000_000.0) -> None:
        """Start at monotonic time `now` and Unix time `wall`."""
        self._now = now
        self._offset = wall - now
        self._alarms: list[_Alarm] = []
        self._order = itertools.count()

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._now

    def wall(self) -> float:
        """Return Unix time in seconds."""
        return self._now + self._offset

    def call_at(self, when: float, callback: Callable[[], object]) -> _Alarm:
        """Call `callback` when `advance` passes `when`; at once, by the running loop, if that time has come."""
        alarm = _Alarm(when, next(self._order), callback)
        heapq.heappush(self._alarms, alarm)
        if when <= self._now:
            with suppress(RuntimeError):  # without a running loop, `advance` calls it
                asyncio.get_running_loop().call_soon(self._ring, self._now)
        return alarm

    def _ring(self, until: float) -> bool:
        """Call the first alarm that is due by `until`; tell whether there was one."""
        while self._alarms and self._alarms[0].when <= until:
            alarm = heapq.heappop(self._alarms)
            if not alarm.cancelled:
                self._now = max(self._now, alarm.when)
                alarm.callback()
                return True
        return False

    @property
    def next_at(self) -> float:
        """When the next alarm rings, in monotonic seconds; one must be set."""
        return min(alarm.when for alarm in self._alarms if not alarm.cancelled)

    @property
    def pending(self) -> int:
        """The number of set alarms; a finished test must leave none."""
        return sum(not alarm.cancelled for alarm in self._alarms)

    async def advance(self, seconds: float) -> None:
        """Advance by `seconds`, calling every alarm at its time and letting its tasks run."""
        end = self._now + seconds
        await settle()
        while self._ring(end):
            await _quiet()
        self._now = end
        await settle()
