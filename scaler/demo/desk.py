"""The parts of `answers` on top of a store, with methods to call them in tests."""

import asyncio
from collections.abc import Iterator
from typing import Any

from scaler.answers.answer import Answers
from scaler.answers.leases import Leases
from scaler.answers.listeners import Listeners
from scaler.answers.registry import Registry
from scaler.answers.scaledobject import ScaledObject
from scaler.answers.state import Answer
from scaler.core.domain import Assessment
from scaler.core.errors import ScalerError
from scaler.core.quota import Quota
from scaler.demo.clock import ManualClock
from scaler.sources.access import Access
from scaler.store.snapshots import Snapshots

WAIT_SECONDS = 1.9


class Desk:
    """Registry, leases, answers and listeners of a test, with short ways to call them."""

    def __init__(
        self,
        store: Snapshots,
        access: Access,
        clock: ManualClock,
        *,
        limit: int,
        per_namespace: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.clock = clock
        limits = {"max_metadata_bytes": 65_536, "max_metadata_total_bytes": 32 << 20, "keep_seconds": 900.0}
        quota = Quota(limit, "limits.maxScaledObjects", per_namespace)
        lease_seconds = kwargs.pop("lease_seconds", 100.0)
        self.registry = Registry(access, clock, max_scaled_objects=quota, grown=lambda: None, **{**limits, **kwargs})
        self.leases = Leases(store, clock, lease_seconds)
        self.answers = Answers(store, self.leases, clock)
        self.listeners = Listeners(store, self.leases, self.answers, clock)
        self.find, self.find_ref, self.forget_old = self.registry.find, self.registry.find_ref, self.registry.forget_old
        self.listening, self.says_active = self.listeners.listening, self.listeners.says_active

    def __len__(self) -> int:
        return len(self.registry)

    def __iter__(self) -> Iterator[ScaledObject]:
        return iter(self.registry)

    def who(self, spots: str = "a", namespace: str = "shop", **metadata: str) -> ScaledObject:
        """Return the ScaledObject with this metadata of the scripted source."""
        return self.find(namespace, "orders", {"source": "scripted", "spots": spots, **metadata})

    async def answer(self, who: ScaledObject) -> Answer:
        """Call as GetMetrics does, with a backend that answers at once."""
        task = asyncio.ensure_future(self.answers.answer(who, 1.9))
        await self.clock.advance(0)
        try:
            answer = await task
        except ScalerError as error:
            self.answers.note_poll(who, error)
            raise
        self.answers.note_poll(who, answer)
        return answer

    async def told(self, who: ScaledObject) -> Assessment:
        """Return what KEDA is told by `answer`."""
        return (await self.answer(who)).told

    def rest(self) -> None:
        """Drop the leases that have ended."""
        self.leases.rest(self.registry)
