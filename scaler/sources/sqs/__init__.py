"""Source `sqs`: the backlog of SQS queues."""

from scaler.sources.base import Source
from scaler.sources.sqs.reader import SqsReader
from scaler.sources.sqs.trigger import SqsTrigger

SOURCE = Source("sqs", SqsTrigger, (SqsReader,))
