"""Triggers on SQS: their defaults, what they claim, and what follows from the counts."""

import itertools
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.clients.aws.settings import AwsSettings, RoleGrant
from scaler.core.errors import MetadataError, Refused
from scaler.sources.base import Claim
from scaler.sources.sqs.places import Account, Counts, Listed, Listing, Queue
from scaler.sources.sqs.trigger import SqsTrigger
from scaler.sources.triggers import parse
from tests.sources.sqs.conftest import ROLE, URL, trigger


def test_the_defaults_are_those_of_aws_sqs_queue() -> None:
    made = trigger(queueURL=URL)
    assert made.specs()[0].target == 5
    assert (made.activation_queue_length, made.scale_on_in_flight, made.scale_on_delayed) == (0, True, False)
    assert (made.refresh_seconds, made.idle_refresh_seconds, made.settle_seconds, made.stale_seconds) == (10, 1, 60, 60)
    assert made.hold_in_flight


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "queueURL: give either queueURL or queueNamePrefix"),
        ({"queueURL": "q", "queueNamePrefix": "q", "awsRegion": "eu-west-1"}, "give either"),
        ({"queueURL": "https://sqs.eu-west-1.amazonaws.com/orders"}, "https://HOST/ACCOUNT/NAME"),
        ({"queueURL": URL + "/"}, "https://HOST/ACCOUNT/NAME"),
        ({"queueURL": URL + "/more"}, "https://HOST/ACCOUNT/NAME"),
        ({"queueURL": URL + "?a=/999999999999/other"}, "https://HOST/ACCOUNT/NAME"),
        ({"queueURL": URL + "?a"}, "HOST/ACCOUNT/NAME, or the name"),
        ({"queueURL": URL + "#a"}, "HOST/ACCOUNT/NAME, or the name"),
        ({"queueURL": "ftp://host/123456789012/orders"}, "https://HOST/ACCOUNT/NAME"),
        ({"queueURL": "https://user:canary@host/123456789012/orders"}, "not shown"),
        ({"queueURL": "q u", "awsRegion": "eu-west-1"}, "letters, digits"),
        ({"queueURL": "q" * 81, "awsRegion": "eu-west-1"}, "up to 80"),
        ({"queueURL": "schlange-ü", "awsRegion": "eu-west-1"}, "letters, digits"),
        ({"queueURL": "a,,b", "awsRegion": "eu-west-1"}, "without empty items"),
        ({"queueURL": ",".join(f"q{number}" for number in range(201)), "awsRegion": "eu-west-1"}, "at most 200"),
        ({"queueURL": URL, "awsRegion": "eu-west-2"}, "not the region in queueURL (eu-west-1)"),
        ({"queueURL": URL + "," + URL.replace("eu-west-1", "eu-west-2")}, "does not name one region"),
        ({"queueURL": URL, "awsRegion": "Ireland"}, "a region such as eu-west-1"),
        ({"queueURL": "q", "awsRegion": "s3"}, "a region such as eu-west-1"),
        ({"queueURL": URL, "awsEndpoint": "sqs.eu-west-1.amazonaws.com"}, "https://HOST"),
        ({"queueURL": URL, "awsEndpoint": "https://:canary@sqs.eu-west-1.amazonaws.com"}, "https://HOST"),
        ({"queueURL": URL, "awsEndpoint": "https://a\\@sqs.eu-west-1.amazonaws.com"}, "https://HOST"),
        ({"queueURL": URL, "awsEndpoint": "https://sqs.eu-west-1.amazonaws.com/?x"}, "https://HOST"),
        ({"queueURL": URL, "awsEndpoint": "http://[::1"}, "https://HOST"),
        ({"queueURL": URL, "awsRoleArn": "arn:aws:iam::1:role/x"}, "arn:aws:iam::ACCOUNT:role/NAME"),
        ({"queueURL": URL, "awsRoleArn": "keda-shop"}, "arn:aws:iam::ACCOUNT:role/NAME"),
        ({"queueURL": URL, "identityOwner": "pod"}, "set awsRoleArn to a role"),
        ({"queueURL": URL, "queueLength": "0"}, "more than 0"),
        ({"queueURL": URL, "queueLength": "2.5"}, "a whole number"),
        ({"queueURL": URL, "queueLength": "9223372036854775807"}, "1000000000000 or less"),
        ({"queueURL": URL, "activationQueueLength": "-1"}, "0 or more"),
        ({"queueURL": URL, "activationQueueLength": "9223372036854775808"}, "9223372036854775807 or less"),
        ({"queueURL": URL, "scaleOnInFlight": "yes"}, "true or false"),
        ({"queueURL": URL, "queueNamePrefx": "a"}, "did you mean queueNamePrefix?"),
        ({"queueURL": URL, "scaleOnInflight": "true"}, "did you mean scaleOnInFlight?"),
        ({"queueNamePrefix": "a b", "awsRegion": "eu-west-1"}, "1 to 80 letters"),
        ({"queueNamePrefix": "a"}, "awsRegion: required"),
        ({"queueURL": URL, "excludeQueues": "a"}, "only together with queueNamePrefix"),
        ({"queueNamePrefix": "a", "awsRegion": "eu-west-1", "excludeQueues": "a b"}, "list of queue names"),
        ({"queueURL": "q", "awsRegion": "elasticmq"}, "only with an awsEndpoint that is not AWS's own"),
        (
            {"queueURL": "q", "awsRegion": "s3", "awsEndpoint": "https://sqs.eu-west-1.amazonaws.com"},
            "only with an awsEndpoint that is not AWS's own",
        ),
        ({"queueURL": "q", "awsRegion": "a b", "awsEndpoint": "http://h:1"}, "a region such as eu-west-1"),
        (
            {"queueURL": "q", "awsRegion": "eu-west-2", "awsEndpoint": "https://sqs.eu-west-1.amazonaws.com"},
            "awsEndpoint: is in region eu-west-1, while the queues are in eu-west-2",
        ),
        (
            {"queueURL": URL, "awsEndpoint": "https://vpce-0a-b1.sqs.us-east-2.vpce.amazonaws.com"},
            "awsEndpoint: is in region us-east-2, while the queues are in eu-west-1",
        ),
        (
            {"queueURL": f"orders,{URL},{URL.replace('123456789012', '999999999999')}"},
            "orders is given by name and by URLs of several accounts; give all by URL",
        ),
        ({"queueURL": URL, "awsSecretAccessKeyFromEnv": "canary"}, "awsSecretAccessKey: unknown key"),
    ],
)
def test_mistakes_are_told(metadata: dict[str, str], said: str) -> None:
    with pytest.raises(MetadataError, match=re.escape(said)) as caught:
        trigger(**metadata)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["queueURL", "queueNamePrefix", "awsRegion", "awsEndpoint", "awsRoleArn", "queueLength"]
)
@pytest.mark.parametrize("value", ["ü" * 10_000, "a" * 10_000, "https://" + "a" * 10_000, "1" * 10_000])
def test_a_huge_value_is_refused_in_few_words(key: str, value: str) -> None:
    with pytest.raises(MetadataError, match=key) as caught:
        trigger(**{"queueURL": URL, key: value})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("owner", ["operator", ""])
