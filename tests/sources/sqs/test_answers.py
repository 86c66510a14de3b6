import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from botocore.parsers import JSONParser
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.errors import Fault, Refused, Throttled, Unavailable
from scaler.sources.sqs.answers import (
    ATTRIBUTES,
    counts_of,
    error_code,
    fault_of,
    parse_body,
    parse_counts,
    parse_listing,
)
from scaler.sources.sqs.places import Counts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
COUNT = st.integers(0, 2**63 - 1)


def attributes(visible: Any, in_flight: Any, delayed: Any) -> dict[str, Any]:
    return {"Attributes": dict(zip(ATTRIBUTES.values(), (visible, in_flight, delayed), strict=True))}


@given(COUNT, COUNT, COUNT)
def test_counts_of_64_bits_are_read_exactly(visible: int, in_flight: int, delayed: int) -> None:
    body = json.dumps(attributes(str(visible), str(in_flight), str(delayed))).encode()
    assert parse_counts(parse_body(body)) == Counts(visible, in_flight, delayed)


def test_equal_answers_are_parsed_once_and_garbled_ones_are_never_taken_for_them() -> None:
    counts_of.cache_clear()
    body, garbled = json.dumps(attributes("0", "0", "0")).encode(), json.dumps(attributes("0", "0", None)).encode()
    assert counts_of(body) is counts_of(bytes(bytearray(body)))
    for _ in range(2):
        with pytest.raises(Unavailable):
            counts_of(garbled)
    assert counts_of(json.dumps(attributes("0", "0", "1")).encode()) == Counts(0, 0, 1)


@pytest.mark.parametrize(
    "bad", [None, "", "-1", "+1", "1.0", "1e3", " 1", "1 ", "1\n", "0x1", "१", "NaN", 1, 1.0, True, [], {}, "9" * 20]
)
@pytest.mark.parametrize("which", range(3))
def test_what_is_no_count_is_a_fault(bad: Any, which: int) -> None:
    counts: list[Any] = ["0", "0", "0"]
    counts[which] = bad
    with pytest.raises(Unavailable, match=list(ATTRIBUTES.values())[which]):
        parse_counts(attributes(*counts))


@pytest.mark.parametrize("which", ATTRIBUTES.values())
def test_a_missing_count_is_a_fault(which: str) -> None:
    answer = attributes("0", "0", "0")
    del answer["Attributes"][which]
    with pytest.raises(Unavailable, match=f"without a usable {which}"):
        parse_counts(answer)


@given(JSON)
def test_nothing_becomes_a_count_by_itself(attributes: Any) -> None:
    with pytest.raises(Unavailable):
        parse_counts({"Attributes": attributes})


@given(st.dictionaries(st.sampled_from([*ATTRIBUTES.values()]), JSON | st.text("0123456789", max_size=25)))
def test_a_count_is_what_was_written(attributes: dict[str, Any]) -> None:
    counts = None
    with suppress(Unavailable):
        counts = parse_counts({"Attributes": attributes})
    if counts is not None:
        assert [str(getattr(counts, field)) for field in ATTRIBUTES] == [
            attributes[name].lstrip("0") or "0" for name in ATTRIBUTES.values()
        ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"3",
        b'"x"',
        b"<html><body>",
        b'{"Attributes": {',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"9" * 5000,
    ],
    ids=repr,
)
def test_what_is_no_json_object_is_a_fault(body: bytes) -> None:
    with pytest.raises(Unavailable, match="not the JSON that SQS sends"):
        parse_body(body)
    assert error_code(body, {}) == ""


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_body_is_an_object_or_a_fault(body: bytes) -> None:
    with suppress(Unavailable):
        assert isinstance(parse_body(body), dict)


@pytest.mark.parametrize(
    ("answer", "urls"),
    [
        ({}, []),
        ({"QueueUrls": []}, []),
        ({"QueueUrls": ["https://h/1/shop-a", "https://h/1/shop-b"]}, ["https://h/1/shop-a", "https://h/1/shop-b"]),
    ],
)
def test_a_listing_is_read(answer: Mapping[str, Any], urls: list[str]) -> None:
    assert parse_listing(answer, "shop-") == urls


@pytest.mark.parametrize(
    "urls",
    [
        None,
        "https://h/1/shop-a",
        {"a": 1},
        [1],
        [None],
        ["https://h/1/bank"],
        ["https://h/shop-a/bank"],
        ["https://h/1/shop-\n"],
        0,
    ],
)
def test_what_is_no_listing_is_a_fault(urls: Any) -> None:
    with pytest.raises(Unavailable, match="no list of these queues"):
        parse_listing({"QueueUrls": urls}, "shop-")


