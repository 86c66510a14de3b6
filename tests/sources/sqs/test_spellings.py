"""The ways to write a queue: each counts once, tells its region, or is refused with the right form."""

import re
from typing import Any

import pytest

from scaler.core.errors import MetadataError
from scaler.sources.base import Claim
from scaler.sources.sqs.places import Account, Counts, Queue
from tests.sources.sqs.conftest import ROLE, URL, trigger


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q", "eu-west-1"),
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q.fifo", "eu-west-1"),
        ("https://queue.amazonaws.com/123456789012/q", "us-east-1"),
        ("https://ap-northeast-1.queue.amazonaws.com/123456789012/q", "ap-northeast-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", "cn-north-1"),
        ("https://cn-north-1.queue.amazonaws.com.cn/123456789012/q", "cn-north-1"),
        ("https://sqs.us-gov-west-1.amazonaws.com/123456789012/q", "us-gov-west-1"),
        ("https://sqs-fips.us-east-2.amazonaws.com/123456789012/q", "us-east-2"),
        ("https://sqs.us-east-2.api.aws/123456789012/q", "us-east-2"),
        ("https://vpce-0a-b1.sqs.us-east-2.vpce.amazonaws.com/123456789012/q", "us-east-2"),
        ("https://sqs.eusc-de-east-1.amazonaws.eu/123456789012/q", "eusc-de-east-1"),
    ],
)
def test_the_url_tells_the_region(url: str, region: str) -> None:
    assert trigger(queueURL=url).region == region


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:4566/000000000000/q", "http://localhost:9324/queue/q", "http://[::1]:9324/queue/q", "q"],
)
def test_other_places_need_a_region(url: str) -> None:
    assert trigger(queueURL=url, awsRegion="eu-west-1").region == "eu-west-1"
    with pytest.raises(MetadataError, match="awsRegion: required"):
        trigger(queueURL=url)


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"queueURL": URL}, "sqs-orders"),
        ({"queueURL": "orders", "awsRegion": "eu-west-1"}, "sqs-orders"),
        ({"queueNamePrefix": "orders", "awsRegion": "eu-west-1"}, "sqs-orders"),
    ],
)
def test_the_metric_is_named_after_the_queue(metadata: dict[str, str], name: str) -> None:
    assert [spec.name for spec in trigger(**metadata).specs()] == [name]


@pytest.mark.parametrize("name", ["Orders", "orders.fifo", "orders_new", "o" * 80])
def test_every_name_becomes_one_that_the_hpa_takes(name: str) -> None:
    made = trigger(queueURL=name, awsRegion="eu-west-1").specs()[0].name
    assert re.fullmatch("sqs-[a-z0-9-]{1,59}", made)
    assert made != trigger(queueURL="orders", awsRegion="eu-west-1").specs()[0].name


@pytest.mark.parametrize("region", ["elasticmq", "ru-central1", "fr-par", "us-east-1", "RegionOne"])
def test_an_endpoint_that_is_not_awss_may_have_any_region(region: str) -> None:
    made = trigger(queueURL="q", awsRegion=region, awsEndpoint="https://message-queue.api.cloud.example")
    assert made.account == Account(region, "https://message-queue.api.cloud.example", None, "")
    assert Claim("sqs", f"arn:aws:sqs:{region}::q") in made.claims()


HOSTS = ["sqs.eu-west-1.amazonaws.com", "eu-west-1.queue.amazonaws.com", "sqs-fips.eu-west-1.amazonaws.com"]


