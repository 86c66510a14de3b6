import asyncio
import datetime as dt
import gzip
import itertools
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from scaler.clients.addresses import Addresses
from scaler.clients.aws import AwsSettings, RoleGrant
from scaler.clients.backends import Backends
from scaler.demo.clock import ManualClock
from scaler.demo.raw_http import RawServer, answer
from scaler.demo.sqs import SqsDouble
from scaler.errors import Fault, Refused, Throttled, Unavailable
from scaler.sources.sqs import reader as reader_module
from scaler.sources.sqs.answers import ATTRIBUTES
from scaler.sources.sqs.reader import MAX_BYTES
from scaler.sources.sqs.trigger import Account, Counts, Listing, Queue, SqsTrigger
from scaler.triggers import parse

REGION = "eu-west-1"
Read = Callable[..., Awaitable[Any]]
MakeAccount = Callable[..., Account]
COUNTS = {"Attributes": dict(zip(ATTRIBUTES.values(), ("3", "2", "1"), strict=True))}
TARGETS = {
    "GetQueueAttributes": lambda account: Queue(account, "orders"),
    "ListQueues": lambda account: Listing(account, "orders"),
}


def boto3_client(url: str) -> Any:
    return boto3.client("sqs", region_name=REGION, endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))


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
    assert await read(Listing(account(moto_server.url), "prefix-")) == tuple(sorted(urls))


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
    canned.always = lambda asked: (200, {"QueueUrls": ["http://h/1/orders"]} if asked.operation == "ListQueues" else {})
    here = account(canned.url)
    await read(Queue(here, "a"), Queue(here, "b"), Listing(here, "orders"), backends=backends)
    assert counted == {(here.backend, "GetQueueAttributes"): 2, (here.backend, "ListQueues"): 1}


async def test_a_listing_is_read_to_its_end(canned: Any, read: Read, account: MakeAccount) -> None:
    canned.replies = [
        (200, {"QueueUrls": ["http://h/1/orders-b"], "NextToken": "more"}),
        (200, {"QueueUrls": ["http://h/1/orders-a"]}),
    ]
    assert await read(Listing(account(canned.url), "orders")) == ("http://h/1/orders-a", "http://h/1/orders-b")
    assert [asked.body.get("NextToken") for asked in canned.asked] == [None, "more"]


async def test_a_listing_has_a_limit(canned: Any, read: Read, account: MakeAccount) -> None:
    canned.always = (200, {"QueueUrls": [f"http://h/1/orders-{n}" for n in range(600)], "NextToken": "more"})
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
    def parse_counts(answer: Any) -> Counts:
        if answer == {"defect": True}:
            raise ZeroDivisionError
        return original(answer)

    original = reader_module.parse_counts
    monkeypatch.setattr(reader_module, "parse_counts", parse_counts)
    canned.always = lambda asked: (200, {"defect": True} if asked.body["QueueUrl"] == "bad" else COUNTS)
    reader = reader_module.SqsReader(Backends())
    good, bad = Queue(account(canned.url), "good"), Queue(account(canned.url), "bad")
    found: dict[Any, Any] = {}
    with pytest.raises(ZeroDivisionError):  # which the store tells as a fault of what was not reported
        await reader.read((bad, good), found.__setitem__)
    await reader.close()
    assert found == {good: Counts(3, 2, 1)}


