import re
import textwrap
from pathlib import Path

import pytest
import yaml

from scaler.clients.redis.server import RedisRef
from scaler.core.domain import MetricSpec
from scaler.core.errors import MetadataError
from scaler.sources import triggers
from scaler.sources.base import Claim
from scaler.sources.sidekiq import SidekiqTrigger
from scaler.sources.sidekiq.due_jobs import DueJobs
from scaler.sources.sidekiq.known_queues import KnownQueues
from scaler.sources.sidekiq.places import OldestJob, QueueDepth
from scaler.sources.sidekiq.process_set import ProcessSet
from scaler.sources.sidekiq.workload import Selection

DOCS = Path(__file__).parents[3] / "docs" / "sidekiq.md"


def trigger(**metadata: str) -> SidekiqTrigger:
    parsed = triggers.parse({"source": "sidekiq", "redis": "main", "queues": "default,mail", **metadata}, "shop")
    assert isinstance(parsed, SidekiqTrigger)
    return parsed


def test_defaults() -> None:
    parsed = trigger()
    assert parsed.specs() == (MetricSpec("sidekiq-busy-default-mail", 0.75),)
    assert (parsed.refresh_seconds, parsed.idle_refresh_seconds, parsed.settle_seconds) == (5, 0.25, 15)
    assert (parsed.stale_seconds, parsed.schedule_lead_seconds, parsed.activation_queue_length) == (60, 30, 0)
    assert (parsed.hold_busy, parsed.count_waiting, parsed.concurrency, parsed.metric_type) == (
        True,
        False,
        None,
        "AverageValue",
    )


def test_each_target_makes_a_metric() -> None:
    parsed = trigger(busyRatio="0.6", queueLength="20", queueLatency="2.5")
    assert parsed.specs() == (
        MetricSpec("sidekiq-busy-default-mail", 0.6),
        MetricSpec("sidekiq-waiting-default-mail", 20.0),
        MetricSpec("sidekiq-latency-default-mail", 2.5),
    )


def test_places_of_a_named_redis() -> None:
    redis = RedisRef("redis/main", name="main")
    assert trigger().places() == (
        ProcessSet(redis, "", jobs=False),
        DueJobs(redis, "", 30),
        KnownQueues(redis, ""),
        QueueDepth(redis, "", "default"),
        QueueDepth(redis, "", "mail"),
    )
    assert trigger(queueLatency="1").places()[-2:] == (OldestJob(redis, "", "default"), OldestJob(redis, "", "mail"))
    assert trigger(capsule="slow").places()[0] == ProcessSet(redis, "", jobs=True)
    assert trigger(scheduleLeadSeconds="5").places()[1] == DueJobs(redis, "", 5)


@pytest.mark.parametrize("written", ["shop", "shop:"])
def test_namespace_ends_with_one_colon(written: str) -> None:
    assert {place.prefix for place in trigger(keyPrefix=written).plan} == {"shop:"}


def test_triggers_with_the_same_redis_share_places() -> None:
    one, other = trigger(), trigger(busyRatio="0.5", queues="mail")
    assert set(other.places()) < set(one.places())
    assert hash(one) != hash(other)
    assert trigger() == one


def url_trigger(url: str, **metadata: str) -> SidekiqTrigger:
    parsed = triggers.parse({"source": "sidekiq", "redisURLFromEnv": url, "queues": "default", **metadata}, "shop")
    assert isinstance(parsed, SidekiqTrigger)
    return parsed


def test_url_is_part_of_the_place_and_its_password_of_no_text() -> None:
    one, same, other, elsewhere = (
        url_trigger(f"redis://canary-user:canary-{word}@cache:6380/{database}")
        for word, database in (("a", 1), ("a", 1), ("b", 1), ("a", 2))
    )
    assert one.places() == same.places()
    assert not set(one.places()) & set(other.places())
    assert not set(one.places()) & set(elsewhere.places())
    assert {place.backend for place in one.places()} == {"redis/cache:6380"}
    texts = f"{one} {one!r} {one.places()} {[str(place) for place in one.places()]} {one.claims()} {one.model_dump()}"
    assert "canary" not in texts + one.model_dump_json()


@pytest.mark.parametrize(
    ("metadata", "claims"),
    [
        ({"redis": "main"}, [Claim("redis", "main")]),
        ({"redisURL": "redis://:canary@Cache"}, [Claim("url", "redis://cache:6379/0")]),
        ({"redisURL": "rediss://u:canary@cache:1/2"}, [Claim("url", "rediss://cache:1/2")]),
        (
            {"redisURL": "redis+sentinel://:canary@s1,s2:2/m/1"},
            [Claim("url", "redis+sentinel://s1:26379/m/1"), Claim("url", "redis+sentinel://s2:2/m/1")],
        ),
    ],
    ids=["name", "plain", "tls", "every sentinel"],
)
def test_claims_name_what_is_read_without_credentials(metadata: dict[str, str], claims: list[Claim]) -> None:
    parsed = triggers.parse({"source": "sidekiq", "queues": "default", **metadata}, "shop")
    assert parsed.claims() == tuple(claims)


