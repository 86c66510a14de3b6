"""What is read, held against boto3."""

import asyncio
import itertools
import re
from collections import Counter
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from scaler.core.errors import Fault, Refused, Throttled, Unavailable
from scaler.demo.reported import Reported
from scaler.demo.sqs import SqsDouble
from scaler.sources.backends import Backends
from scaler.sources.sqs import reader as reader_module
from scaler.sources.sqs.answers import ATTRIBUTES
from scaler.sources.sqs.places import Counts, Listed, Listing, Queue
from scaler.sources.triggers import parse
from tests.sources.sqs.conftest import COUNTS, REGION, TARGETS, MakeAccount, Read


def boto3_client(url: str) -> Any:
    # A session of its own: `boto3.client` keeps the credentials of whichever test came first.
    return boto3.Session().client(
        "sqs", region_name=REGION, endpoint_url=url, config=Config(retries={"total_max_attempts": 1})
    )


# moto: the same queues through boto3 and through us


@pytest.mark.parametrize("counts", list(itertools.product((0, 2), (0, 1), (0, 3))), ids=str)
async def test_value_and_active_are_those_of_aws_sqs_queue(
    moto_server: SqsDouble, new_queue: Any, read: Read, account: MakeAccount, counts: tuple[int, int, int]
) -> None:
    url = await new_queue(*counts)
    attributes = (await moto_server.call("get_queue_attributes", QueueUrl=url, AttributeNames=["All"]))["Attributes"]
    seen = await read(Queue(account(moto_server.url), url))
    for in_flight, delayed, threshold in itertools.product((True, False), (True, False), (0, 2)):
        # KEDA pkg/scalers/aws_sqs_queue_scaler.go: the attributes asked for are added up; active is a sum above
        theirs = int(attributes["ApproximateNumberOfMessages"])
        theirs += int(attributes["ApproximateNumberOfMessagesNotVisible"]) if in_flight else 0
        theirs += int(attributes["ApproximateNumberOfMessagesDelayed"]) if delayed else 0
        metadata = {
            "source": "sqs",
            "queueURL": url,
            "awsRegion": REGION,
            "awsEndpoint": moto_server.url,
            "scaleOnInFlight": str(in_flight).lower(),
            "scaleOnDelayed": str(delayed).lower(),
            "activationQueueLength": str(threshold),
            "holdInFlight": "false",
        }
        trigger = parse(metadata, "shop")
        ours = trigger.assess({trigger.places()[0]: seen}, 0.0)
        assert ours.metrics[0].value == theirs
        assert ours.active == (theirs > threshold)
        held = parse({**metadata, "holdInFlight": "true"}, "shop")
        assert held.assess({held.places()[0]: seen}, 0.0).active == (theirs > threshold or counts[1] > 0)


@pytest.mark.parametrize("suffix", ["", ".fifo"])
async def test_a_queue_is_read_by_url_and_by_name(
    moto_server: SqsDouble, read: Read, account: MakeAccount, suffix: str
) -> None:
    url = await moto_server.create_queue(f"by-name{suffix}")
    here = account(moto_server.url)
    found = await read(Queue(here, url), Queue(here, f"by-name{suffix}"))
    assert list(found.values()) == [Counts(0, 0, 0), Counts(0, 0, 0)]


async def test_a_queue_that_does_not_exist_is_refused_as_boto3_says(
    moto_server: SqsDouble, read: Read, account: MakeAccount
) -> None:
    for queue in ("nowhere", f"{moto_server.url}/123456789012/nowhere"):
        with pytest.raises(ClientError) as theirs:
            boto3_client(moto_server.url).get_queue_attributes(QueueUrl=queue)
        fault = await read(Queue(account(moto_server.url), queue))
        assert type(fault) is Refused
        assert theirs.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
        assert str(fault) == (
            f"SQS queue nowhere in eu-west-1 at {moto_server.url}: SQS answered GetQueueAttributes with "
            "AWS.SimpleQueueService.NonExistentQueue (HTTP 400): this account has no such queue in this region; "
            "check queueURL and awsRegion"
        )


async def test_a_prefix_finds_its_queues_and_no_others(
    moto_server: SqsDouble, read: Read, account: MakeAccount
) -> None:
    urls = [await moto_server.create_queue(f"prefix-{name}") for name in ("b", "a", "a.fifo")]
    await moto_server.create_queue("other-prefix-a")
    assert await read(Listing(account(moto_server.url), "prefix-")) == Listed(tuple(sorted(urls)))


async def test_a_prefix_without_queues_is_no_empty_queue(
    moto_server: SqsDouble, read: Read, account: MakeAccount
) -> None:
    fault = await read(Listing(account(moto_server.url), "nothing-like-this"))
    assert type(fault) is Refused
    assert "no queue has this prefix" in str(fault)


async def test_queues_of_another_region_are_not_found(
    moto_server: SqsDouble, new_queue: Any, read: Read, account: MakeAccount
) -> None:
    url = await new_queue()
    assert isinstance(await read(Queue(account(moto_server.url), url)), Counts)
    assert type(await read(Queue(account(moto_server.url, region="eu-west-2"), url))) is Refused