def test_the_operators_identity_may_be_named(owner: str) -> None:
    assert trigger(queueURL=URL, identityOwner=owner).account == Account("eu-west-1", None, None, "")


def test_readings_are_shared_only_with_the_same_region_role_and_queue() -> None:
    def place(namespace: str, **metadata: str) -> object:
        return parse({"source": "sqs", "queueURL": "q", "awsRegion": "eu-west-1", **metadata}, namespace).places()

    same = place("shop")
    assert place("bank") == same
    assert place("shop", queueLength="7", activationQueueLength="3", scaleOnInFlight="false") == same
    different = [
        same,
        place("shop", awsRegion="eu-west-2"),
        place("shop", awsEndpoint="http://127.0.0.1:1"),
        place("shop", awsRoleArn=ROLE),
        place("bank", awsRoleArn=ROLE),
        place("shop", awsRoleArn=ROLE + "2"),
    ]
    assert len(set(different)) == len(different)


def test_a_place_names_its_backend_without_secrets() -> None:
    queue = Queue(Account("eu-west-1", None, None, ""), URL)
    assert (str(queue), queue.backend) == ("SQS queue orders in eu-west-1", "sqs/own-account/eu-west-1")
    assert Queue(Account("eu-west-1", None, ROLE, "shop"), "q").backend == "sqs/210987654321/eu-west-1"
    assert Listing(Account("eu-west-1", "http://127.0.0.1:1", None, ""), "q").backend == "sqs/127.0.0.1:1"


