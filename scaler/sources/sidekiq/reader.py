"""Reads Sidekiq from Redis."""

from typing import Any, ClassVar

from scaler.sources.redis_reader import RedisReader
from scaler.sources.sidekiq.places import SidekiqPlace


class SidekiqReader(RedisReader):
    """Reads the places of Sidekiq, and hears of jobs that were enqueued, scheduled or are to be retried."""

    rights: ClassVar[str] = "docs/sidekiq.md"
    kinds: ClassVar[frozenset[str]] = frozenset({SidekiqPlace.kind})

    def tracked(self, place: Any) -> tuple[str, ...]:
        """Return the keys of one namespace of redis-namespace that its places watch."""
        return tuple(f"{place.prefix}{name}" for name in ("queue:", "schedule", "retry"))
