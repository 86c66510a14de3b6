"""Open streams, and how long after an arrival each of them says `true`."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Hashable

from bench.requests import STREAM
from bench.wire import Wire


class Listener:
    """Streams, several at one place if need be."""

    def __init__(self, wire: Wire) -> None:
        """Open streams over `wire`."""
        self._wire = wire
        self._streams: dict[Hashable, list[int]] = defaultdict(list)
        self._arrived: dict[Hashable, float] = {}
        self._awaited: set[tuple[Hashable, int]] = set()
        self._heard = asyncio.Event()
        self.latencies: dict[Hashable, list[float]] = defaultdict(list)
        self.broken = 0

    def open(self, place: Hashable, request: bytes) -> None:
        """Open a stream at `place`."""
        stream = len(self._streams[place])
        self._streams[place].append(stream)
        self._wire.call(STREAM, request, self._ended, lambda: self._pushed(place, stream))

    def arrives(self, place: Hashable) -> None:
        """Note that work arrives at `place` now."""
        self._arrived[place] = time.perf_counter()
        self._awaited |= {(place, stream) for stream in self._streams[place]}

    async def all_heard(self, seconds: float) -> int:
        """Wait until every stream at every arrival has said `true`, `seconds` at most; return how many have not."""
        try:
            async with asyncio.timeout(seconds):
                while self._awaited:
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            pass  # what is missing is told
        return len(self._awaited)

    def _ended(self, _: bytes | None) -> None:
        self.broken += 1

    def _pushed(self, place: Hashable, stream: int) -> None:
        if (place, stream) in self._awaited:
            self._awaited.discard((place, stream))
            self.latencies[place].append(time.perf_counter() - self._arrived[place])
            self._heard.set()
