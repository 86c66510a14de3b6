"""Turns on the event loop for long work, so that what one tenant's backend answers never makes all others wait.

To parse 30 MB takes a second. Whoever does such a thing awaits `rest` before every small piece of it. In a turn of half
a millisecond, as many pieces are done as fit; then it is the turn of another such work, tenants in rotation. While
others keep the loop busy, turns come with pauses, so that long work has a third of the processor, and all when alone.
"""

import asyncio
import time
from collections import deque
from weakref import WeakKeyDictionary

from scaler.core.tenant import TENANT

TURN_SECONDS = 0.0005
IDLE_SECONDS = 0.0002
"""A round of the loop that takes longer has had something else to do."""
QUIET_SECONDS = 0.005
"""After which nobody else is thought to be busy any more: a call takes several rounds, and waits between them."""
PAUSE = 2.0
"""How long a pause is beside the turn before it."""
LEAST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.001, 0.01


class _Turns:
    """Who rests, and when the next one may go on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._resting: dict[str, deque[asyncio.Future[None]]] = {}  # by tenant, the one whose turn it is first
        self._dealing = False
        self._began: float | None = None  # of the present turn, while it lasts
        self._busy_at = -QUIET_SECONDS  # when others were last found to be busy

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
        """Let the next one go on. The loop comes to it and to nobody else before it comes to `_end`."""
        while self._resting:
            tenant, turns = next(iter(self._resting.items()))
            turn = turns.popleft()
            del self._resting[tenant]
            if turns:  # it is the others' turn first
                self._resting[tenant] = turns
            if not turn.done():  # it was cancelled
                turn.set_result(None)
                self._loop.call_soon(self._end)
                return
        self._dealing = False

    def _end(self) -> None:
        """Note that the turn has ended, by its time or since its work waits for something else."""
        now = time.perf_counter()
        took = 0.0 if self._began is None else now - self._began
        self._began = None
        self._loop.call_soon(self._go_on, now, took)

    def _go_on(self, ended: float, took: float) -> None:
        """Deal at once, unless others had something to do lately: then they may have more."""
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
    """Wait for the turn to do one more piece of long work in the running event loop, for the present tenant."""
    loop = asyncio.get_running_loop()
    turns = _of_loop.get(loop)
    if turns is None:
        turns = _of_loop[loop] = _Turns(loop)
    await turns.rest()
