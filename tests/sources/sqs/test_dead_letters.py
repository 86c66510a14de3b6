"""Dead-letter queues that no queue with the prefix names: they count, and are told by their names."""

from typing import Any

import pytest

from scaler.core.domain import Assessment
from scaler.sources.sqs.places import Counts, Listed, Queue
from scaler.sources.triggers import parse

BASE = "https://sqs.eu-west-1.amazonaws.com/123456789012/"


def assessed(messages: dict[str, int], **metadata: str) -> Assessment:
    made = parse({"source": "sqs", "awsRegion": "eu-west-1", **(metadata or {"queueNamePrefix": "shop"})}, "shop")
    (first, *_) = made.places()
    queues: dict[Any, Any] = {Queue(made.account, BASE + name): Counts(count, 0, 0) for name, count in messages.items()}
    listing = {} if isinstance(first, Queue) else {first: Listed(tuple(BASE + name for name in messages))}
    return made.assess(listing | queues, 0.0)


@pytest.mark.parametrize("name", ["shop-dlq", "shop-orders-DLQ.fifo", "shopDeadLetterQueue1A2B", "shop_dead-letters"])
def test_dead_messages_that_are_all_there_is_are_told(name: str) -> None:
    found = assessed({"shop-orders": 0, name: 40})
    assert (found.active, found.metrics[0].value) == (True, 40)
    assert found.reasons[1] == (
        f"all messages are in what its name says is a dead-letter queue: {name}; if no worker takes them, "
        f'write excludeQueues: "{name}"'
    )
    part = found.components[-1]
    assert (part.name, part.value, part.unit) == ("named like dead-letter queues", 1, "queues")
    assert part.note == (
        f"counted, because no queue with the prefix names them: {name}; to leave them out: excludeQueues"
    )


def test_beside_other_messages_they_are_named_alone() -> None:
    found = assessed({"shop-orders": 1, "shop-dlq": 40})
    assert len(found.reasons) == 1
    assert found.components[-1].name == "named like dead-letter queues"


def test_what_is_excluded_as_told_is_gone() -> None:
    found = assessed({"shop-orders": 0, "shop-dlq": 40}, queueNamePrefix="shop", excludeQueues="shop-dlq")
    assert (found.active, found.metrics[0].value) == (False, 0)
    assert "named like" not in str(found.components)


@pytest.mark.parametrize(
    "found",
    [
        assessed({"shop-orders": 3, "shop-deadline": 0}),
        assessed({"shop-dlq": 3}, queueURL=BASE + "shop-dlq"),  # asked for by name
    ],
    ids=["other names", "by name"],
)
def test_others_are_not_suspected(found: Assessment) -> None:
    assert len(found.reasons) == 1
    assert "named like" not in str(found.components)


def test_nothing_is_said_while_they_are_empty_but_what_is_counted() -> None:
    found = assessed({"shop-orders": 0, "shop-dlq": 0})
    assert (found.active, len(found.reasons)) == (False, 1)
    assert found.components[-1].name == "named like dead-letter queues"