@pytest.mark.parametrize(
    ("metadata", "claims"),
    [
        ({"queueURL": URL}, [("sqs", "arn:aws:sqs:eu-west-1:123456789012:orders")]),
        (
            {"queueURL": "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/a.fifo"},
            [("sqs", "arn:aws-cn:sqs:cn-north-1:123456789012:a.fifo")],
        ),
        ({"queueURL": "q", "awsRegion": "us-gov-west-1"}, [("sqs", "arn:aws-us-gov:sqs:us-gov-west-1::q")]),
        ({"queueNamePrefix": "q", "awsRegion": "eu-west-1"}, [("sqs", "arn:aws:sqs:eu-west-1::q*")]),
        (
            {"queueURL": "q", "awsRegion": "eu-west-1", "awsRoleArn": ROLE},
            [("sqs", "arn:aws:sqs:eu-west-1:210987654321:q"), ("role", ROLE)],
        ),
        (
            {
                "queueURL": URL,
                "awsEndpoint": "http://Moto:5000/",
            },
            [("sqs", "arn:aws:sqs:eu-west-1:123456789012:orders"), ("endpoint", "http://moto:5000")],
        ),
    ],
)
def test_the_claims_say_what_is_used(metadata: dict[str, str], claims: list[tuple[str, str]]) -> None:
    assert [(claim.kind, claim.value) for claim in trigger(**metadata).claims()] == claims


FLAGS = list(itertools.product([False, True], repeat=3))
NUMBERS = st.integers(0, 2**63 - 1)


def judged(counts: list[Counts], **metadata: str) -> tuple[float, bool, str]:
    names = [f"q{number}" for number in range(len(counts))]
    made = trigger(queueURL=",".join(names), awsRegion="eu-west-1", **metadata)
    assessment = made.assess(dict(zip(made.places(), counts, strict=True)), 0.0)
    assert [metric.name for metric in assessment.metrics] == [spec.name for spec in made.specs()]
    return assessment.metrics[0].value, assessment.active, assessment.reasons[0]


