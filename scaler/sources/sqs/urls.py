"""Queues as triggers name them, by URL or by name. Pure."""

import re
from collections.abc import Sequence

from scaler.clients.aws.settings import region_of_host
from scaler.sources.sqs.places import Account, Queue

HOST = r"(?P<host>[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
QUEUE_URL = re.compile(rf"https?://{HOST}/(?P<account>[A-Za-z0-9_-]+)/(?P<name>[^/]+)")


def region_of(queue: str) -> str | None:
    """Return the region in the URL of a queue, or None."""
    url = QUEUE_URL.fullmatch(queue)
    return region_of_host(url["host"]) if url else None


def by_url(queues: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return the URLs by account and name, because SQS ignores the host of a URL."""
    matches = [(queue, match) for queue in queues if (match := QUEUE_URL.fullmatch(queue))]
    return {(match["account"], match["name"]): queue for queue, match in reversed(matches)}


def ambiguous(queues: Sequence[str]) -> list[str]:
    """Return the names that are given as a bare name and also as URLs of several accounts."""
    names = [name for _, name in by_url(queues)]
    return [queue for queue in queues if names.count(queue) > 1]


def each_once(queues: Sequence[str], account: Account) -> tuple[Queue, ...]:
    """Return each of `queues` once, even if it is given by URL and by name.

    A bare name is in the account of the role. Without a role that account is not known here, so the reader has to prove
    that a name and a URL with this name are the same queue (`Queue.named_too`).
    """
    urls = by_url(queues)
    own = account.role.split(":")[4] if account.role else None
    found: dict[Queue, None] = {}
    for queue in queues:
        if match := QUEUE_URL.fullmatch(queue):
            named_too = own is None and match["name"] in queues
            found[Queue(account, urls[match["account"], match["name"]], named_too)] = None
        elif own is not None:
            found[Queue(account, urls.get((own, queue), queue))] = None
        elif queue not in {name for _, name in urls}:
            found[Queue(account, queue)] = None
    return tuple(found)
