"""Queues of a prefix that are dead-letter queues by their names alone: the queues that name them have another prefix.

They count. ListDeadLetterSourceQueues would tell for sure, for one more right and one more request for each queue.
"""

import re
from collections.abc import Iterable, Sequence

from scaler.core.domain import Component
from scaler.sources.sqs.places import Counts, Queue, queue_name

SHOWN = 5


def likely_dead(queues: Iterable[Queue]) -> Iterable[Component]:
    """Tell which of the queues that count are called dead-letter queues."""
    names = [name for each in queues if _is_dead(name := queue_name(each.queue))]
    if names:
        note = f"counted, because no queue with the prefix names them: {shown(names)}; to leave them out: excludeQueues"
        yield Component("named like dead-letter queues", len(names), "queues", note)


def dead_alone(queues: Iterable[Queue], counts: Iterable[Counts]) -> Iterable[str]:
    """Tell if all messages are in such queues, from which mostly no worker takes them."""
    full = [queue_name(queue.queue) for queue, count in zip(queues, counts, strict=True) if count != Counts(0, 0, 0)]
    if full and all(map(_is_dead, full)):
        yield (
            f"all messages are in what its name says is a dead-letter queue: {shown(full)}; if no worker takes them, "
            f'write excludeQueues: "{",".join(full[:SHOWN])}"'
        )


def shown(names: Sequence[str]) -> str:
    """Return the first few of `names`."""
    return ", ".join(names[:SHOWN]) + ", …" * (len(names) > SHOWN)


def _is_dead(name: str) -> bool:
    return re.search("dlq|dead[-_]?letter", name, re.IGNORECASE) is not None