# A canned server: what moto does not say


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ((400, {"__type": "com.amazonaws.sqs#QueueDoesNotExist"}), Refused),
        (
            (400, {"__type": "com.amazonaws.sqs#InvalidAddress"}, {"x-amzn-query-error": "InvalidAddress;Sender"}),
            Refused,
        ),
        ((400, {"__type": "com.amazon.coral.service#AccessDeniedException"}), Refused),
        ((403, {"__type": "AccessDenied"}, {"x-amzn-query-error": "AccessDenied;Sender"}), Refused),
        ((403, {"__type": "com.amazon.coral.service#InvalidClientTokenId"}), Refused),
        ((403, {"__type": "com.amazon.coral.service#ExpiredTokenException"}), Refused),
        ((400, {"__type": "com.amazonaws.sqs#RequestThrottled"}), Throttled),
        ((400, {"__type": "com.amazonaws.sqs#X"}, {"x-amzn-query-error": "RequestThrottled;Sender"}), Throttled),
        ((400, {"__type": "com.amazon.coral.availability#ThrottlingException"}), Throttled),
        ((500, {"__type": "com.amazon.coral.service#InternalFailure"}), Unavailable),
        ((503, {"__type": "com.amazon.coral.service#ServiceUnavailableException"}), Unavailable),
    ],
    ids=lambda value: value[1]["__type"].rpartition("#")[2] if isinstance(value, tuple) else value.__name__,
)
async def test_errors_have_the_codes_of_boto3(
    canned: Any, read: Read, account: MakeAccount, reply: Any, fault: type[Fault]
) -> None:
    canned.always = reply
    client = boto3_client(canned.url)
    asking = {
        "GetQueueAttributes": partial(client.get_queue_attributes, QueueUrl="orders"),
        "ListQueues": client.list_queues,
    }
    for operation, ask in asking.items():
        with pytest.raises(ClientError) as theirs:
            await asyncio.to_thread(ask)
        found = await read(TARGETS[operation](account(canned.url)))
        assert type(found) is fault
        code = theirs.value.response["Error"]["Code"]
        assert f"SQS answered {operation} with {code} (HTTP {reply[0]})" in str(found)


async def test_the_request_is_that_of_boto3(canned: Any, read: Read, account: MakeAccount) -> None:
    asking = boto3_client(canned.url).get_queue_attributes
    await asyncio.to_thread(asking, QueueUrl="orders", AttributeNames=list(ATTRIBUTES.values()))
    assert await read(Queue(account(canned.url), "orders")) == Counts(3, 2, 1)
    theirs, ours = canned.asked
    assert (ours.operation, ours.body) == (theirs.operation, theirs.body)
    for name in ("Content-Type", "X-Amz-Target", "x-amzn-query-mode", "X-Amz-Security-Token"):
        assert ours.headers[name] == theirs.headers[name]
    signature = re.compile(
        r"AWS4-HMAC-SHA256 Credential=AKIATEST/[0-9]{8}/eu-west-1/sqs/aws4_request, SignedHeaders=(.*), "
    )
    (our_match, their_match) = (signature.match(each.headers["Authorization"]) for each in (ours, theirs))
    assert our_match is not None
    assert their_match is not None
    assert our_match[1] == their_match[1]


async def test_requests_are_counted_by_account_and_operation(canned: Any, read: Read, account: MakeAccount) -> None:
    counted: Counter[tuple[str, str]] = Counter()
    backends = Backends(count_requests=lambda backend, operation, n: counted.update({(backend, operation): n}))
    canned.always = lambda asked: (
        200,
        {"QueueUrls": ["http://h/1/orders"]} if asked.operation == "ListQueues" else COUNTS,
    )
    here = account(canned.url)
    await read(Queue(here, "a"), Queue(here, "b"), Listing(here, "orders"), backends=backends)
    assert counted == {(here.backend, "GetQueueAttributes"): 3, (here.backend, "ListQueues"): 1}  # one of them a policy


async def test_a_listing_is_read_to_its_end(canned: Any, read: Read, account: MakeAccount) -> None:
    canned.replies = [
        (200, {"QueueUrls": ["http://h/1/orders-b"], "NextToken": "more"}),
        (200, {"QueueUrls": ["http://h/1/orders-a"]}),
    ]
    found = await read(Listing(account(canned.url), "orders"))
    assert found == Listed(("http://h/1/orders-a", "http://h/1/orders-b"))
    pages = [asked for asked in canned.asked if asked.operation == "ListQueues"]
    assert [asked.body.get("NextToken") for asked in pages] == [None, "more"]


async def test_a_listing_has_a_limit(canned: Any, read: Read, account: MakeAccount) -> None:
    canned.replies = [
        (200, {"QueueUrls": [f"http://h/1/orders-{page}-{n}" for n in range(600)], "NextToken": page}) for page in "ab"
    ]
    fault = await read(Listing(account(canned.url), "orders"))
    assert type(fault) is Refused
    assert "more than 1000 queues; choose a longer queueNamePrefix" in str(fault)
    assert len(canned.asked) == 2


async def test_one_bad_place_does_not_spoil_the_others(canned: Any, read: Read, account: MakeAccount) -> None:
    canned.always = lambda asked: (500, {}) if asked.body["QueueUrl"] == "bad" else (200, COUNTS)
    good, bad = Queue(account(canned.url), "good"), Queue(account(canned.url), "bad")
    found = await read(bad, good)
    assert found[good] == Counts(3, 2, 1)
    assert type(found[bad]) is Unavailable


async def test_a_defect_at_one_place_does_not_spoil_the_others(
    canned: Any, account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counts_of(body: bytes) -> Counts:
        if b"defect" in body:
            raise ZeroDivisionError
        return original(body)

    original = reader_module.counts_of
    monkeypatch.setattr(reader_module, "counts_of", counts_of)
    canned.always = lambda asked: (200, {"defect": True} if asked.body["QueueUrl"] == "bad" else COUNTS)
    reader = Backends().hand(reader_module.SqsReader)
    good, bad = Queue(account(canned.url), "good"), Queue(account(canned.url), "bad")
    found = Reported()
    with pytest.raises(ZeroDivisionError):  # which the store tells as a fault of what was not reported
        await reader.read((bad, good), found)
    await reader.close()
    assert found == {good: Counts(3, 2, 1)}
