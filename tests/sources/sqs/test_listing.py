"""What a prefix stands for: pages that are all there, queues that SQS still has, and no dead-letter queues."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scaler.core.errors import Fault, Refused, Unavailable
from scaler.demo.sqs import SqsDouble
from scaler.sources.sqs.answers import ATTRIBUTES, error_message, fault_of, parse_dead_letter
from scaler.sources.sqs.listing import Pages
from scaler.sources.sqs.places import Account, Counts, Listed, Listing, Queue

Read = Callable[..., Awaitable[Any]]
MakeAccount = Callable[..., Account]
COUNTS = dict(zip(ATTRIBUTES.values(), ("3", "2", "1"), strict=True))


def page(*names: str, **more: Any) -> dict[str, Any]:
    return {"QueueUrls": [f"http://h/1/{name}" for name in names], **more}


@pytest.mark.parametrize(
    ("answers", "names"),
    [
        ([page("o1")], ["o1"]),
        ([page("o1", NextToken=None)], ["o1"]),
        ([{}], []),
        ([page("o1", NextToken="a"), page("o2", NextToken="b"), page("o3")], ["o1", "o2", "o3"]),
        ([page("o1", "o2", NextToken="a"), page("o2", "o3")], ["o1", "o2", "o3"]),  # slipped to the next page
        ([page("o1", NextToken="a"), {}], ["o1"]),
    ],
)
def test_pages_to_the_last(answers: list[dict[str, Any]], names: list[str]) -> None:
    pages = Pages("o")
    for answer in answers:
        assert not pages.complete
        pages.add(answer)
    assert pages.complete
    assert list(pages.urls) == [f"http://h/1/{name}" for name in names]


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([page("o1", NextToken="")], "unusable NextToken"),
        ([page("o1", NextToken=7)], "unusable NextToken"),
        ([page("o1", NextToken=["a"])], "unusable NextToken"),
        ([page(NextToken="a" * 4_096), page(NextToken="b" * 4_097)], "unusable NextToken"),
        ([page(NextToken=str(number)) for number in range(101)], "more than 100 pages"),
        ([page("o1", NextToken="a"), page("o2", NextToken="a")], "leads back"),
        ([page("o1", NextToken="a"), page("o2", NextToken="b"), page("o3", NextToken="a")], "leads back"),
        ([page("o1", NextToken="a"), {"QueueUrls": ["http://h/2/o2"]}], "several accounts or hosts"),
        ([{"QueueUrls": ["http://h/1/o1", "http://g/1/o2"]}], "several accounts or hosts"),
        ([page("o1", NextToken="a"), page("x1")], "no list of these queues"),
    ],
)
def test_pages_that_are_missing_or_strange(answers: list[dict[str, Any]], why: str) -> None:
    pages = Pages("o")
    *first, last = answers
    for answer in first:
        pages.add(answer)
    with pytest.raises(Unavailable, match=why):
        pages.add(last)
    assert not pages.complete


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        (None, ""),
        ("", ""),
        ('{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:123456789012:dead","maxReceiveCount":"3"}', "dead"),
        ('{"maxReceiveCount":3,"deadLetterTargetArn":"arn:aws-cn:sqs:cn-north-1:1:dead.fifo"}', "dead.fifo"),
    ],
)
def test_the_policy_names_the_dead_letter_queue(policy: str | None, name: str) -> None:
    attributes = COUNTS | ({} if policy is None else {"RedrivePolicy": policy})
    assert parse_dead_letter({"Attributes": attributes}) == name


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Attributes": None},
        {"Attributes": {}},
        {"Attributes": {"RedrivePolicy": '{"deadLetterTargetArn":"arn:aws:sqs:r:1:dead"}'}},
        {"Attributes": COUNTS | {"RedrivePolicy": "{"}},
        {"Attributes": COUNTS | {"RedrivePolicy": "{}"}},
        {"Attributes": COUNTS | {"RedrivePolicy": '{"deadLetterTargetArn":"dead"}'}},
        {"Attributes": COUNTS | {"RedrivePolicy": '{"deadLetterTargetArn":7}'}},
        {"Attributes": COUNTS | {"RedrivePolicy": {}}},
    ],
)
def test_half_an_answer_about_a_policy_is_a_fault(answer: dict[str, Any]) -> None:
    with pytest.raises(Unavailable, match="GetQueueAttributes answered with"):
        parse_dead_letter(answer)


# moto


async def test_a_prefix_leaves_the_dead_letter_queues_of_its_queues_out(
    moto_server: SqsDouble, read: Read, account: MakeAccount
) -> None:
    (dead, deader, other) = [await moto_server.create_queue(f"dlq-{name}") for name in ("dead", "deader", "other")]

    async def letters_go(source: str, target: str) -> str:
        policy = json.dumps(
            {"deadLetterTargetArn": f"arn:aws:sqs:eu-west-1:123456789012:{target}", "maxReceiveCount": 3}
        )
        await moto_server.call("set_queue_attributes", QueueUrl=source, Attributes={"RedrivePolicy": policy})
        return source

    one = await letters_go(await moto_server.create_queue("dlq-one"), "dlq-dead")
    two = await letters_go(await moto_server.create_queue("dlq-two"), "dlq-dead")
    await letters_go(dead, "dlq-deader")
    listing = Listing(account(moto_server.url), "dlq-")
    assert await read(listing) == Listed((one, other, two), ("dlq-dead", "dlq-deader"))
    await moto_server.call("delete_queue", QueueUrl=two)
    assert await read(listing) == Listed((one, other), ("dlq-dead", "dlq-deader"))
    assert deader not in (await read(listing)).queues


async def test_dead_letter_queues_of_fifo_queues_and_of_each_other(
    moto_server: SqsDouble, read: Read, account: MakeAccount
) -> None:
    async def letters_go(source: str, target: str, region: str = "eu-west-1") -> None:
        arn = f"arn:aws:sqs:{region}:123456789012:{target}"
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "3"})
        await moto_server.call("set_queue_attributes", QueueUrl=source, Attributes={"RedrivePolicy": policy})

    here = account(moto_server.url)
    fifo, dead = [await moto_server.create_queue(f"both-{name}.fifo") for name in ("work", "work-dlq")]
    await letters_go(fifo, "both-work-dlq.fifo")
    assert await read(Listing(here, "both-")) == Listed((fifo,), ("both-work-dlq.fifo",))
    # What is left of a DLQ's name in another form is a queue of its own.
    plain = await moto_server.create_queue("both-work-dlq")
    assert await read(Listing(here, "both-")) == Listed((plain, fifo), ("both-work-dlq.fifo",))
    # The prefix of the dead-letter queue alone asks for it.
    assert await read(Listing(here, "both-work-dlq.")) == Listed((dead,), ())
    # Each the other's: nothing is left to count, which is told as an error and never as an empty queue.
    ping, pong = [await moto_server.create_queue(f"mutual-{name}") for name in ("ping", "pong")]
    await letters_go(ping, "mutual-pong")
    await letters_go(pong, "mutual-ping")
    assert await read(Listing(here, "mutual-")) == Listed((), ("mutual-ping", "mutual-pong"))


async def test_a_queue_by_name_and_by_url_is_read_once(
    moto_server: SqsDouble, new_queue: Any, read: Read, account: MakeAccount
) -> None:
    url = await new_queue(3)
    here = account(moto_server.url)
    assert await read(Queue(here, url, named_too=True)) == Counts(3, 0, 0)
    assert await read(Queue(here, url.rpartition("/")[2])) == Counts(3, 0, 0)  # the name alone is asked for its counts
    fault = await read(Queue(here, url.replace("123456789012", "999999999999"), named_too=True))
    assert type(fault) is Refused
    assert "by its URL in account 999999999999 and by name, which is a queue of account 123456789012" in str(fault)


# A canned server


async def test_a_queue_that_is_not_listed_any_more_is_gone_only_if_sqs_says_so(
    canned: Any, read: Read, account: MakeAccount
) -> None:
    listed, there = {"orders-a", "orders-b", "orders-c"}, {"orders-a", "orders-b", "orders-c"}

    def answer(asked: Any) -> Any:
        if asked.operation == "ListQueues":
            return 200, page(*sorted(listed))
        if asked.body["QueueUrl"].rpartition("/")[2] in there:
            return 200, {"Attributes": COUNTS}
        return 400, {"__type": "com.amazonaws.sqs#QueueDoesNotExist"}

    canned.always = answer
    listing = Listing(account(canned.url), "orders")
    everything = await read(listing)
    assert len(everything.queues) == 3
    listed.clear()
    assert await read(listing) == everything  # a page was lacking, or ListQueues lags behind
    there.discard("orders-b")
    assert await read(listing) == Listed(("http://h/1/orders-a", "http://h/1/orders-c"))
    listed |= {"orders-a", "orders-b"}  # listed still, and gone
    assert await read(listing) == Listed(("http://h/1/orders-a", "http://h/1/orders-c"))
    there.clear()
    fault = await read(listing)
    assert type(fault) is Refused
    assert "no queue has this prefix" in str(fault)


async def test_policies_cost_a_fifth_of_a_request_for_each_queue_and_listing(
    canned: Any, read: Read, account: MakeAccount
) -> None:
    canned.always = lambda asked: (
        200,
        page(*(f"orders-{n:02}" for n in range(20))) if asked.operation == "ListQueues" else {"Attributes": COUNTS},
    )
    listing = Listing(account(canned.url), "orders")
    await read(listing)
    assert len(canned.asked) == 21
    canned.asked.clear()
    for _ in range(5):
        await read(listing)
    assert Counter(asked.operation for asked in canned.asked) == {"ListQueues": 5, "GetQueueAttributes": 20}
    assert len({asked.body["QueueUrl"] for asked in canned.asked if asked.operation == "GetQueueAttributes"}) == 20


@pytest.mark.parametrize("status", [400, 500])
async def test_a_policy_that_cannot_be_read_is_a_fault(
    canned: Any, read: Read, account: MakeAccount, status: int
) -> None:
    canned.replies = [(200, page("orders-a", "orders-b")), (200, {"Attributes": COUNTS}), (status, {"__type": "x#Y"})]
    fault = await read(Listing(account(canned.url), "orders"))
    assert isinstance(fault, Fault)
    assert f"SQS answered GetQueueAttributes with Y (HTTP {status})" in str(fault)


@pytest.mark.parametrize("region", ["elasticmq", "ru-central1", "fr-par"])
async def test_another_cloud_is_asked_in_its_own_region(
    canned: Any, read: Read, account: MakeAccount, region: str
) -> None:
    assert await read(Queue(account(canned.url, region=region), "orders")) == Counts(3, 2, 1)
    (asked,) = canned.asked
    assert f"/{region}/sqs/aws4_request" in asked.headers["Authorization"]


# What AWS says


async def test_what_aws_says_of_a_denial_is_told_once_and_clean(canned: Any, read: Read, account: MakeAccount) -> None:
    said = (
        "User: arn:aws:sts::123456789012:assumed-role/scaler/keda-shop is not authorized to perform: sqs:getqueueattributes\n"
        "on resource: arn:aws:sqs:eu-west-1:123456789012:orders canary-session-token canary-secret-key \x07" + "x" * 400
    )
    canned.always = (400, {"__type": "com.amazon.coral.service#AccessDeniedException", "message": said})
    text = str(await read(Queue(account(canned.url), "orders")))
    assert text.endswith(
        "AccessDeniedException (HTTP 400): allow sqs:GetQueueAttributes on the queue to the identity that reads; it says "
        '"User: arn:aws:sts::123456789012:assumed-role/scaler/keda-shop is not authorized to perform: '
        'sqs:getqueueattributes on resource: arn:aws:sqs:eu-west-1:123456789012:orders *** *** ***"'
    )
    assert "canary" not in text


def test_a_message_is_short_and_a_refused_signature_is_not_quoted() -> None:
    assert error_message(json.dumps({"Message": "a b " * 200}).encode(), ()) == ("a b " * 200)[:300] + "…"
    assert error_message(b"<html>", ()) == error_message(b'{"message": 7}', ()) == ""
    for repeated in ("Authorization: AWS4", "SIGNATURE is x", "X-Amz-Security-Token: x", "Credential=AKIA/x"):
        assert error_message(json.dumps({"message": repeated}).encode(), ()) == ""
    quoted = "The Canonical String should have been x-amz-security-token:canary"
    for code in ("SignatureDoesNotMatch", "InvalidClientTokenId"):
        assert "canary" not in str(fault_of(403, code, "ListQueues", quoted))
    assert str(fault_of(400, "Odd", "ListQueues", "no such thing")) == (
        'SQS answered ListQueues with Odd (HTTP 400): it says "no such thing"'
    )
