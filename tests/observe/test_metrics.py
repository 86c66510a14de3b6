import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from scaler.answers.streams import Streams
from scaler.core.errors import MetadataError, Refused, Throttled, Unavailable
from scaler.core.quota import Quota
from scaler.core.version import version
from scaler.demo.clock import ManualClock
from scaler.demo.desk import Desk
from scaler.demo.scripted import ScriptedReader, Spot, Work
from scaler.observe.journal import Journal
from scaler.observe.metrics import MAX_BACKENDS, Metrics
from scaler.sources.access import Access
from scaler.sources.sqs.prices import CostSettings
from scaler.store.snapshots import Snapshots

pytestmark = pytest.mark.usefixtures("scripted_source")

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def metrics(clock: ManualClock) -> Metrics:
    return Metrics(clock, CostSettings())


@pytest.fixture
def objects(metrics: Metrics, store: Snapshots, clock: ManualClock) -> Desk:
    store.observe(metrics.read)
    known = Desk(store, Access(), clock, limit=100)
    journal = Journal(2**20, clock)
    journal.follow(known.registry, known.answers, known.listeners)
    metrics.watch(known.registry, store, Streams(clock, Quota(10, "limits.maxStreams"), 600), journal)
    return known


@pytest.fixture
def scrape(metrics: Metrics) -> Callable[[str], Samples]:
    """Return the samples of one series by the values of their labels, as Prometheus reads the page."""

    def scraped(name: str) -> Samples:
        page = generate_latest(metrics.registry).decode()
        found: Samples = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == name:
                    labels = tuple(sample.labels.values())
                    assert labels not in found, "a series appears but once"
                    found[labels] = sample.value
        return found

    return scraped


@pytest.fixture
def ask(objects: Desk, clock: ManualClock) -> Callable[..., Any]:
    async def asking(spots: str = "a", **metadata: str) -> None:
        who = objects.find("shop", "orders", {"source": "scripted", "spots": spots, **metadata})
        task = asyncio.ensure_future(objects.answers.answer(who, 1.9))
        await clock.advance(0)
        await asyncio.wait([task])
        if task.exception() is not None:
            assert isinstance(task.exception(), Unavailable | Refused)

    return asking


async def test_what_was_told_is_shown(
    ask: Callable[..., Any], scrape: Callable[[str], Samples], reader: ScriptedReader
) -> None:
    reader.answers["a"] = Work(7)
    await ask(second="2")
    assert scrape("queue_scaler_metric_value") == {
        ("scripted", "shop", "orders"): 7,
        ("scripted-second", "shop", "orders"): 7,
    }
    assert scrape("queue_scaler_metric_target") == {
        ("scripted", "shop", "orders"): 5,
        ("scripted-second", "shop", "orders"): 2,
    }
    assert scrape("queue_scaler_active") == {("shop", "orders", "scripted"): 1}
    assert scrape("queue_scaler_failing") == {("shop", "orders", "scripted"): 0}
    assert scrape("queue_scaler_scaled_objects") == {(): 1}
    assert scrape("queue_scaler_streams") == {(): 0}
    assert scrape("queue_scaler_build_info") == {(version(),): 1}


async def test_a_fault_is_shown_as_failing_and_not_as_zero(
    ask: Callable[..., Any], scrape: Callable[[str], Samples], reader: ScriptedReader
) -> None:
    reader.answers["a"] = Unavailable("down")
    await ask()
    assert scrape("queue_scaler_failing") == {("shop", "orders", "scripted"): 1}
    assert scrape("queue_scaler_metric_value") == scrape("queue_scaler_active") == {}


async def test_after_an_edit_the_one_that_asks_stands(
    ask: Callable[..., Any], scrape: Callable[[str], Samples], reader: ScriptedReader
) -> None:
    reader.answers |= {"a": Work(1), "b": Work(2), "c": Unavailable("down")}
    await ask("a")
    await ask("b", target="9")
    assert scrape("queue_scaler_metric_value") == {("scripted", "shop", "orders"): 2}
    assert scrape("queue_scaler_metric_target") == {("scripted", "shop", "orders"): 9}
    await ask("a")
    assert scrape("queue_scaler_metric_value") == {("scripted", "shop", "orders"): 1}
    await ask("c")
    assert scrape("queue_scaler_metric_value") == scrape("queue_scaler_active") == {}
    assert scrape("queue_scaler_failing") == {("shop", "orders", "scripted"): 1}


async def test_reads_are_counted_by_outcome_and_places_by_health(
    ask: Callable[..., Any], scrape: Callable[[str], Samples], reader: ScriptedReader, clock: ManualClock
) -> None:
    reader.answers |= {"b": Unavailable("down"), "c": Refused("no"), "d": Throttled("slower")}
    for spot in "abcd":
        await ask(spot)
    assert scrape("queue_scaler_reads_total") == {
        ("spot", outcome): 1 for outcome in ("ok", "unavailable", "refused", "throttled")
    }
    assert scrape("queue_scaler_read_duration_seconds_count") == {("spot",): 4}
    assert scrape("queue_scaler_places") == {("spot",): 4}
    assert scrape("queue_scaler_places_failing") == {("spot",): 3}
    reader.answers.clear()
    await clock.advance(5)
    assert scrape("queue_scaler_places_failing") == {("spot",): 0}
    assert scrape("queue_scaler_oldest_reading_seconds") == {("spot",): 5}


