"""What is read from SQS: queues and listings, as whom and where, and the counts that are found."""

import re
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

from scaler.core.domain import Place

QUEUE_NAME = re.compile(r"(?!.{81})[A-Za-z0-9_-]+(\.fifo)?")


@dataclass(frozen=True, slots=True)
class Account:
    """As whom and where SQS is asked: readings are never shared across two of these."""

    region: str
    endpoint: str | None
    role: str | None
    namespace: str  # empty without a role: the scaler's own identity is the same for all

    @property
    def backend(self) -> str:
        """The account and region that AWS's limits count for, as far as they are known."""
        if self.endpoint is not None:
            return f"sqs/{urlsplit(self.endpoint).netloc}"
        return f"sqs/{self.role.split(':')[4] if self.role else 'own-account'}/{self.region}"

    def __str__(self) -> str:
        """Say where and as whom, as far as it is not the normal way."""
        return (
            f"{self.region}{f' at {self.endpoint}' if self.endpoint else ''}{f' as {self.role}' if self.role else ''}"
        )


@dataclass(frozen=True, slots=True)
class Queue(Place):
    """The three counts of one queue. `queue` is its URL or its name.

    `named_too`: the trigger gives this URL and the same name besides, which is to be proved to mean one queue.
    """

    kind: ClassVar[str] = "sqs-queue"

    account: Account
    queue: str
    named_too: bool = False

    @property
    def backend(self) -> str:
        """The account and region."""
        return self.account.backend

    def __str__(self) -> str:
        """Name the queue and where it is."""
        return f"SQS queue {queue_name(self.queue)} in {self.account}"


@dataclass(frozen=True, slots=True)
class Listing(Place):
    """The queues whose name begins with `prefix`, read as `Listed`."""

    kind: ClassVar[str] = "sqs-listing"
    min_refresh_seconds: ClassVar[float] = 60.0

    account: Account
    prefix: str

    @property
    def backend(self) -> str:
        """The account and region."""
        return self.account.backend

    def __str__(self) -> str:
        """Name the prefix and where it is looked for."""
        return f"SQS queues {self.prefix}* in {self.account}"


@dataclass(frozen=True, slots=True)
class Listed:
    """What a prefix stands for: the URLs of its queues, and the names of those left out because others' dead letters go there."""

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