@given(
    st.lists(st.builds(Counts, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=3),
    st.sampled_from(FLAGS),
    st.integers(0, 10) | NUMBERS,
)
def test_value_and_active_follow_from_the_counts(
    counts: list[Counts], flags: tuple[bool, bool, bool], threshold: int
) -> None:
    in_flight, delayed, hold = flags
    value, active, reason = judged(
        counts,
        scaleOnInFlight=str(in_flight).lower(),
        scaleOnDelayed=str(delayed).lower(),
        holdInFlight=str(hold).lower(),
        activationQueueLength=str(threshold),
    )
    backlog = 0
    for count in counts:
        backlog += count.visible
        if in_flight:
            backlog += count.in_flight
        if delayed:
            backlog += count.delayed
    busy = any(count.in_flight for count in counts)
    assert value == float(backlog)
    assert active == (backlog > threshold or (hold and busy))
    assert reason.startswith("active:" if active else "inactive:")


@pytest.mark.parametrize(
    ("counts", "metadata", "active"),
    [
        (Counts(0, 0, 0), {}, False),
        (Counts(0, 0, 9), {}, False),
        (Counts(0, 0, 9), {"scaleOnDelayed": "true"}, True),
        (Counts(0, 1, 0), {"scaleOnInFlight": "false"}, True),
        (Counts(0, 1, 0), {"scaleOnInFlight": "false", "holdInFlight": "false"}, False),
        (Counts(3, 0, 0), {"activationQueueLength": "3"}, False),
        (Counts(4, 0, 0), {"activationQueueLength": "3"}, True),
        (Counts(0, 1, 0), {"activationQueueLength": "3"}, True),
    ],
)
def test_when_it_is_active(counts: Counts, metadata: dict[str, str], active: bool) -> None:  # noqa: FBT001 - a table
    assert judged([counts], **metadata)[1] is active


def test_the_components_tell_what_is_not_counted() -> None:
    made = trigger(queueURL="a,b", awsRegion="eu-west-1", scaleOnInFlight="false")
    readings = dict(zip(made.places(), [Counts(1, 2, 3), Counts(10, 20, 30)], strict=True))
    told = {component.name: (component.value, component.note) for component in made.assess(readings, 0.0).components}
    assert told == {
        "visible": (11, ""),
        "in flight": (22, "not counted: scaleOnInFlight is false"),
        "delayed": (33, "not counted: scaleOnDelayed is false"),
        "queue a": (1, "visible; 2 in flight, 3 delayed"),
        "queue b": (10, "visible; 20 in flight, 30 delayed"),
    }


def test_a_prefix_adds_up_what_the_listing_names() -> None:
    made = trigger(queueNamePrefix="q", awsRegion="eu-west-1")
    (listing,) = made.places()
    urls = (URL + "1", URL + "2")
    listed = Listed(urls)
    found = made.further_places({listing: listed})
    assert found == tuple(Queue(made.account, url) for url in urls)
    readings = {listing: listed, found[0]: Counts(1, 0, 0), found[1]: Counts(4, 0, 0)}
    assert made.assess(readings, 0.0).metrics[0].value == 5
    with pytest.raises(KeyError):
        made.assess({listing: listed, found[0]: Counts(1, 0, 0)}, 0.0)  # a queue without a reading is no empty queue


def test_a_prefix_leaves_out_what_is_excluded_and_says_what() -> None:
    made = trigger(queueNamePrefix="q", awsRegion="eu-west-1", excludeQueues="*-test,q?")
    (listing,) = made.places()
    readings: dict[Any, Any] = {
        listing: Listed((f"{URL[:-6]}q1", f"{URL[:-6]}q-test", f"{URL[:-6]}q-main"), ("q-dead",))
    }
    (queue,) = made.further_places(readings)
    assert queue == Queue(made.account, f"{URL[:-6]}q-main")
    found = made.assess(readings | {queue: Counts(4, 0, 0)}, 0.0)
    assert found.metrics[0].value == 4
    assert [(part.name, part.value, part.note) for part in found.components[-2:]] == [
        ("dead-letter queues", 1, "not counted: q-dead"),
        ("excluded queues", 2, "not counted: q1, q-test"),
    ]


@pytest.mark.parametrize("listed", [Listed((URL,)), Listed((), ("orders", "orders-too"))], ids=["excluded", "dead"])
def test_a_prefix_of_which_nothing_is_left_is_no_empty_queue(listed: Listed) -> None:
    made = trigger(queueNamePrefix="o", awsRegion="eu-west-1", excludeQueues="*")
    with pytest.raises(Refused, match="every queue with the prefix o is a dead-letter queue or excluded"):
        made.assess({made.places()[0]: listed}, 0.0)


def test_a_role_is_granted_by_namespace() -> None:
    aws = AwsSettings(
        roles=(
            RoleGrant(arn="arn:aws:iam::*:role/keda-*", namespaces=("shop-*",), external_id="first"),
            RoleGrant(arn=ROLE, namespaces=("*",), external_id="second"),
        )
    )
    assert aws.grant("shop-a", ROLE) == aws.roles[0]
    assert aws.grant("bank", ROLE) == aws.roles[1]
    assert aws.grant("bank", ROLE + "2") is None


@given(
    st.dictionaries(
        st.sampled_from(sorted(field.alias or "" for field in SqsTrigger.model_fields.values())), st.text(max_size=200)
    )
)
def test_any_metadata_is_read_or_refused_with_a_reason(metadata: dict[str, str]) -> None:
    metadata = {"queueURL": "q", "awsRegion": "eu-west-1", **metadata, "source": "sqs"}
    made = None
    with suppress(MetadataError):
        made = parse(metadata, "shop")
    if made is not None:
        assert made.specs()[0].target > 0
        assert all(isinstance(claim, Claim) for claim in made.claims())
