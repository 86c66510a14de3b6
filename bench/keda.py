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

    chains: int = 0  # that were begun, of three calls each
    latencies: list[float] = field(default_factory=list)
    failed: int = 0
    broken_streams: int = 0

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
        self.streams_heard = 0
        self._chains = 0

    def so_far(self) -> Outcome:
        """Return what the calls came to since the last time, and begin to count anew."""
        outcome, self.outcome = self.outcome, Outcome()
        return outcome

    def chain(self, trigger: Trigger) -> None:
        """Call GetMetricSpec, GetMetrics and IsActive one after the other; a call that fails ends it."""
        calls = iter(
            ((SPEC, trigger.requests.ref()), (METRICS, trigger.requests.metric()), (ACTIVE, trigger.requests.ref()))
        )
        self._chains += 1
        self.outcome.chains += 1

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
        """Open StreamIsActive; it is heard once it has said `true`."""
        heard = False

        def pushed() -> None:
            nonlocal heard
            self.streams_heard += not heard
            heard = True

        def ended(_: bytes | None) -> None:
            self.outcome.broken_streams += 1

        self._wire.call(STREAM, trigger.requests.ref(), ended, pushed)

    async def each_once(self, triggers: Sequence[Trigger], at_once: int) -> None:
        """Poll every one of `triggers`, `at_once` at a time."""
        for start in range(0, len(triggers), at_once):
            for trigger in triggers[start : start + at_once]:
                self.chain(trigger)
            await self.quiet()

    async def run(self, triggers: Sequence[Trigger], seconds: float, seed: int) -> None:
        """Poll and sync each of `triggers` in its own phase, which `seed` draws, for `seconds`; wait for the answers."""
        now, dice = time.monotonic(), random.Random(seed)  # noqa: S311 - not a secret
        due = [
            (now + dice.random() * period, number, period)
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
