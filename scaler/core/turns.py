"""Turns on the event loop for long work, so that what one tenant's backend answers never makes all others wait.

To parse 30 MB takes a second. Whoever does such a thing does it in steps of about a millisecond, and awaits `rest`
before each. Of all that rests in the process one step is done at a time, tenants taking turns; while others keep the
loop busy, steps come with pauses, so that long work has a third of the processor, and all of it when it is alone.
"""

import asyncio
import time
from collections import deque
from weakref import WeakKeyDictionary

from scaler.core.tenant import TENANT

IDLE_SECONDS = 0.0002
"""A round of the loop that takes longer has had something else to do."""
PAUSE = 2.0
"""How long a pause is beside the step before it."""
LEAST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.001, 0.01


class _Turns:
    """Who rests, and when the next one may go on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._resting: dict[str, deque[asyncio.Future[None]]] = {}  # by tenant, the one whose turn it is first
        self._dealing = False

    async def rest(self) -> None:
        turn = self._loop.create_future()
        self._resting.setdefault(TENANT.get(), deque()).append(turn)
        if not self._dealing:
            self._dealing = True
            self._loop.call_soon(self._deal)
        await turn

    def _deal(self) -> None:
        """Let the next one do its step, which is the next thing that the loop does."""
        while self._resting:
            tenant, turns = next(iter(self._resting.items()))
            turn = turns.popleft()
            del self._resting[tenant]
            if turns:  # it is the others' turn first
                self._resting[tenant] = turns
            if not turn.done():  # it was cancelled
                turn.set_result(None)
                self._loop.call_soon(self._stepped, time.perf_counter())
                return
        self._dealing = False

    def _stepped(self, began: float) -> None:
        now = time.perf_counter()
        self._loop.call_soon(self._pause, now, now - began)

    def _pause(self, stepped: float, step: float) -> None:
        """Go on, unless others had something to do since the step has ended: then they may have more."""
        if time.perf_counter() - stepped < IDLE_SECONDS:
            self._deal()
        else:
            pause = min(LONGEST_PAUSE_SECONDS, max(LEAST_PAUSE_SECONDS, PAUSE * step))
            self._loop.call_later(pause, self._deal)


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


async def rest() -> None:
    """Wait for the turn to do one more step of long work in the running event loop, for the present tenant."""
    loop = asyncio.get_running_loop()
    turns = _of_loop.get(loop)
    if turns is None:
        turns = _of_loop[loop] = _Turns(loop)
    await turns.rest()
