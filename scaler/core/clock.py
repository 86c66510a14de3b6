"""Clocks: the server uses the machine's, tests use one that they move by hand."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Timer(Protocol):
    """A callback that will be called unless it is cancelled."""

    def cancel(self) -> None:
        """Do not call the callback."""


class Clock(Protocol):
    """The time, and timers; nothing else in the scaler looks at a clock."""

    def now(self) -> float:
        """Return monotonic seconds, of which only differences mean something."""

    def wall(self) -> float:
        """Return Unix time in seconds."""

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` in the event loop at monotonic time `when`."""


class SystemClock:
    """The machine's clock."""

    now = staticmethod(time.monotonic)  # the event loop's clock, too; not a method, because it is called several times
    # for every RPC
    wall = staticmethod(time.time)

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` in the running event loop at `when`."""
        loop = asyncio.get_running_loop()
        return loop.call_later(max(0.0, when - time.monotonic()), callback)


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait for `seconds` of `clock`."""
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    timer = clock.call_at(clock.now() + seconds, wake)
    try:
        await woken
    finally:
        timer.cancel()


@contextmanager
def deadline(clock: Clock, seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in the block after `seconds` of `clock`: `asyncio.timeout` for any clock."""
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a deadline needs a task")
    cancelled, expired = task.cancelling(), False

    def expire() -> None:
        nonlocal expired
        expired = True
        task.cancel()

    timer = clock.call_at(clock.now() + seconds, expire)
    try:
        yield
    except BaseException as error:
        if expired and task.uncancel() <= cancelled and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from None
        raise
    else:
        if expired:  # the block has caught the cancellation, so it must not stay pending
            task.uncancel()
    finally:
        timer.cancel()
