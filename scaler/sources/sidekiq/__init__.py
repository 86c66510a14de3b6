"""Source `sidekiq`: Sidekiq's processes, queues and scheduled jobs, read from its Redis."""

from scaler.sources.base import Rate, Source
from scaler.sources.sidekiq.reader import SidekiqReader
from scaler.sources.sidekiq.trigger import SidekiqTrigger

SOURCE = Source(
    "sidekiq",
    SidekiqTrigger,
    (SidekiqReader,),
    (Rate("redis", 50, "Pipelined reads of one Redis."),),
    least_cooldown_seconds=60,  # a killed process beats on for a minute
    least_window_seconds=60,  # a process reports its busy threads every 10 s
)
