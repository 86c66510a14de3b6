"""Reads counts and listings from SQS, with botocore's credentials, endpoints and signatures, and aiohttp's connections.

Requests use AWS's JSON protocol (`X-Amz-Target: AmazonSQS.…`). This takes a third of boto3's processor time and no
threads.
"""

import json
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, ClassVar

import aiohttp
from botocore.credentials import ReadOnlyCredentials
from botocore.utils import get_environ_proxies
from yarl import URL

from scaler.clients.aws.identity import EXPIRED, Identities, Identity, in_thread
from scaler.clients.aws.settings import AwsSettings, is_aws_host
from scaler.clients.aws.signature import Scope, Signed, signed_headers
from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import Names
from scaler.clients.http.problems import faults
from scaler.clients.http.session import Sessions
from scaler.clients.http.tls import client_context
from scaler.core.budget import Budget
from scaler.core.clock import Clock
from scaler.core.domain import CountRequests, Found, Place, Proof, SingleReader
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.sources.sqs.answers import (
    ATTRIBUTES,
    NO_QUEUE,
    POLICY,
    SKEWED,
    counts_of,
    parse_body,
    parse_identity,
)
from scaler.sources.sqs.exchange import Answer, Endpoint
from scaler.sources.sqs.listing import Finder
from scaler.sources.sqs.places import Account, Counts, Listed, Listing, Queue, queue_name

ATTRIBUTES_OF = "GetQueueAttributes"
MAX_BYTES = 1 << 19
"""Of an answer: a page of a thousand queues has a quarter of it."""
TURN_SECONDS = 4.0
MAX_ENDPOINTS = 10_000
"""Each was found in a thread, so they are not soon forgotten."""
SKEW_SECONDS = 60.0
"""A smaller clock difference does not explain a refused signature, because AWS allows at least five minutes."""


COUNTED = Proof(
    "every attribute that was asked for is in the answer", "the endpoint of the region, over TLS or allowed"
)
LISTED = Proof(
    "every page of ListQueues, to the one without NextToken, and no queue left out that SQS still has", COUNTED.origin
)