# Credentials and clocks


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"])
async def test_expired_credentials_are_loaded_anew(
    canned: Any, read: Read, account: MakeAccount, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def reply(asked: Any) -> Any:
        if "AKIANEW" in asked.headers["Authorization"]:
            return (200, COUNTS)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANEW")
        return (403, {"__type": code})

    canned.always = reply
    assert await read(Queue(account(canned.url), "orders")) == Counts(3, 2, 1)
    assert len(canned.asked) == 2


async def test_many_expired_answers_cause_one_renewal(
    canned: Any, read: Read, account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    canned.always = lambda asked: (
        (200, COUNTS) if "AKIANEW" in asked.headers["Authorization"] else (403, {"__type": "ExpiredToken"})
    )
    here = account(canned.url)
    assert type(await read(Queue(here, "first"))) is Refused  # the same again: the environment has nothing newer
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANEW")
    canned.asked.clear()
    found = await read(*(Queue(here, f"q{n}") for n in range(20)))
    assert set(found.values()) == {Counts(3, 2, 1)}
    assert len(canned.asked) == 40  # each tried the old ones once


@pytest.mark.parametrize("skew", [-7_200, 7_200])
@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "InvalidSignatureException", "SignatureDoesNotMatch"])
async def test_a_wrong_clock_is_learnt_from_the_date_of_the_answer(
    canned: Any, read: Read, account: MakeAccount, skew: int, code: str
) -> None:
    clock = ManualClock()
    theirs = dt.datetime.fromtimestamp(clock.wall() + skew, dt.UTC)

    def reply(asked: Any) -> Any:
        signed = dt.datetime.strptime(asked.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        date = {"Date": theirs.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        return (403, {"__type": code}, date) if abs((signed - theirs).total_seconds()) > 300 else (200, COUNTS, date)

    canned.always = reply
    backends = Backends(clock=clock)
    for _ in range(2):
        assert await read(Queue(account(canned.url), "orders"), backends=backends) == Counts(3, 2, 1)
    assert len(canned.asked) == 3  # refused once; after that it knows


@pytest.mark.parametrize("date", ["", "now", "Sun, 22 Nov 2026 13:41:38"])
async def test_a_wrong_secret_is_no_wrong_clock(canned: Any, read: Read, account: MakeAccount, date: str) -> None:
    clock = ManualClock(wall=dt.datetime(2026, 11, 22, 13, 41, 38, tzinfo=dt.UTC).timestamp())
    canned.always = (403, {"__type": "SignatureDoesNotMatch"}, {"Date": date})
    fault = await read(Queue(account(canned.url), "orders"), backends=Backends(clock=clock))
    assert type(fault) is Refused
    assert "check the secret key" in str(fault)
    assert len(canned.asked) == 1


# Roles


ROLE = "arn:aws:iam::210987654321:role/keda-shop"


def granting(*grants: RoleGrant) -> Backends:
    return Backends(aws=AwsSettings(roles=grants))


async def test_a_role_is_assumed_with_the_grants_external_id_and_named_after_the_namespace(
    canned: Any, sts: Any, read: Read, account: MakeAccount
) -> None:
    backends = granting(RoleGrant(arn=ROLE, namespaces=("shop", "bank"), external_id="from-the-configuration"))
    places = [Queue(account(canned.url, ROLE, namespace), "orders") for namespace in ("shop", "bank")]
    found = await read(*places, Queue(account(canned.url), "orders"), backends=backends)
    assert set(found.values()) == {Counts(3, 2, 1)}
    assert {(asked.operation, asked.body["RoleArn"], asked.body["ExternalId"]) for asked in sts.asked} == {
        ("AssumeRole", ROLE, "from-the-configuration")
    }
    assert {asked.body["RoleSessionName"] for asked in sts.asked} == {"keda-shop", "keda-bank"}
    assert sorted("AKIAROLE" in asked.headers["Authorization"] for asked in canned.asked) == [False, True, True]


async def test_a_role_that_is_not_granted_is_refused_without_a_request(
    canned: Any, read: Read, account: MakeAccount
) -> None:
    place = Queue(account(canned.url, ROLE, "bank"), "orders")
    fault = await read(place, backends=granting(RoleGrant(arn=ROLE, namespaces=("shop",))))
    assert type(fault) is Refused
    assert "aws.roles does not grant" in str(fault)
    assert canned.asked == []


# What is no SQS


WHOLE = json.dumps(COUNTS).encode()
NUMBERS = json.dumps({"Attributes": dict.fromkeys(ATTRIBUTES.values(), 0)}).encode()
GARBAGE: dict[str, tuple[bytes, str]] = {
    "HTML": (answer(b"<html><body>It works!</body></html>"), "not the JSON that SQS sends"),
    "empty": (answer(b""), "not the JSON that SQS sends"),
    "null": (answer(b"null"), "not the JSON that SQS sends"),
    "a list": (answer(b"[]"), "not the JSON that SQS sends"),
    "empty object": (answer(b"{}"), "without a usable ApproximateNumberOfMessages"),
    "numbers": (answer(NUMBERS), "without a usable ApproximateNumberOfMessages"),
    "half a body": (answer(WHOLE[:20], headers={"Content-Length": "500"}), "broke off"),
    "half a chunk": (answer(b"5\r\n{}", headers={"Transfer-Encoding": "chunked"}), "broke off"),
    "no chunk": (answer(b"zz\r\n", headers={"Transfer-Encoding": "chunked"}), "no valid HTTP"),
    "packed and cut short": (answer(gzip.compress(WHOLE)[:-8], headers={"Content-Encoding": "gzip"}), "not the JSON"),
    "huge": (answer(WHOLE + b" " * MAX_BYTES), "larger than 1048576 bytes"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "no valid HTTP"),
    "no status": (b"HTTP/1.1\r\n\r\n", "no valid HTTP"),
    "cut head": (b"HTTP/1.1 200 OK\r\nContent-", "connection failed"),
    "nothing": (b"", "connection failed"),
    "redirect": (answer(b"", status=307, headers={"Location": "http://169.254.169.254/"}), "HTTP 307"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", "HTTP 204"),
    "login page": (answer(b"<html>", status=403), "is the endpoint SQS? (HTTP 403)"),
    "bad gateway": (answer(b"<html>", status=502), "HTTP 502"),
}
FOR_LISTING = {"empty object": "no queue has this prefix", "numbers": "no queue has this prefix"}


@pytest.mark.parametrize("operation", TARGETS)
@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_is_a_fault(read: Read, account: MakeAccount, operation: str, kind: str) -> None:
    told, said = GARBAGE[kind]
    server = RawServer(told)
    await server.start()
    fault = await read(TARGETS[operation](account(f"http://127.0.0.1:{server.port}")))
    await server.close()
    assert isinstance(fault, Fault)
    assert str(fault).startswith("SQS queue")
    assert f"127.0.0.1:{server.port}" in str(fault)
    assert (FOR_LISTING.get(kind, said) if operation == "ListQueues" else said) in str(fault)
    assert len(server.heads) <= 2


async def test_a_body_in_many_pieces_is_read_whole(read: Read, account: MakeAccount) -> None:
    body = json.dumps(COUNTS).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 16):
            writer.write(body[start : start + 16])
            await writer.drain()
            await asyncio.sleep(0.001)  # another packet
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await read(Queue(account(f"http://127.0.0.1:{port}"), "orders")) == Counts(3, 2, 1)
    server.close()


async def test_a_refused_connection_is_a_fault(read: Read, account: MakeAccount, unused_tcp_port: int) -> None:
    fault = await read(Queue(account(f"http://127.0.0.1:{unused_tcp_port}"), "orders"))
    assert type(fault) is Unavailable
    assert f"http://127.0.0.1:{unused_tcp_port}/: no connection: " in str(fault)


async def test_a_connection_that_the_server_closed_while_idle_is_no_fault(read: Read, account: MakeAccount) -> None:
    served = 0
    body = json.dumps(COUNTS).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the first request of a connection, and close it instead of answering the second."""
        nonlocal served
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: ([0-9]+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        served += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    queue = Queue(account(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), "orders")
    assert await read(queue) == Counts(3, 2, 1)
    assert await read(queue) == Counts(3, 2, 1)
    assert served == 2
    server.close()


@pytest.mark.parametrize(
    ("endpoint", "allow_loopback", "said"),
    [
        ("http://169.254.169.254", True, "address 169.254.169.254 is refused: link-local"),
        ("http://127.0.0.1:1", False, "no trigger reads loopback"),
        ("http://localhost:1", False, "no trigger reads loopback"),
    ],
)
async def test_forbidden_addresses_are_refused(
    read: Read, account: MakeAccount, endpoint: str, *, allow_loopback: bool, said: str
) -> None:
    backends = Backends(addresses=Addresses(allow_loopback=allow_loopback))
    fault = await read(Queue(account(endpoint), "orders"), backends=backends)
    assert type(fault) is Refused
    assert said in str(fault)


def test_the_awsendpoint_of_a_trigger_is_where_it_reads() -> None:
    trigger = parse(
        {"source": "sqs", "queueURL": "q", "awsRegion": REGION, "awsEndpoint": "http://127.0.0.1:1/"}, "shop"
    )
    assert isinstance(trigger, SqsTrigger)
    assert trigger.account.endpoint == "http://127.0.0.1:1"


async def test_plain_http_where_https_is_expected_is_a_fault(canned: Any, read: Read, account: MakeAccount) -> None:
    fault = await read(Queue(account(canned.url.replace("http:", "https:")), "orders"))
    assert type(fault) is Unavailable
    assert "TLS" in str(fault)


# A proxy


async def test_sqs_is_reached_through_the_proxy_of_the_environment(
    read: Read, account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = RawServer(answer(b"", status=403))
    await proxy.start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:canary@127.0.0.1:{proxy.port}")
    fault = await read(Queue(account(), "orders"))
    assert proxy.heads[0].startswith("CONNECT sqs.eu-west-1.amazonaws.com:443 HTTP/1.1")
    assert type(fault) is Unavailable
    assert "canary" not in str(fault)
    await proxy.close()


async def test_other_endpoints_are_not_reached_through_a_proxy(
    canned: Any, read: Read, account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert await read(Queue(account(canned.url), "orders")) == Counts(3, 2, 1)