@pytest.mark.parametrize(
    ("metadata", "selection"),
    [
        ({}, Selection(queues=frozenset({"default", "mail"}))),
        ({"deployment": "shop"}, Selection(deployment="shop")),
        ({"tag": "t", "label": "l"}, Selection(tag="t", label="l")),
        ({"hostnameRegex": "^a", "capsule": "c"}, Selection(hostname_regex="^a", capsule="c")),
        ({"deployment": " "}, Selection(queues=frozenset({"default", "mail"}))),
    ],
    ids=["queues", "deployment", "tag and label", "host and capsule", "blank is absent"],
)
def test_selection(metadata: dict[str, str], selection: Selection) -> None:
    assert trigger(**metadata).selection == selection


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"redis": ""}, "redis, redisURL: exactly one is required"),
        ({"redisURL": "redis://:canary@cache"}, "redis, redisURL: exactly one is required"),
        ({"redis": "", "redisURL": "redis://:canary@"}, "redisURL: the value (not shown"),
        ({"redis": "", "redisURL": "canary"}, "redisURL: the value (not shown"),
        ({"redis": "", "redisURLFromEnv": "canary"}, "redisURL: the value (not shown"),
        ({"queues": ""}, "queues: required"),
        ({"queues": "a,,b"}, "without empty items"),
        ({"queues": "queue:default"}, "without the `queue:` of their keys"),
        ({"queue": "a"}, "did you mean queues?"),
        ({"redisUrl": "redis://:canary@cache"}, "did you mean redisURL?"),
        ({"busyRatio": "0"}, "busyRatio: '0' is not allowed; it must be 0.001 or more"),
        ({"busyRatio": "75"}, "it must be 16.0 or less"),
        ({"busyRatio": "75%"}, "a number"),
        ({"busyRatio": "none"}, "a number, or `off`"),
        ({"busyRatio": "off"}, "busyRatio: `off` leaves no metric; give queueLength or queueLatency too"),
        ({"busyRatio": "off", "spareBusy": "hold"}, "busyRatio: `off` leaves no metric"),
        ({"spareBusy": "true"}, "one of 'off', 'prefer' or 'hold'"),
        ({"superFetch": "on"}, "true or false"),
        ({"queueLength": "0"}, "queueLength"),
        ({"queueLatency": "-1"}, "queueLatency"),
        ({"countWaiting": "yes"}, "true or false"),
        ({"concurrency": "0"}, "concurrency: '0' is not allowed; it must be 1 or more"),
        ({"deployment": "Shop"}, "the name of a Deployment"),
        ({"deployment": "a" * 47}, "use hostnameRegex instead"),
        ({"hostnameRegex": "("}, "a regular expression (RE2): missing )"),
        ({"metricType": "Utilization"}, "one of 'AverageValue' or 'Value'"),
        ({"staleSeconds": "1"}, "below refreshSeconds"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_wrong_metadata_is_told_with_what_is_allowed(metadata: dict[str, str], told: str) -> None:
    with pytest.raises(MetadataError) as error:
        trigger(**metadata)
    assert told in str(error.value)
    assert "canary" not in str(error.value)


def documented() -> list[dict[str, str]]:
    """Return the metadata of each trigger in the documentation."""
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    found = [yaml.safe_load(textwrap.dedent(block)) for block in blocks if "source: sidekiq" in block]
    return [one["metadata"] for block in found for one in block.get("spec", block)["triggers"]]


def test_documented_triggers_are_right() -> None:
    parsed = [triggers.parse({**metadata, "redisURLFromEnv": "redis://cache"}, "shop") for metadata in documented()[:1]]
    parsed += [triggers.parse(metadata, "shop") for metadata in documented()[1:]]
    assert [len(one.specs()) for one in parsed] == [1, 3, 1]


# Which metrics there are


@pytest.mark.parametrize(
    ("metadata", "kinds"),
    [
        ({}, ["busy"]),
        ({"busyRatio": "off", "queueLength": "5"}, ["waiting"]),
        ({"busyRatio": "off", "queueLatency": "5"}, ["latency"]),
        ({"busyRatio": "off", "queueLatency": "5", "queueLength": "5"}, ["waiting", "latency"]),
        ({"spareBusy": "prefer"}, ["busy"]),
        ({"spareBusy": "hold"}, ["busy", "held"]),
        ({"spareBusy": "hold", "queueLatency": "5", "queueLength": "5"}, ["busy", "waiting", "latency", "held"]),
        ({"spareBusy": "hold", "busyRatio": "off", "queueLength": "5"}, ["waiting", "held"]),
    ],
)
def test_metrics_keep_their_order(metadata: dict[str, str], kinds: list[str]) -> None:
    parsed = trigger(**metadata)
    assert [spec.name for spec in parsed.specs()] == [f"sidekiq-{kind}-default-mail" for kind in kinds]
    told = parsed.assess(parsed.imagined({"waiting": 4, "busy": 2}, 2, 1_000.0), 1_000.0)
    assert [metric.name for metric in told.metrics] == [spec.name for spec in parsed.specs()]
    assert told.active


def test_without_the_busy_metric_busy_threads_still_hold() -> None:
    parsed = trigger(busyRatio="off", queueLength="5")
    told = parsed.assess(parsed.imagined({"waiting": 0, "busy": 2}, 2, 1_000.0), 1_000.0)
    assert told.active
    assert told.metrics[0].value == 0


# What is allowed but will not do what its author thinks


@pytest.mark.parametrize(
    ("metadata", "kind", "told"),
    [
        ({}, "Deployment", []),
        ({}, "StatefulSet", []),
        ({"deployment": "shop"}, "Deployment", []),
        ({"deployment": "shop"}, "Rollout", []),
        ({"deployment": "shop.v2"}, "StatefulSet", [r"instead of it write hostnameRegex: ^shop\.v2-[0-9]+$"]),
        (
            {"deployment": "shop"},
            "ReplicaSet",
            ["no pod of a ReplicaSet fits; instead of it write hostnameRegex: ^shop-"],
        ),
        ({"deployment": "shop"}, "Job", ["the busy metric counts work that has begun"]),
        ({"spareBusy": "hold"}, "Deployment", []),
        ({"spareBusy": "prefer"}, "StatefulSet", ["spareBusy: prefer is for pods of a ReplicaSet"]),
        ({"spareBusy": "hold", "deployment": "shop"}, "StatefulSet", ["hostnameRegex", "leave spareBusy out"]),
        ({}, "Job", ['write busyRatio: "off", and queueLength']),
        ({"busyRatio": "off", "queueLength": "1"}, "Job", []),
    ],
)
def test_cautions(metadata: dict[str, str], kind: str, told: list[str]) -> None:
    cautions = trigger(**metadata).cautions(kind, 10)
    assert len(cautions) == len(told)
    assert all(text in caution for text, caution in zip(told, cautions, strict=True))


def test_advice_for_a_stateful_set_can_be_followed() -> None:
    (caution,) = trigger(deployment="shop").cautions("StatefulSet", 10)
    key, _, pattern = caution.rpartition("write ")[2].partition(": ")
    parsed = trigger(**{key: pattern})
    assert parsed.cautions("StatefulSet", 10) == ()
    assert parsed.selection == Selection(hostname_regex="^shop-[0-9]+$")
    (caution,) = trigger(deployment="shop").cautions("ReplicaSet", 10, "my-shop")
    pattern = caution.rpartition("hostnameRegex: ")[2]
    assert re.search(pattern, "my-shop-x7k2p")
    assert not re.search(pattern, "my-shop-0")
    assert not re.search(pattern, "shop-x7k2p")


def test_processes_of_another_deployment_than_the_one_that_is_scaled() -> None:
    assert trigger(deployment="shop").cautions("Deployment", 10, "shop") == ()
    assert trigger(hostnameRegex="^shop-").cautions("Deployment", 10, "web") == ()
    (caution,) = trigger(deployment="shop").cautions("Rollout", 10, "web")
    assert "its processes count, while web is scaled; write deployment: web" in caution
    assert trigger(deployment="web").cautions("Rollout", 10, "web") == ()


def test_advice_to_split_can_be_followed() -> None:
    """Three triggers with one metric each, as `one_metric_each` says."""
    several = trigger(queueLength="5", queueLatency="5").one_metric_each
    assert several.startswith('split it into several triggers: `busyRatio: "off"` leaves the busy metric out')
    alone = [{}, {"busyRatio": "off", "queueLength": "5"}, {"busyRatio": "off", "queueLatency": "5"}]
    assert [len(trigger(**metadata).specs()) for metadata in alone] == [1, 1, 1]
    held = trigger(spareBusy="hold")
    assert held.one_metric_each == "spareBusy: hold always has one besides the others, so write prefer or leave it out"
    assert [len(each.specs()) for each in (held, trigger(spareBusy="prefer"), trigger())] == [2, 1, 1]
