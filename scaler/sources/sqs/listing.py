"""Finds the queues with a prefix: from all pages of ListQueues, without dead-letter queues."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from scaler.core.errors import Refused, Unavailable
from scaler.sources.sqs.answers import parse_body, parse_dead_letter, parse_listing
from scaler.sources.sqs.places import Listed, queue_name

MAX_LISTED = 1_000
"""Limit of queues with one prefix: each is a request at every refresh. It is also the page size of ListQueues."""
MAX_PAGES, MAX_TOKEN = 100, 4_096
"""Pages of one listing, which may be short or empty, and characters of a `NextToken`, which has a few hundred."""
AGAIN = 5
"""At each listing one in so many known queues is asked for its policy again, so each one every 5 minutes."""
AT_ONCE = 8

AskPage = Callable[[Mapping[str, Any]], Awaitable[bytes]]
AskPolicy = Callable[[str], Awaitable[bytes | None]]
"""Returns the answer for the queue of a URL, or None if SQS says that it does not exist."""


class Pages:
    """Collects the pages of one ListQueues, in order; raises `Unavailable` if one may be missing."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._tokens: list[str] = []
        self.urls: dict[str, None] = {}  # a dict, because a queue may be in two pages
        self.complete = False

    @property
    def request(self) -> dict[str, Any]:
        """The request for the next page."""
        request = {"QueueNamePrefix": self._prefix, "MaxResults": MAX_LISTED}
        return request | ({"NextToken": self._tokens[-1]} if self._tokens else {})

    def add(self, answer: Mapping[str, Any]) -> None:
        """Add a page; the last one has no `NextToken`, or null. Raises `Refused` if there are too many queues."""
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
        elif not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN:
            raise Unavailable("ListQueues answered with an unusable NextToken: pages may be missing")
        elif token in self._tokens:
            raise Unavailable("ListQueues leads back to a page that was there before: pages are missing")
        elif len(self._tokens) >= MAX_PAGES:
            raise Unavailable(f"ListQueues answered more than {MAX_PAGES} pages; does the endpoint speak SQS?")
        else:
            self._tokens.append(token)


class Finder:
    """Finds the queues with one prefix, and remembers them for the next listing."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._policies: dict[str, str] = {}
        """The name of the dead-letter queue, or "", by URL; the URL that was asked longest ago comes first."""

    async def find(self, ask_page: AskPage, ask_policy: AskPolicy) -> Listed:
        """Return the queues with the prefix; raises `Fault`.

        ListQueues lags behind, and a page may be missing. So a known queue that is no longer listed is dropped only if
        SQS says that it does not exist, and so is one that is listed but deleted.
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
        for outcome in outcomes:  # after the loop, so that the other outcomes are kept for the next time
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