def test_a_read_of_many_places_counts_each_but_lasts_once(scrape: Callable[[str], Samples], metrics: Metrics) -> None:
    metrics.read(Spot("a"), 0.25, None, 200)
    metrics.read(Spot("b"), 0.25, Unavailable("down"), 1)
    assert scrape("queue_scaler_reads_total") == {("spot", "ok"): 200, ("spot", "unavailable"): 1}
    assert scrape("queue_scaler_read_duration_seconds_count") == {("spot",): 2}
    rate = metrics.traffic.rate("scripted/one")
    assert (rate.reads, rate.faults, rate.mean_seconds) == (201, 1, 0.25)


async def test_how_often_each_place_is_read_is_shown(
    ask: Callable[..., Any], scrape: Callable[[str], Samples], clock: ManualClock
) -> None:
    await ask("a", refreshSeconds="5")
    await ask("b,c", refreshSeconds="30")
    rows = {
        ("scripted/one", str(Spot("a"))): 720,
        ("scripted/one", str(Spot("b"))): 120,
        ("scripted/one", str(Spot("c"))): 120,
    }
    assert scrape("queue_scaler_place_reads_per_hour") == rows
    await ask("b", refreshSeconds="6")
    await clock.advance(6)  # it is counted with the next read
    assert scrape("queue_scaler_place_reads_per_hour") == rows | {("scripted/one", str(Spot("b"))): 600}, (
        "by the fastest"
    )
    await clock.advance(1_000)
    assert scrape("queue_scaler_place_reads_per_hour") == {}


async def test_of_many_places_those_read_most_are_shown(
    scrape: Callable[[str], Samples], monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Any]
) -> None:
    monkeypatch.setattr("scaler.observe.metrics.MAX_PLACES", 2)
    for spot, seconds in (("a", "60"), ("b", "5"), ("c", "30"), ("d", "10")):
        await ask(spot, refreshSeconds=seconds)
    assert sorted(scrape("queue_scaler_place_reads_per_hour").values()) == [360, 720]


async def test_places_that_look_alike_are_one_series(
    scrape: Callable[[str], Samples], monkeypatch: pytest.MonkeyPatch, ask: Callable[..., Any]
) -> None:
    monkeypatch.setattr(Spot, "__str__", lambda _: "a spot")
    await ask("a,b", refreshSeconds="10")
    assert scrape("queue_scaler_place_reads_per_hour") == {("scripted/one", "a spot"): 720}


async def test_a_backend_that_cannot_keep_up_is_shown(
    scrape: Callable[[str], Samples],
    metrics: Metrics,
    clock: ManualClock,
    reader: ScriptedReader,
    open_store: Callable[..., Snapshots],
) -> None:
    store = open_store(reader, limits={"scripted": 2})
    known = Desk(store, Access(), clock, limit=100)
    journal = Journal(2**20, clock)
    journal.follow(known.registry, known.answers, known.listeners)
    metrics.watch(known.registry, store, Streams(clock, Quota(10, "limits.maxStreams"), 600), journal)
    for number in range(20):
        store.lease("me", Spot(f"s{number}"), 1, float("inf"))
    await clock.advance(30)
    assert scrape("queue_scaler_backend_limit") == scrape("queue_scaler_backend_rate") == {("scripted/one",): 2}
    assert 5 < scrape("queue_scaler_backend_lag_seconds")[("scripted/one",)] < 11
    assert scrape("queue_scaler_backend_places") == {("scripted/one",): 20}


def test_upstream_requests_are_counted_by_operation(metrics: Metrics, scrape: Callable[[str], Samples]) -> None:
    metrics.requests("sqs/1/eu-west-1", "GetQueueAttributes", 3)
    metrics.requests("sqs/1/eu-west-1", "GetQueueAttributes", 1)
    metrics.requests("sqs/1/eu-west-1", "ListQueues", 1)
    assert scrape("queue_scaler_upstream_requests_total") == {
        ("sqs/1/eu-west-1", "GetQueueAttributes"): 4,
        ("sqs/1/eu-west-1", "ListQueues"): 1,
    }


def test_no_metadata_makes_more_series_than_there_is_room_for(
    metrics: Metrics, scrape: Callable[[str], Samples]
) -> None:
    for number in range(MAX_BACKENDS + 50):
        metrics.requests(f"pages/host{number}", "GET", 1)
    metrics.requests("pages/host0", "GET", 1)
    counted = scrape("queue_scaler_upstream_requests_total")
    assert len(counted) == MAX_BACKENDS + 1
    assert counted[("other", "GET")] == 50
    assert counted[("pages/host0", "GET")] == 2


def test_calls_are_counted_and_timed(metrics: Metrics, scrape: Callable[[str], Samples]) -> None:
    for code in ("OK", "OK", "UNAVAILABLE"):
        metrics.calls("GetMetrics")(code, 0.002)
    assert scrape("queue_scaler_rpc_total") == {("OK", "GetMetrics"): 2, ("UNAVAILABLE", "GetMetrics"): 1}
    assert scrape("queue_scaler_rpc_duration_seconds_bucket")[("0.0025", "GetMetrics")] == 3
    assert scrape("queue_scaler_rpc_duration_seconds_bucket")[("0.001", "GetMetrics")] == 0


async def test_refused_metadata_is_shown_until_it_is_mended(
    objects: Desk, scrape: Callable[[str], Samples], clock: ManualClock
) -> None:
    with pytest.raises(MetadataError):
        objects.who(target="none")
    assert scrape("queue_scaler_refused") == {("shop", "orders"): 1}
    objects.who()
    assert scrape("queue_scaler_refused") == {}
    with pytest.raises(MetadataError):
        objects.who(target="none")
    await clock.advance(901)
    assert scrape("queue_scaler_refused") == {}
