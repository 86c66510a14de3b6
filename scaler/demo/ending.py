"""Ends tasks for certain, also those that lose a cancellation."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 0.5


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel `tasks` until all have ended, whatever they raise.

    redis-py waits by `asyncio.wait_for`, which before Python 3.12 loses a cancellation if what it waits for is ready at
    the same moment (python/cpython#86296).
    """
    given = pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
    await asyncio.gather(*given, return_exceptions=True)  # so that no error counts as overlooked
