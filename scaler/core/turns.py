"""Turns on the event loop for long work, so that a large answer for one tenant does not delay everybody else.

Parsing 30 MB takes a second. Code that does such work awaits `rest` before each small piece of it. A turn lasts about a
millisecond; then other long work gets a turn, tenants in rotation. While calls are answered meanwhile, there are pauses
between the turns: long work then gets about a quarter of the processor, and all of it when nothing else is to do.

Times are processor times of the event loop's thread: that another process had the core says nothing about the loop.
"""

import asyncio
import time
from collections import deque
from weakref import WeakKeyDictionary

from scaler.core.tenant import TENANT

TURN_SECONDS = 0.001
IDLE_SECONDS = 0.0002
"""An iteration of the loop that takes longer has run other callbacks."""
QUIET_SECONDS = 0.02
"""Time without other callbacks until pauses end: one call takes several iterations, with waits between them."""
PAUSE = 3.0
"""Length of a pause in lengths of the turn before it."""
LEAST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.001, 0.01


class _Turns:
    """The tasks that wait for a turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._resting: dict[str, deque[asyncio.Future[None]]] = {}  # by tenant, the next one first
        self._dealing = False
        self._began: float | None = None  # the start of the present turn
        self._busy_at = -QUIET_SECONDS  # when the loop last ran other callbacks

    async def rest(self) -> None:
        if self._began is not None and time.thread_time() - self._began < TURN_SECONDS:
            return  # only the task that has the turn runs before `_end`
        turn = self._loop.create_future()
        self._resting.setdefault(TENANT.get(), deque()).append(turn)
        if not self._dealing:
            self._dealing = True
            self._loop.call_soon(self._deal)
        await turn
        self._began = time.thread_time()

    def _deal(self) -> None:
        """Give the next task its turn; the loop runs it and then `_end`, with nothing in between."""
        while self._resting:
            tenant, turns = next(iter(self._resting.items()))
            turn = turns.popleft()
            del self._resting[tenant]
            if turns:  # behind the other tenants
                self._resting[tenant] = turns
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                self._loop.call_soon(self._end)
                return
        self._dealing = False

    def _end(self) -> None:
        """End the turn: its time is over, or its task waits for something else."""
        now = time.thread_time()
        took = 0.0 if self._began is None else now - self._began
        self._began = None
        self._loop.call_soon(self._go_on, now, took)

    def _go_on(self, ended: float, took: float) -> None:
        """Start the next turn, after a pause if the loop has run other callbacks lately."""
        now = time.perf_counter()
        if time.thread_time() - ended > IDLE_SECONDS:
            self._busy_at = now
        if now - self._busy_at > QUIET_SECONDS:
            self._deal()
        else:
            pause = min(LONGEST_PAUSE_SECONDS, max(LEAST_PAUSE_SECONDS, PAUSE * took))
            self._loop.call_later(pause, self._deal)


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


async def rest() -> None:
    """Wait until the present tenant may do another piece of long work on the running event loop."""
    loop = asyncio.get_running_loop()
    turns = _of_loop.get(loop)
    if turns is None:
        turns = _of_loop[loop] = _Turns(loop)
    await turns.rest()