@given(st.dictionaries(st.just("QueueUrls") | st.text(), JSON), st.text(min_size=1))
def test_any_listing_is_read_or_a_fault(answer: dict[str, Any], prefix: str) -> None:
    with suppress(Unavailable):
        assert all(prefix in url for url in parse_listing(answer, prefix))


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        ({"__type": "com.amazonaws.sqs#QueueDoesNotExist"}, {}, "QueueDoesNotExist"),
        (
            {"__type": "com.amazonaws.sqs#QueueDoesNotExist"},
            {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"},
            "AWS.SimpleQueueService.NonExistentQueue",
        ),
        ({"__type": "InvalidAddress"}, {"x-amzn-query-error": "InvalidAddress"}, "InvalidAddress"),
        ({"__type": "a.b#Throttled:http://x"}, {}, "Throttled"),
        ({}, {"x-amzn-query-error": "AccessDenied;Sender"}, "AccessDenied"),
        ({"__type": "with spaces and \n lines"}, {}, ""),
        ({"__type": ["a"]}, {}, ""),
        ({"__type": "x" * 101}, {}, ""),
        ({"message": "no type"}, {}, ""),
    ],
)
def test_the_error_code(body: Any, headers: dict[str, str], code: str) -> None:
    assert error_code(json.dumps(body).encode(), headers) == code


CODE = st.from_regex(r"\A[A-Za-z.]{1,20}\Z")


@given(
    CODE | st.builds("{}#{}".format, CODE, CODE) | st.builds("{}#{}:{}".format, CODE, CODE, CODE),
    st.just({}) | st.dictionaries(st.just("x-amzn-query-error"), CODE | st.builds("{};{}".format, CODE, CODE)),
)
def test_the_error_code_is_that_of_boto3(type_: str, headers: dict[str, str]) -> None:
    body = json.dumps({"__type": type_}).encode()
    theirs = JSONParser().parse({"status_code": 400, "headers": headers, "body": body}, None)
    assert error_code(body, headers) == theirs["Error"]["Code"]


@given(st.binary() | st.builds(lambda name: json.dumps({"__type": name}).encode(), JSON), st.text())
def test_any_error_has_a_printable_code(body: bytes, header: str) -> None:
    code = error_code(body, {"x-amzn-query-error": header})
    assert len(code) <= 100
    assert code.isprintable()


@pytest.mark.parametrize(
    ("status", "code", "fault", "said"),
    [
        (400, "AWS.SimpleQueueService.NonExistentQueue", Refused, "check queueURL and awsRegion"),
        (400, "QueueDoesNotExist", Refused, "check queueURL and awsRegion"),
        (404, "InvalidAddress", Refused, "awsEndpoint"),
        (403, "AccessDenied", Refused, "allow sqs:GetQueueAttributes"),
        (400, "AccessDeniedException", Refused, "allow sqs:GetQueueAttributes"),
        (403, "InvalidClientTokenId", Refused, "credentials are not valid"),
        (400, "UnrecognizedClientException", Refused, "credentials are not valid"),
        (403, "ExpiredToken", Refused, "credentials are not valid"),
        (403, "SignatureDoesNotMatch", Refused, "this machine's clock"),
        (400, "InvalidSignatureException", Refused, "this machine's clock"),
        (400, "InvalidAttributeName", Refused, "InvalidAttributeName"),
        (403, "", Refused, "no error code; is the endpoint SQS? (HTTP 403)"),
        (400, "RequestThrottled", Throttled, "RequestThrottled (HTTP 400)"),
        (400, "ThrottlingException", Throttled, "HTTP 400"),
        (503, "SlowDown", Throttled, "HTTP 503"),
        (429, "", Throttled, "HTTP 429"),
        (400, "RequestTimeout", Unavailable, "HTTP 400"),
        (500, "InternalFailure", Unavailable, "InternalFailure (HTTP 500)"),
        (500, "AccessDenied", Unavailable, "HTTP 500"),
        (503, "", Unavailable, "HTTP 503"),
        (301, "", Unavailable, "HTTP 301"),
        (204, "", Unavailable, "HTTP 204"),
    ],
)
def test_what_an_error_stands_for(status: int, code: str, fault: type[Fault], said: str) -> None:
    made = fault_of(status, code, "GetQueueAttributes")
    assert type(made) is fault
    assert said in str(made)
    assert str(status) in str(made)


def test_a_list_of_queues_is_allowed_on_all_of_them() -> None:
    assert "allow sqs:ListQueues on * to" in str(fault_of(403, "AccessDenied", "ListQueues"))
