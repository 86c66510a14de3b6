"""Which queues a prefix stands for: every page of ListQueues, no queue lost on the way, and no dead-letter queue."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from scaler.core.errors import Refused, Unavailable
from scaler.sources.sqs.answers import parse_body, parse_dead_letter, parse_listing
from scaler.sources.sqs.places import Listed, queue_name

MAX_LISTED = 1_000
"""Queues of one prefix: each is a request for every refresh, and what ListQueues gives in one page."""
AGAIN = 5
"""Of the queues that are known, one in so many is asked for its policy again at each listing, so each every 5 minutes."""
AT_ONCE = 8

AskPage = Callable[[Mapping[str, Any]], Awaitable[bytes]]
AskPolicy = Callable[[str], Awaitable[bytes | None]]
"""Returns the answer about the queue of a URL, or None if SQS says that there is none."""


class Pages:
    """The pages of one ListQueues, taken in their order; raises `Unavailable` if one may be missing."""

    def __init__(self, prefix: str) -> None:
        """Begin before the first."""
        self._prefix = prefix
        self._tokens: list[str] = []
        self.urls: dict[str, None] = {}  # in order, each once: a queue may slip from one page to the next
        self.complete = False

    @property
    def request(self) -> dict[str, Any]:
        """The request for the next page."""
        request = {"QueueNamePrefix": self._prefix, "MaxResults": MAX_LISTED}
        return request | ({"NextToken": self._tokens[-1]} if self._tokens else {})

    def add(self, answer: Mapping[str, Any]) -> None:
        """Take a page: the last one has no `NextToken`, or null. Raises `Refused` if it is too many."""
        self.urls |= dict.fromkeys(parse_listing(answer, self._prefix))
        if len(self.urls) > MAX_LISTED:
            raise Refused(f"more than {MAX_LISTED} queues; choose a longer queueNamePrefix")
        if len({url.rpartition("/")[0] for url in self.urls}) > 1:
            raise Unavailable(
                "ListQueues answered queues of several accounts or hosts: the pages do not belong together"
            )
        token = answer.get("NextToken")
        if token is None:
            self.complete = True
        elif not isinstance(token, str) or not token:
            raise Unavailable("ListQueues answered with an unusable NextToken: pages may be missing")
        elif token in self._tokens:
            raise Unavailable("ListQueues leads back to a page that was there before: pages are missing")
        else:
            self._tokens.append(token)


class Finder:
    """Finds the queues of one prefix, and remembers them from one time to the next."""

    def __init__(self, prefix: str) -> None:
        """Know nothing yet."""
        self._prefix = prefix
        self._policies: dict[str, str] = {}
        """By URL, the name of the dead-letter queue, or nothing; whoever was asked longest ago first."""

    async def find(self, ask_page: AskPage, ask_policy: AskPolicy) -> Listed:
        """Return the queues with the prefix; raises `Fault`.

        A queue that was there before and is not listed any more is gone only if SQS says so of itself: ListQueues lags
        behind, and a page may be lacking. So does one that is listed but gone.
        """
        pages = Pages(self._prefix)
        while not pages.complete:
            pages.add(parse_body(await ask_page(pages.request)))
        known = list(self._policies)
        unknown = [url for url in pages.urls if url not in self._policies]
        missing = [url for url in known if url not in pages.urls]
        again = [url for url in known if url in pages.urls][: -(-len(known) // AGAIN)]
        room = asyncio.Semaphore(AT_ONCE)

        async def ask(url: str) -> None:
            async with room:
                body = await ask_policy(url)
            self._policies.pop(url, None)
            if body is not None:
                self._policies[url] = parse_dead_letter(parse_body(body))

        outcomes = await asyncio.gather(*map(ask, (*unknown, *missing, *again)), return_exceptions=True)
        for outcome in outcomes:  # what was learned from the others is kept for the next time
            if outcome is not None:
                raise outcome
        return self._listed()

    def _listed(self) -> Listed:
        if not self._policies:
            raise Refused("no queue has this prefix; check queueNamePrefix and awsRegion")
        dead = {name for url, name in self._policies.items() if name != queue_name(url)}
        urls = sorted(self._policies)
        return Listed(
            tuple(url for url in urls if queue_name(url) not in dead),
            tuple(name for url in urls if (name := queue_name(url)) in dead),
        )
