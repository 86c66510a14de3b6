"""Metadata to triggers, on the scripted source: what is understood, and what is said about mistakes."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.errors import MetadataError
from scaler.demo.scripted import ScriptedTrigger
from scaler.sources import SOURCES
from scaler.sources.base import NAMESPACE
from scaler.sources.triggers import KEDA_KEYS, Problem, check, clipped, keys_of, parse, shown

pytestmark = pytest.mark.usefixtures("scripted_source")


def parsed(**metadata: str) -> ScriptedTrigger:
    trigger = parse({"source": "scripted", "spots": "a", **metadata}, "shop")
    assert isinstance(trigger, ScriptedTrigger)
    return trigger


def refusal(metadata: dict[str, str]) -> str:
    with pytest.raises(MetadataError) as caught:
        parse(metadata, "shop")
    return str(caught.value)


def test_keys_are_read_and_the_rest_has_defaults() -> None:
    trigger = parsed(spots="a, b", target="2.5", refreshSeconds="7", metricType="Value")
    assert (trigger.spots, trigger.target, trigger.refresh_seconds, trigger.metric_type) == (
        ("a", "b"),
        2.5,
        7,
        "Value",
    )
    assert (trigger.idle_refresh_seconds, trigger.settle_seconds, trigger.stale_seconds) == (1, 0, 60)
    assert trigger.namespace == "shop"


def test_equal_metadata_is_an_equal_trigger() -> None:
    assert parsed() == parsed(spots=" a ", target="")
    assert hash(parsed()) == hash(parsed(target="5"))
    assert parsed() != parsed(target="6")


def test_kedas_own_keys_are_left_to_keda() -> None:
    assert parsed(**dict.fromkeys(KEDA_KEYS, "whatever")) == parsed()


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
def test_a_blank_value_counts_as_absent(blank: str) -> None:
    assert parsed(target=blank, second=blank) == parsed()
    assert parsed(target=blank, targetFromEnv="3").target == 3
    assert refusal({"source": blank, "spots": "a"}).startswith("source: required")


def test_every_key_may_come_from_the_environment() -> None:
    trigger = parse({"sourceFromEnv": "scripted", "spotsFromEnv": "a", "targetFromEnv": " 7 "}, "shop")
    assert trigger == parsed(target="7")


def test_the_namespace_cannot_be_given_as_a_key() -> None:
    said = refusal({"source": "scripted", "spots": "a", NAMESPACE: "kube-system"})
    assert said.startswith("(namespace): unknown key")
    assert NAMESPACE not in keys_of(ScriptedTrigger)


MISTAKES = [
    pytest.param({"target": "0"}, "target: '0' is not allowed; it must be 0.001 or more", id="too small"),
    pytest.param(
        {"refreshSeconds": "3601"},
        "refreshSeconds: '3601' is not allowed; it must be 3600 or less",
        id="too large",
    ),
    pytest.param({"target": "NaN"}, "target: 'NaN' is not allowed; it must be a number", id="not a number"),
    pytest.param({"settleSeconds": "-1"}, "settleSeconds: '-1' is not allowed; it must be 0 or more", id="negative"),
    pytest.param(
        {"spots": "a,,b"},
        "spots: 'a,,b' is not allowed; it must be a comma-separated list without empty items",
        id="empty item",
    ),
    pytest.param(
        {"spots": ",".join(map(str, range(201)))}, "a comma-separated list of at most 200 items", id="too many items"
    ),
    pytest.param(
        {"metricType": "Utilization"},
        "metricType: 'Utilization' is not allowed; it must be one of 'AverageValue' or 'Value'",
        id="no such choice",
    ),
    pytest.param({"Target": "5"}, "Target: unknown key for source scripted; did you mean target?", id="case"),
    pytest.param(
        {"refreshSecond": "5"},
        "refreshSecond: unknown key for source scripted; did you mean refreshSeconds?",
        id="misspelt",
    ),
    pytest.param(
        {"queueURL": "x"}, "queueURL: unknown key for source scripted; it belongs to source sqs", id="of another source"
    ),
    pytest.param(
        {"zzz": "x"},
        "zzz: unknown key for source scripted; known: source, metricType, refreshSeconds",
        id="like nothing",
    ),
    pytest.param({"FromEnv": "x"}, "FromEnv: unknown key", id="the suffix alone"),
    pytest.param(
        {"targetFromEnv": "5", "target": "5"},
        "target: given both as target and as targetFromEnv; keep one of them",
        id="both ways",
    ),
    pytest.param({"source": "sqss"}, "source: 'sqss' is not a source; allowed: sqs, ", id="no such source"),
    pytest.param(
        {"refreshSeconds": "50", "staleSeconds": "20"},
        "staleSeconds: 20 is below refreshSeconds (50)",
        id="stale before fresh",
    ),
]


@pytest.mark.parametrize(("metadata", "said"), MISTAKES)
def test_a_mistake_says_key_value_and_what_is_allowed(metadata: dict[str, str], said: str) -> None:
    assert said in refusal({"source": "scripted", "spots": "a", **metadata})


def test_without_a_source_the_known_are_listed_and_the_likely_mistake() -> None:
    assert refusal({"spots": "a"}) == f"source: required, one of {', '.join(SOURCES)}"
    assert refusal({"sourc": "sqs"}).endswith("; is 'sourc' meant to be it?")


def test_all_mistakes_are_told_at_once() -> None:
    said = refusal({"source": "scripted", "target": "x", "settleSeconds": "y"})
    assert "target: 'x'" in said
    assert "; settleSeconds: 'y'" in said or "settleSeconds: 'y'" in said
    assert refusal({"source": "scripted", "one": "1", "two": "2"}).count("unknown key") == 2


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"targetFromEnv": "hunter2"}, id="from the environment"),
        pytest.param({"target": "https://user:hunter2@host"}, id="user name and password in a URL"),
        pytest.param({"target": "redis://:hun/hunter2@host"}, id="a password that is not encoded"),
        pytest.param({"sourceFromEnv": "hunter2", "source": ""}, id="as the source"),
        pytest.param({"hunter": "hunter2"}, id="under an unknown key"),
    ],
)
def test_what_may_be_a_secret_is_not_shown(metadata: dict[str, str]) -> None:
    assert "hunter2" not in refusal({"source": "scripted", "spots": "a", **metadata})


def test_messages_are_one_readable_line() -> None:
    assert (
        clipped("a\x00b\nc\u202e") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}"
    )
    assert clipped("x" * 81) == f"{'x' * 80}… (81 characters)"
    assert shown("\N{SNOWMAN}") == "'\N{SNOWMAN}'"
    said = refusal({"source": "scripted", "spots": "a", "k\n" * 5_000: "x", f"k{'y' * 9_999}FromEnv": "1"})
    assert "\n" not in said
    assert len(said) < 1_000


def test_long_and_many_mistakes_take_no_time() -> None:
    began = time.process_time()
    refusal({"source": "scripted", **{f"{'spot' * 2_500}{number}": "x" * 10_000 for number in range(200)}})
    refusal({f"{'sourc' * 2_000}{number}": "x" * 10_000 for number in range(200)})
    assert time.process_time() - began < 1


@given(
    st.dictionaries(
        st.text(max_size=20) | st.sampled_from(["target", "spots", "source", "targetFromEnv"]), st.text(max_size=20)
    )
)
def test_any_metadata_is_a_trigger_or_an_explained_mistake(metadata: dict[str, str]) -> None:
    trigger, problems = check(metadata, "shop")
    assert (trigger is None) == bool(problems)
    assert all(problem.text and "\n" not in str(problem) for problem in problems)
    assert trigger is None or trigger.specs()


# For validate: what KEDA takes from the environment is not known there


@pytest.mark.parametrize(
    ("metadata", "unresolved", "problems"),
    [
        pytest.param({"source": "scripted", "spotsFromEnv": "?"}, ["spotsFromEnv"], 0, id="not judged"),
        pytest.param({"sourceFromEnv": "?"}, ["sourceFromEnv"], 0, id="even the source"),
        pytest.param(
            {"source": "scripted", "spotsFromEnv": "?", "target": "x"}, ["spotsFromEnv"], 1, id="but the rest is"
        ),
        pytest.param({"source": "scripted", "spotFromEnv": "?"}, ["spotFromEnv"], 1, id="the key is"),
        pytest.param(
            {"source": "scripted", "target": "5", "targetFromEnv": "?"}, ["targetFromEnv"], 1, id="and both ways"
        ),
    ],
)
def test_what_is_not_known_yet_is_checked_as_far_as_it_goes(
    metadata: dict[str, str], unresolved: list[str], problems: int
) -> None:
    _, found = check(metadata, "shop", unresolved)
    assert len(found) == problems


def test_a_problem_is_a_line() -> None:
    assert str(Problem("target", "is wrong")) == "target: is wrong"


@pytest.mark.parametrize(
    ("source", "key", "said"),
    [
        ("sqs", "metricName", "the metric's name follows from the other keys"),
        ("sqs", "awsAccessKeyID", "own identity"),
        ("sqs", "podIdentity", "own identity"),
        ("sidekiq", "metricName", "the metric's name follows from the other keys"),
        ("sidekiq", "listName", "write queues, without `queue:`"),
        ("sidekiq", "listLength", "write queueLength"),
        ("sidekiq", "address", "redisURLFromEnv"),
        ("sidekiq", "threshold", "write busyRatio"),
        ("workqueue", "serverAddress", "write prometheusURL"),
        ("sqs", "useCachedMetrics", "beside the metadata"),
        ("sqs", "queueLenght", "did you mean queueLength?"),
        ("sqs", "queueUrl", "did you mean queueURL?"),
        ("sqs", "region", "did you mean awsRegion?"),
    ],
)
def test_a_key_of_another_scaler_is_told_what_stands_in_its_place(source: str, key: str, said: str) -> None:
    _, problems = check({"source": source, key: "x"}, "shop")
    assert any(problem.key == key and said in problem.text for problem in problems), problems
