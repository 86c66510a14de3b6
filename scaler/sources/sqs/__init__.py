"""Source `sqs`: the backlog of SQS queues."""

from scaler.sources.base import Rate, Source
from scaler.sources.sqs.prices import price_per_million
from scaler.sources.sqs.reader import SqsReader
from scaler.sources.sqs.trigger import SqsTrigger

SOURCE = Source(
    "sqs",
    SqsTrigger,
    (SqsReader,),
    (Rate("sqs", 200, "For one AWS account and region."),),
    price_per_million,
    least_cooldown_seconds=120,  # the counts may lag by a minute
    least_window_seconds=60,  # the counts are approximate
)
