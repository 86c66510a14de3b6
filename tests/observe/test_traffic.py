"""Rates, latencies and the bill of backends."""

import pytest

from scaler.demo.clock import ManualClock
from scaler.observe.traffic import MAX_BACKENDS, OTHER, STEPS, Traffic
from scaler.sources.prices import dollars_per_month
from scaler.sources.sqs.prices import CostSettings

COST = CostSettings(sqs_price_per_million=0.40)


async def test_the_rate_is_that_of_the_last_five_minutes(clock: ManualClock) -> None:
    traffic = Traffic(clock)
    for _ in range(60):
        traffic.requests("sqs/1/eu-west-1", 20)
        await clock.advance(30)
    assert traffic.rate("sqs/1/eu-west-1").requests_per_hour == pytest.approx(2_400, rel=0.12)
    await clock.advance(300)
    assert traffic.rate("sqs/1/eu-west-1").requests_per_hour == 0


async def test_a_young_backend_has_no_rate_yet_and_then_one_over_its_own_time(clock: ManualClock) -> None:
    traffic = Traffic(clock)
    traffic.requests("redis/main", 1_000)
    await clock.advance(10)
    assert traffic.rate("redis/main").requests_per_hour is None
    await clock.advance(50)
    assert traffic.rate("redis/main").requests_per_hour == pytest.approx(60_000)
    assert traffic.rate("redis/unknown").requests_per_hour is None


async def test_reads_faults_and_latencies(clock: ManualClock) -> None:
    traffic = Traffic(clock)
    traffic.read("redis/main", 0.1, failed=False)
    await clock.advance(60)
    traffic.read("redis/main", 0.3, failed=True)
    rate = traffic.rate("redis/main")
    assert (rate.reads, rate.faults, rate.slowest_seconds) == (2, 1, 0.3)
    assert rate.mean_seconds == pytest.approx(0.2)
    steps = traffic.recent("redis/main")
    assert len(steps) == STEPS
    assert [step and step.reads for step in steps[-3:]] == [1, None, 1]


async def test_silent_backends_are_forgotten_and_too_many_are_one(clock: ManualClock) -> None:
    traffic = Traffic(clock)
    for index in range(MAX_BACKENDS + 5):
        traffic.requests(f"pages/{index}", 1)
    assert len(traffic.backends()) == MAX_BACKENDS + 1
    assert OTHER in traffic.backends()
    await clock.advance(3_700)
    assert traffic.backends() == []


def test_only_sqs_has_a_price_and_only_a_known_rate_a_bill() -> None:
    # Ten queues read every second: 26.3 million requests in a month of 730 hours.
    assert dollars_per_month("sqs/1/eu-west-1", 36_000, COST) == pytest.approx(10.512)
    assert dollars_per_month("redis/main", 36_000, COST) is None
    assert dollars_per_month("sqs/1/eu-west-1", None, COST) is None
