"""The places of a trigger, by what they are for."""

from collections.abc import Iterator
from dataclasses import dataclass

from scaler.sources.sidekiq.due_jobs import DueJobs
from scaler.sources.sidekiq.known_queues import KnownQueues
from scaler.sources.sidekiq.places import OldestJob, QueueDepth, SidekiqPlace
from scaler.sources.sidekiq.private_queues import PrivateQueues
from scaler.sources.sidekiq.process_set import ProcessSet


@dataclass(frozen=True, slots=True)
class Plan:
    """The places of a trigger, by what they are for."""

    processes: ProcessSet
    due: DueJobs
    known: KnownQueues
    depths: tuple[QueueDepth, ...]
    oldest: tuple[OldestJob, ...]
    private: PrivateQueues | None = None

    def __iter__(self) -> Iterator[SidekiqPlace]:
        yield from (self.processes, self.due, self.known, *self.depths, *self.oldest)
        if self.private is not None:
            yield self.private