@pytest.mark.parametrize(
    ("queues", "role", "expected"),
    [
        ("orders,orders", None, ["orders"]),
        (",".join(f"https://{host}/123456789012/orders" for host in HOSTS), None, [URL]),
        (f"{URL}.fifo,{URL}", None, [f"{URL}.fifo", URL]),
        (f"{URL},{URL.replace('123', '999')}", None, [URL, URL.replace("123", "999")]),
        (f"orders,{URL}", None, [(URL, True)]),
        (f"{URL},orders,other", None, [(URL, True), "other"]),
        (f"orders.fifo,{URL}.fifo", None, [(f"{URL}.fifo", True)]),
        (f"orders.fifo,{URL}", None, ["orders.fifo", URL]),
        (f"orders,{URL.replace('123456789012', '210987654321')}", ROLE, [URL.replace("123456789012", "210987654321")]),
        (f"orders,{URL}", ROLE, ["orders", URL]),
    ],
)
def test_a_queue_counts_once_however_it_is_given(queues: str, role: str | None, expected: list[Any]) -> None:
    made = trigger(queueURL=queues, awsRegion="eu-west-1", **({"awsRoleArn": role} if role else {}))
    wanted = [each if isinstance(each, tuple) else (each, False) for each in expected]
    assert made.places() == tuple(Queue(made.account, queue, named_too) for queue, named_too in wanted)
    assessed = made.assess(dict.fromkeys(made.places(), Counts(1, 0, 0)), 0.0)
    assert assessed.metrics[0].value == len(expected)


LOCAL = "http://localhost:4566"


@pytest.mark.parametrize(
    ("queues", "expected"),
    [
        (f"{LOCAL}/queue/q,{LOCAL}/000000000000/q", 1),  # ElasticMQ
        (f"{LOCAL}/000000000000/q,q,{LOCAL}/queue/q", 1),
        (f"{LOCAL}/000000000000/q,http://sqs.us-east-1.localhost.localstack.cloud:4566/000000000000/q", 1),
        (f"{LOCAL}/000000000000/q,http://us-east-1.queue.localhost.localstack.cloud:4566/000000000000/q", 1),
        (f"{LOCAL}/queue/us-east-1/000000000000/q,http://queue.localhost.localstack.cloud:4566/000000000000/q", 1),
        (f"{LOCAL}/queue/us-east-1/000000000000/q,{LOCAL}/queue/us-east-1/111111111111/q", 2),
        (f"{LOCAL}/queue/q,{LOCAL}/111111111111/q", 2),
        (f"{LOCAL}/queue/q,{LOCAL}/queue/q.fifo", 2),
    ],
)
def test_a_queue_of_an_emulator_counts_once_in_each_of_its_spellings(queues: str, expected: int) -> None:
    made = trigger(queueURL=queues, awsRegion="us-east-1", awsEndpoint=LOCAL)
    assert len(made.places()) == expected


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/queue/eu-west-1/123456789012/orders", "https://HOST/ACCOUNT/NAME, or"),
        ("123456789012/orders", "a URL, or a name of up to 80 letters"),
        ("//sqs.eu-west-1.amazonaws.com/123456789012/orders", "a URL, or a name"),
        (f"{URL}/", "https://HOST/ACCOUNT/NAME, or the name"),
        (f"{URL}?x=1", "https://HOST/ACCOUNT/NAME, or the name"),
        ("https://sqs.eu-west-1.amazonaws.com/1/2/orders", "https://HOST/ACCOUNT/NAME, or the name"),
        ("arn:aws:sqs:eu-west-1:123456789012:orders", f"a URL or a name, not an ARN: {URL}"),
        ("arn:aws-cn:sqs:cn-north-1:1:o.fifo", "not an ARN: https://sqs.cn-north-1.amazonaws.com.cn/1/o.fifo"),
    ],
)
def test_what_is_neither_url_nor_name_is_refused_with_the_right_form(queue: str, said: str) -> None:
    with pytest.raises(MetadataError, match="queueURL: ") as error:
        trigger(queueURL=queue, awsRegion="eu-west-1")
    assert said in str(error.value)


def test_a_url_of_yandex_has_two_parts_before_the_name() -> None:
    url = "https://message-queue.api.cloud.yandex.net/b1gv67/dj6000/orders.fifo"
    made = trigger(queueURL=url, awsRegion="ru-central1", awsEndpoint="https://message-queue.api.cloud.yandex.net")
    assert made.places() == (Queue(made.account, url),)
    assert made.specs()[0].name.startswith("sqs-orders-fifo")
    assert Claim("sqs", "arn:aws:sqs:ru-central1:b1gv67/dj6000:orders.fifo") in made.claims()
