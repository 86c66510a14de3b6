"""What the watches of one client have together, of which no tenant gets so much that others go without."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from scaler.clients.kubernetes.json_stream import EventLines, ListPage
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.core.budget import Budget
from scaler.core.turns import rest

LISTS_AT_ONCE = 6
"""Pages of lists on their way at the same time; one tenant alone gets half of them."""
LARGE_STEP = 2**12
"""Bytes of a large object that are taken apart at once: the worst that JSON can hold takes some milliseconds."""


class Shares:
    """Counts objects, watches and pages of lists for each tenant, and gives turns at taking answers apart."""

    def __init__(self, settings: KubernetesSettings) -> None:
        self.objects = Budget(settings.max_objects, "objects (setting kubernetes.maxObjects)")
        self.watches = Budget(settings.max_watches, "watches (setting kubernetes.maxWatches)")
        self.lists = Budget(LISTS_AT_ONCE, "lists on their way")
        # Of two, of which a tenant may hold no more than it leaves free, one is held at a time.
        self._large = Budget(2, "large objects at once")

    @asynccontextmanager
    async def taking(
        self, text: ListPage | EventLines, feed: Callable[[bytes], None]
    ) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
        """Yield what hands the bytes of one answer to `feed`, which puts them into `text`, in turns with all other work.

        Large objects, which may take a hundred megabytes while they are decoded, are taken apart one at a time.
        """
        async with AsyncExitStack() as alone:
            is_alone = False

            async def take(data: bytes) -> None:
                nonlocal is_alone
                at = 0
                while at < len(data):
                    end = at + LARGE_STEP if text.large else len(data)
                    await rest()
                    feed(data[at:end])
                    at = end
                    if text.large and not is_alone:
                        await alone.enter_async_context(self._large.hold(1))
                    elif is_alone and not text.large:
                        await alone.aclose()
                    is_alone = text.large

            yield take