class SqsReader(SingleReader):
    """Reads every queue with one GetQueueAttributes."""

    kinds: ClassVar[frozenset[str]] = frozenset({Queue.kind, Listing.kind})
    timeout_seconds: ClassVar[float] = 5.0

    def __init__(  # noqa: PLR0913, PLR0917 - the clients of the process that it uses
        self,
        clock: Clock,
        addresses: Addresses,
        names: Names,
        aws: AwsSettings,
        budget: Budget,
        count_requests: CountRequests,
    ) -> None:
        """Connect to nothing yet; answers count against `budget`."""
        self._clock, self._aws = clock, aws
        self._budget, self._count_requests = budget, count_requests
        self._identities = Identities(clock)
        # The store holds each backend to its share of requests; a common limit would let one starve the others.
        self._sessions = Sessions(clock, addresses, names, connections=0)
        self._tls: ssl.SSLContext | bool | None = None
        self._endpoints: OrderedDict[tuple[str, str | None], Endpoint] = OrderedDict()
        self._signed: dict[Place, Signed] = {}  # signed requests of queues that answered well, to be sent again
        self._finding = Budget(2, "endpoints looked for at once")  # one at a time, tenants in rotation
        self._finders: dict[Listing, Finder] = {}
        self._proved: set[Queue] = set()  # queues whose name and URL were proved to be the same queue

    async def find(self, place: Queue | Listing) -> Found:
        """Return the `Counts` of a queue, or what is `Listed`."""
        try:
            if isinstance(place, Queue):
                return Found(await self._count(place), COUNTED)
            return Found(await self._list(place), LISTED)
        except Fault as fault:
            raise type(fault)(f"{place}: {fault}") from None

    async def _count(self, place: Queue) -> Counts:
        if place.named_too and place not in self._proved:
            await self._prove_same(place)
        request = {"QueueUrl": place.queue, "AttributeNames": list(ATTRIBUTES.values())}
        return counts_of((await self._answer(place.account, ATTRIBUTES_OF, request, place)).good(ATTRIBUTES_OF))

    async def _prove_same(self, place: Queue) -> None:
        """Raise `Refused` if the bare name in the trigger is another queue than the URL: it would not be counted."""
        name, (account, _) = queue_name(place.queue), place.queue.rsplit("/", 2)[1:]
        request = {"QueueUrl": name, "AttributeNames": ["QueueArn"]}
        answer = await self._answer(place.account, ATTRIBUTES_OF, request)
        found, _ = parse_identity(parse_body(answer.good(ATTRIBUTES_OF)))
        if account.isdecimal() and found != account:  # elasticmq has a word instead of the account
            raise Refused(
                f"queueURL gives {name} by its URL in account {account} and by name, which is a queue of account {found}; "
                "give both by URL"
            )
        self._proved.add(place)

    async def _list(self, place: Listing) -> Listed:
        async def ask_page(request: Mapping[str, Any]) -> bytes:
            return (await self._answer(place.account, "ListQueues", request)).good("ListQueues")

        async def ask_policy(url: str) -> bytes | None:
            request = {"QueueUrl": url, "AttributeNames": [ATTRIBUTES["visible"], POLICY]}
            answer = await self._answer(place.account, ATTRIBUTES_OF, request)
            if answer.code in NO_QUEUE:
                return None
            return answer.good(ATTRIBUTES_OF)

        finder = self._finders.setdefault(place, Finder(place.prefix))
        return await finder.find(ask_page, ask_policy)

    async def _answer(
        self, account: Account, operation: str, request: Mapping[str, Any], again: Queue | None = None
    ) -> Answer:
        """Return AWS's answer, good or bad; after an error about credentials or clocks it is tried once more.

        `again` is the queue whose every read sends this same request, so that its signature is kept.
        """
        answer = await self._ask(account, operation, request, again)
        if answer.status != 200 and self._mended(account, answer):
            answer = await self._ask(account, operation, request, again)
        return answer

    def _identity(self, account: Account) -> Identity:
        if account.role is None:
            return self._identities.own()
        grant = self._aws.grant(account.namespace, account.role)
        if grant is None:
            raise Refused(f"aws.roles does not grant role {account.role} to namespace {account.namespace}")
        return self._identities.role(account.role, grant.external_id, account.namespace, account.region)

    def _mended(self, account: Account, answer: Answer) -> bool:
        """Renew credentials or clock after an error about them; tell whether the same request may succeed now."""
        if answer.code in EXPIRED:
            self._identity(account).renew(answer.credentials)
            return True
        return answer.code in SKEWED and self._learn_skew(answer)

    def _learn_skew(self, answer: Answer) -> bool:
        """Take AWS's time from the answer; tell whether the difference can explain a refused signature."""
        try:
            theirs = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        except (KeyError, ValueError):
            return False
        before, answer.endpoint.skew = answer.endpoint.skew, theirs - self._clock.wall()
        return abs(answer.endpoint.skew - before) > SKEW_SECONDS

    async def _ask(self, account: Account, operation: str, request: Mapping[str, Any], again: Queue | None) -> Answer:
        endpoint = await self._endpoint(account)
        credentials = await self._identity(account).credentials()
        now = self._clock.wall() + endpoint.skew
        signed = self._signed.pop(again, None) if again else None
        if signed is None or not signed.serves(credentials, now):
            signed = _sign(account.region, credentials, operation, endpoint.url, json.dumps(request).encode(), now)

        session = await self._sessions.get()

        async def send() -> Answer:
            self._count_requests(account.backend, operation, 1)
            async with session.post(
                endpoint.url,
                data=signed.body,
                headers=signed.headers,
                proxy=endpoint.proxy,
                ssl=True if self._tls is None else self._tls,
                allow_redirects=False,
                auto_decompress=False,
            ) as response:
                return Answer(response.status, await _whole(response), response.headers, endpoint, credentials)

        async with self._budget.turn(MAX_BYTES, self._clock, TURN_SECONDS, endpoint.url):
            with faults(endpoint.url):
                try:
                    answer = await send()
                except aiohttp.ClientConnectorError:
                    raise
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    answer = await send()  # the idle connection may have been closed just now
        if answer.status == 200 and again:
            self._signed[again] = signed
        return answer

    async def _endpoint(self, account: Account) -> Endpoint:
        key = (account.region, account.endpoint)
        if key not in self._endpoints:
            async with self._finding.hold(1):
                if key not in self._endpoints:
                    await self._find(key)
        self._endpoints.move_to_end(key)
        return self._endpoints[key]

    async def _find(self, key: tuple[str, str | None]) -> None:
        found = await in_thread(partial(self._identities.endpoint, "sqs", *key))
        if self._tls is None:
            self._tls = await in_thread(self._trust)
        # The address guard cannot see where a proxy connects to, so a proxy is used for AWS's own hosts only.
        proxy = get_environ_proxies(found).get("https") if is_aws_host(found) else None
        if len(self._endpoints) >= MAX_ENDPOINTS:
            self._endpoints.popitem(last=False)
        self._endpoints[key] = Endpoint(f"{str(URL(found).with_user(None)).rstrip('/')}/", proxy)

    def _trust(self) -> ssl.SSLContext | bool:
        """Return the CAs that AWS's configuration names; blocks, because a bundle takes a while to read."""
        bundle = self._identities.session.get_config_variable("ca_bundle")
        if not bundle:
            return True
        try:
            return client_context(bundle)
        except OSError as error:
            raise Refused(f"AWS_CA_BUNDLE {bundle} cannot be used: {error.strerror}") from None

    def forget(self, place: Place) -> None:
        """Drop what is kept for `place`."""
        self._signed.pop(place, None)
        match place:
            case Queue():
                self._proved.discard(place)
            case Listing():
                self._finders.pop(place, None)

    async def close(self) -> None:
        """Close all connections."""
        await self._identities.close()
        await self._sessions.close()


def _sign(  # noqa: PLR0913, PLR0917 - what is signed
    region: str, credentials: ReadOnlyCredentials, operation: str, url: str, body: bytes, now: float
) -> Signed:
    plain = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": f"AmazonSQS.{operation}",
        "x-amzn-query-mode": "true",  # as boto3 does, so that errors have the older codes
    }
    headers = signed_headers(credentials, Scope(region, "sqs"), (url, plain, body), now)
    return Signed(body, headers | {"Accept-Encoding": "identity"}, credentials, now)


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise Unavailable(f"{response.url}: the answer is larger than {MAX_BYTES} bytes")
    return bytes(body)
