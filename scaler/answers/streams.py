"""Open streams of StreamIsActive and StreamMetricSpec: when one sends, and how all end without an error."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Self

from scaler.core.clock import Clock
from scaler.core.quota import Quota

FIRST_REPEAT_SECONDS, LONGEST_REPEAT_SECONDS = 1.0, 60.0
REPEAT_JITTER = 0.1
"""A pause is shortened by up to this share at random, so that streams that opened together do not all send at once."""


class OpenStream:
    """One open stream: a `with` block, a flag that it must end, and a way to wake it."""

    __slots__ = ("_clock", "_dice", "_end", "_on_close", "_pending", "_woken", "ended")

    def __init__(
        self,
        clock: Clock,
        seconds: float,
        on_close: Callable[["OpenStream"], None] = lambda _: None,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """End after `seconds`; `on_close` is called at the end of the block."""
        self.ended = False
        self._clock, self._on_close, self._dice = clock, on_close, dice
        self._woken: asyncio.Future[None] | None = None
        self._pending = False
        self._end = clock.call_at(clock.now() + seconds, self.end)

    def wake(self) -> None:
        """Let `wait` return: something has changed."""
        self._pending = True
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def catch_up(self) -> None:
        """Forget the wakes so far, because the state is looked at now."""
        self._pending = False

    def end(self) -> None:
        """Set `ended`, and wake the stream so that it notices."""
        self.ended = True
        self.wake()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Cancel the timer, and call `on_close`."""
        self._end.cancel()
        del self._end  # the timer refers to this object: a reference cycle
        self._on_close(self)

    def jittered(self, seconds: float) -> float:
        """Return `seconds` with jitter."""
        return seconds * (1 - REPEAT_JITTER * self._dice())

    async def wait(self, seconds: float | None) -> bool:
        """Wait until woken since `catch_up`, at most for `seconds`; tell whether it was woken."""
        if not self._pending:
            self._woken = asyncio.get_running_loop().create_future()
            woken = self._woken
            timer = None
            if seconds is not None:
                timer = self._clock.call_at(
                    self._clock.now() + seconds, lambda: None if woken.done() else woken.set_result(None)
                )
            try:
                await woken
            finally:
                if timer is not None:
                    timer.cancel()
        return self._pending


class Streams:
    """All open streams of the process."""

    def __init__(
        self,
        clock: Clock,
        quota: Quota,
        longest_seconds: float,
        dice: Callable[[], float] = random.random,
        grown: Callable[[], None] = lambda: None,
    ) -> None:
        """End each stream after half to all of `longest_seconds`, at random, so that not all of them return at once.

        `grown` is called for each that opens.
        """
        self._clock, self._quota, self._longest, self._dice = clock, quota, longest_seconds, dice
        self._open: dict[OpenStream, str] = {}
        self._draining, self._grown = False, grown
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def open(self, namespace: str) -> OpenStream:
        """Return a new stream of `namespace`, which counts until its block ends; raises `LimitError`."""
        self._quota.take(namespace)
        stream = OpenStream(self._clock, self._longest * (1 - 0.5 * self._dice()), self._closed, self._dice)
        if self._draining:
            stream.end()
        self._open[stream] = namespace
        self._grown()
        return stream

    def _closed(self, stream: OpenStream) -> None:
        self._quota.give_back(self._open.pop(stream))
        if self._draining and not self._open:
            self._empty.set()

    async def drain(self) -> None:
        """End all streams without an error, and wait until they have ended.

        KEDA opens a stream again 2 s after such an end, but only up to 60 s after an error.
        """
        self._draining = True
        for stream in list(self._open):
            stream.end()
        if self._open:
            await self._empty.wait()


async def repeat(stream: OpenStream, active: Callable[[], bool], send: Callable[[], Awaitable[None]]) -> None:
    """Call `send` when `active` is true at first and at every wake, then after 1, 2, 4 … and every 60 s."""
    pause = FIRST_REPEAT_SECONDS
    while True:
        is_active = active()
        if stream.ended:
            return
        stream.catch_up()
        if is_active:
            await send()
        woken = await stream.wait(stream.jittered(pause) if is_active else None)
        pause = FIRST_REPEAT_SECONDS if woken else min(LONGEST_REPEAT_SECONDS, pause * 2)
