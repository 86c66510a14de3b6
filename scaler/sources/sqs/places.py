"""Places in SQS: queues and listings, each with account, region and role; and their values."""

import re
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

from scaler.core.domain import Place

QUEUE_NAME = re.compile(r"(?!.{81})[A-Za-z0-9_-]+(\.fifo)?")


@dataclass(frozen=True, slots=True)
class Account:
    """Region, endpoint and identity of a read; readings are never shared between two of these."""

    region: str
    endpoint: str | None
    role: str | None
    namespace: str  # empty without a role, because the scaler's own identity is the same for all namespaces

    @property
    def backend(self) -> str:
        """The account and region that AWS's rate limits apply to, as far as they are known."""
        if self.endpoint is not None:
            return f"sqs/{urlsplit(self.endpoint).netloc}"
        return f"sqs/{self.role.split(':')[4] if self.role else 'own-account'}/{self.region}"

    def __str__(self) -> str:
        return (
            f"{self.region}{f' at {self.endpoint}' if self.endpoint else ''}{f' as {self.role}' if self.role else ''}"
        )


@dataclass(frozen=True, slots=True)
class SqsPlace(Place):
    """A place in one account and region."""

    account: Account

    @property
    def backend(self) -> str:
        """The account and region."""
        return self.account.backend


@dataclass(frozen=True, slots=True)
class Queue(SqsPlace):
    """The three counts of one queue. `queue` is its URL or its name.

    `named_too`: the trigger has this URL and also its bare name, so the reader must prove that both are the same queue.
    """

    kind: ClassVar[str] = "sqs-queue"

    queue: str
    named_too: bool = False

    def __str__(self) -> str:
        return f"SQS queue {queue_name(self.queue)} in {self.account}"


@dataclass(frozen=True, slots=True)
class Listing(SqsPlace):
    """The queues whose name begins with `prefix`, read as `Listed`."""

    kind: ClassVar[str] = "sqs-listing"
    min_refresh_seconds: ClassVar[float] = 60.0

    prefix: str

    def __str__(self) -> str:
        return f"SQS queues {self.prefix}* in {self.account}"


@dataclass(frozen=True, slots=True)
class Listed:
    """The URLs of the queues with a prefix, and the names of the dead-letter queues that were left out."""

    queues: tuple[str, ...]
    dead_letter: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """The approximate counts of one queue, in messages."""

    visible: int
    in_flight: int
    delayed: int


def queue_name(queue: str) -> str:
    """Return the name of a queue given by URL or name."""
    return queue.rpartition("/")[2]
