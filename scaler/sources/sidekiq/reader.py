"""Reads Sidekiq from Redis."""

from typing import Any, ClassVar

from scaler.core.version import page
from scaler.sources.redis_reader import RedisReader
from scaler.sources.sidekiq.places import SidekiqPlace


class SidekiqReader(RedisReader):
    """Reads the places of Sidekiq, and tracks keys to notice new, scheduled and retried jobs."""

    rights: ClassVar[str] = page("sidekiq.md#the-user-of-the-scaler")
    kinds: ClassVar[frozenset[str]] = frozenset({SidekiqPlace.kind})

    def tracked(self, place: Any) -> tuple[str, ...]:
        """Return the key prefixes to track in one namespace of redis-namespace."""
        return tuple(f"{place.prefix}{name}" for name in ("queue:", "schedule", "retry"))
