"""Client tracking: Redis reports changed keys, so that they are read at once. Without it polling is enough."""

import asyncio
from collections.abc import Awaitable, Callable

from scaler.clients.redis.connection import RedisConnection
from scaler.core.clock import Clock, sleep
from scaler.core.errors import Fault, Refused

RESP3 = 3
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
"""The longest pause between attempts, and the pause after a Redis has refused tracking."""
NOISY_MESSAGES = 200
"""In one second; keys that change more often are only polled, which is cheaper than a message for each change."""
NOISY_PAUSE_SECONDS = 30.0


class Hints:
    """Client tracking in broadcast mode (redis.io, client-side caching), on a connection of its own.

    No change is missed when the connection is lost: after each new connection all keys count as changed.
    """

    def __init__(
        self,
        connect: Callable[[int], Awaitable[RedisConnection]],
        prefixes: tuple[str, ...],
        changed: Callable[[list[bytes] | None], None],
        clock: Clock,
    ) -> None:
        """Track keys that begin with one of `prefixes`, until `close`; no prefix may begin with another.

        `connect` opens a connection with the given version of the protocol; `changed` is called with keys, or with None
        for all.
        """
        self._connect = connect
        self._prefixes = prefixes
        self._changed = changed
        self._clock = clock
        self._task = self._start()
        self._ending: set[asyncio.Task[None]] = set()

    def _start(self) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(self._run(), name=f"redis hints {self._prefixes[0]}")

    def move(self) -> None:
        """Connect again, because another server is read now."""
        self._ending.add(self._task)
        self._task.add_done_callback(self._ending.discard)
        self._task.cancel()
        self._task = self._start()

    async def close(self) -> None:
        """Stop tracking."""
        self._task.cancel()
        await asyncio.gather(self._task, *self._ending, return_exceptions=True)

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                connection = await self._connect(RESP3)
                try:
                    await self._track(connection)
                    pause = FIRST_PAUSE_SECONDS
                    await self._listen(connection)
                finally:
                    connection.close()
            except Refused:
                pause = LONGEST_PAUSE_SECONDS
            except Fault:
                pass
            else:
                pause = NOISY_PAUSE_SECONDS
            await sleep(self._clock, pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    async def _track(self, connection: RedisConnection) -> None:
        options = [word for prefix in self._prefixes for word in ("PREFIX", prefix)]
        command = ("CLIENT", "TRACKING", "ON", "BCAST", *options)
        (answer,) = await connection.ask([command])
        if isinstance(answer, Exception):
            raise connection.fault(answer, command)
        self._changed(None)

    async def _listen(self, connection: RedisConnection) -> None:
        """Pass on changes, until there are too many."""
        since, heard = self._clock.now(), 0
        while heard <= NOISY_MESSAGES:
            self._changed(await connection.invalidated())
            heard += 1
            if self._clock.now() - since >= 1.0:
                since, heard = self._clock.now(), 0
