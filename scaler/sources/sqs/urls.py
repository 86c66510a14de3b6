"""Queues as triggers name them, by URL or by name. Pure."""

import re
from collections.abc import Sequence

from scaler.clients.aws.settings import domain_of, region_of_host
from scaler.sources.sqs.places import QUEUE_NAME, Account, Queue

HOST = r"(?P<host>[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
QUEUE_URL = re.compile(
    rf"https?://{HOST}/(?:queue/[a-z]+-[a-z-]+-[0-9]/)?(?P<account>[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)?)/(?P<name>[^/]+)"
)
"""Yandex has two parts, of its cloud and folder, where AWS has the account. LocalStack has `queue/REGION` before it, with
its endpoint strategy `path`.
"""
_NO_ACCOUNT = {"queue": "000000000000"}
"""ElasticMQ and older LocalStacks answer to both for the same queue."""
_ARN = re.compile(r"arn:[a-z-]+:sqs:(?P<region>[a-z0-9-]+):(?P<account>[0-9]+):(?P<name>[A-Za-z0-9_.-]+)")


def queue_problem(queue: str) -> str | None:
    """Return what a queue must be written as, if it is not: a URL or a name."""
    if arn := _ARN.fullmatch(queue):
        url = f"https://sqs.{arn['region']}.{domain_of(arn['region'])}/{arn['account']}/{arn['name']}"
        return f"a URL or a name, not an ARN: {url}"
    if "://" not in queue:
        named = QUEUE_NAME.fullmatch(queue)
        return None if named else "a URL, or a name of up to 80 letters, digits, '-' and '_', which may end in .fifo"
    found = QUEUE_URL.fullmatch(queue)
    if found is None or (queue.count("/") > 4 and region_of(queue)) or not QUEUE_NAME.fullmatch(found["name"]):
        return "https://HOST/ACCOUNT/NAME, or the name of the queue"
    return None


def region_of(queue: str) -> str | None:
    """Return the region in the URL of a queue, or None."""
    url = QUEUE_URL.fullmatch(queue)
    return region_of_host(url["host"]) if url else None


def by_url(queues: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return the URLs by account and name, because SQS ignores the host of a URL."""
    matches = [(queue, match) for queue in queues if (match := QUEUE_URL.fullmatch(queue))]
    return {_of_account(match): queue for queue, match in reversed(matches)}


def _of_account(url: re.Match[str]) -> tuple[str, str]:
    """Return account and name of a queue."""
    return _NO_ACCOUNT.get(url["account"], url["account"]), url["name"]


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
            found[Queue(account, urls[_of_account(match)], named_too)] = None
        elif own is not None:
            found[Queue(account, urls.get((own, queue), queue))] = None
        elif queue not in {name for _, name in urls}:
            found[Queue(account, queue)] = None
    return tuple(found)
