"""KEDA's and the HPA's calls for a whole fleet, over one connection as KEDA has it."""

import asyncio
import heapq
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.requests import ACTIVE, METRICS, SPEC, STREAM, Trigger
from bench.wire import Wire

POLL_SECONDS, SYNC_SECONDS = 30.0, 15.0
"""KEDA's default pollingInterval, and the HPA's period; both make the same three calls for an active ScaledObject."""


@dataclass
class Outcome:
    """What the calls came to: seconds for each that went well, and how many failed."""

    latencies: list[float] = field(default_factory=list)
    failed: int = 0
    broken_streams: int = 0
    pushes: int = 0

    @property
    def calls(self) -> int:
        """All that were answered."""
        return len(self.latencies) + self.failed


class Keda:
    """Calls for a fleet."""

    def __init__(self, wire: Wire) -> None:
        """Call over `wire`."""
        self._wire = wire
        self.outcome = Outcome()
        self._chains = 0

    def chain(self, trigger: Trigger) -> None:
        """Call GetMetricSpec, GetMetrics and IsActive one after the other; a call that fails ends it."""
        calls = iter(
            ((SPEC, trigger.requests.ref()), (METRICS, trigger.requests.metric()), (ACTIVE, trigger.requests.ref()))
        )
        self._chains += 1

        def following() -> None:
            call = next(calls, None)
            if call is None:
                self._chains -= 1
                return
            began = time.perf_counter()

            def done(message: bytes | None) -> None:
                if message is None:
                    self.outcome.failed += 1
                    self._chains -= 1
                else:
                    self.outcome.latencies.append(time.perf_counter() - began)
                    following()

            self._wire.call(*call, done)

        following()

    def listen(self, trigger: Trigger) -> None:
        """Open StreamIsActive."""

        def pushed() -> None:
            self.outcome.pushes += 1

        def ended(_: bytes | None) -> None:
            self.outcome.broken_streams += 1

        self._wire.call(STREAM, trigger.requests.ref(), ended, pushed)

    async def run(self, triggers: Sequence[Trigger], seconds: float) -> None:
        """Poll and sync each of `triggers` in its own phase for `seconds`, then wait for the answers."""
        now = time.monotonic()
        due = [
            (now + random.random() * period, number, period)  # noqa: S311 - not a secret
            for number in range(len(triggers))
            for period in (POLL_SECONDS, SYNC_SECONDS)
        ]
        heapq.heapify(due)
        end = now + seconds
        while due and due[0][0] < end:
            when, number, period = due[0]
            if (early := when - time.monotonic()) > 0:
                await asyncio.sleep(early)
            heapq.heapreplace(due, (when + period, number, period))
            self.chain(triggers[number])
        await self.quiet()

    async def quiet(self) -> None:
        """Wait until every chain has ended."""
        while self._chains:  # noqa: ASYNC110 - the end of a measurement, not a part of it
            await asyncio.sleep(0.01)
