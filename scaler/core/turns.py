"""Turns on the event loop for long work, so that a large answer for one tenant does not block all others.

To parse 30 MB takes a second. Such work awaits `rest` before every small piece. A turn lasts half a millisecond, for as
many pieces as fit; then other long work gets a turn, with tenants in rotation. While other tasks keep the loop busy,
there are pauses between turns, so that long work gets a third of the processor; otherwise it gets all of it.
"""

import asyncio
import time
from collections import deque
from weakref import WeakKeyDictionary

from scaler.core.tenant import TENANT

TURN_SECONDS = 0.0005
IDLE_SECONDS = 0.0002
"""If a round of the loop takes longer, other tasks have run in it."""
QUIET_SECONDS = 0.005
"""The loop counts as idle after so long without other tasks: an RPC takes several rounds, with waits between."""
PAUSE = 2.0
"""The length of a pause, as a multiple of the turn before it."""
LEAST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.001, 0.01


class _Turns:
    """The work that waits for a turn in one event loop, and when the next turn begins."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._resting: dict[str, deque[asyncio.Future[None]]] = {}  # by tenant, in the order of the turns
        self._dealing = False
        self._began: float | None = None  # when the current turn began; None between turns
        self._busy_at = -QUIET_SECONDS  # when other tasks were last busy

    async def rest(self) -> None:
        if self._began is not None and time.perf_counter() - self._began < TURN_SECONDS:
            return
        turn = self._loop.create_future()
        self._resting.setdefault(TENANT.get(), deque()).append(turn)
        if not self._dealing:
            self._dealing = True
            self._loop.call_soon(self._deal)
        await turn
        self._began = time.perf_counter()

    def _deal(self) -> None:
        """Begin the next turn. The loop runs its work, and nothing else, before `_end`."""
        while self._resting:
            tenant, turns = next(iter(self._resting.items()))
            turn = turns.popleft()
            del self._resting[tenant]
            if turns:  # the other tenants come first
                self._resting[tenant] = turns
            if not turn.done():  # it was cancelled
                turn.set_result(None)
                self._loop.call_soon(self._end)
                return
        self._dealing = False

    def _end(self) -> None:
        """Note the end of a turn, because its time is over or because its work waits for something else."""
        now = time.perf_counter()
        took = 0.0 if self._began is None else now - self._began
        self._began = None
        self._loop.call_soon(self._go_on, now, took)

    def _go_on(self, ended: float, took: float) -> None:
        """Begin the next turn at once, or after a pause if other tasks were busy lately and may have more to do."""
        now = time.perf_counter()
        if now - ended > IDLE_SECONDS:
            self._busy_at = now
        if now - self._busy_at > QUIET_SECONDS:
            self._deal()
        else:
            pause = min(LONGEST_PAUSE_SECONDS, max(LEAST_PAUSE_SECONDS, PAUSE * took))
            self._loop.call_later(pause, self._deal)


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


async def rest() -> None:
    """Wait until one more piece of long work of the current tenant may be done in the running event loop."""
    loop = asyncio.get_running_loop()
    turns = _of_loop.get(loop)
    if turns is None:
        turns = _of_loop[loop] = _Turns(loop)
    await turns.rest()
