"""Source `sidekiq`: Sidekiq's processes, queues and scheduled jobs, read from its Redis."""

from scaler.sources.base import Rate, Source
from scaler.sources.sidekiq.reader import SidekiqReader
from scaler.sources.sidekiq.trigger import SidekiqTrigger

SOURCE = Source("sidekiq", SidekiqTrigger, (SidekiqReader,), (Rate("redis", 50, "Pipelined reads of one Redis."),))
