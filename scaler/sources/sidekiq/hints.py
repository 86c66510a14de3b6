"""Hears from Redis which queues have changed, so that they are read at once; where it cannot, polling is enough."""

import asyncio
from collections.abc import Awaitable, Callable

from scaler.clients.redis.connection import RedisConnection
from scaler.core.clock import Clock, sleep
from scaler.core.errors import Fault, Refused

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
"""Between attempts; a Redis that does not allow tracking is asked again only after this."""
NOISY_MESSAGES = 200
"""In one second: queues that change more often are polled, which is cheaper than to hear of each change."""
NOISY_PAUSE_SECONDS = 30.0


class Hints:
    """Client tracking in broadcast mode (redis.io, client-side caching) on a connection of its own.

    Nothing is lost with the connection: after each time that it is made, all keys count as changed.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[RedisConnection]],
        prefix: str,
        changed: Callable[[list[bytes] | None], None],
        clock: Clock,
    ) -> None:
        """Listen until `close`: `connect` makes a RESP3 connection, `changed` gets keys, or None for all of them."""
        self._connect = connect
        self._prefix = prefix
        self._changed = changed
        self._clock = clock
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"redis hints {prefix}")

    async def close(self) -> None:
        """Stop listening."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                connection = await self._connect()
                try:
                    await self._track(connection)
                    pause = FIRST_PAUSE_SECONDS
                    await self._listen(connection)
                finally:
                    await connection.close()
            except Refused:
                pause = LONGEST_PAUSE_SECONDS
            except Fault:
                pass
            else:
                pause = NOISY_PAUSE_SECONDS
            await sleep(self._clock, pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    async def _track(self, connection: RedisConnection) -> None:
        prefixes = [f"{self._prefix}{name}" for name in ("queue:", "schedule", "retry")]
        options = [word for prefix in prefixes for word in ("PREFIX", prefix)]
        command = ("CLIENT", "TRACKING", "ON", "BCAST", *options)
        (answer,) = await connection.ask([command])
        if isinstance(answer, Exception):
            raise connection.fault(answer, command)
        self._changed(None)

    async def _listen(self, connection: RedisConnection) -> None:
        """Pass on what changes, until there is too much of it."""
        since, heard = self._clock.now(), 0
        while heard <= NOISY_MESSAGES:
            self._changed(await connection.invalidated())
            heard += 1
            if self._clock.now() - since >= 1.0:
                since, heard = self._clock.now(), 0
