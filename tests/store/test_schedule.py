"""When a place is read: after a fault, after a change, and each time its date has come."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from scaler.core.errors import Refused, Unavailable
from scaler.demo.asked_store import AskedStore
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import HANG, ScriptedReader, Spot, TogetherReader, Work
from scaler.store.rate_limit import RETRIES_PER_SECOND, RETRY_BURST

A, B = Spot("a"), Spot("b")
DOWN = Unavailable("down")
OpenStore, Ask, Value = (Callable[..., Any],) * 3


# After a fault


async def test_pauses_grow_and_end_with_the_first_good_read(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = DOWN
    began = clock.now()
    store.lease("me", A, 20, began + 300)
    await clock.advance(100)
    assert [at - began for at in reader.times("a")] == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5])
    reader.answers["a"] = Work()
    await clock.advance(30)
    assert reader.times("a")[-1] - began == pytest.approx(121.5)
    reader.answers["a"] = DOWN
    await clock.advance(13)
    assert [at - began for at in reader.times("a")][-3:] == pytest.approx([141.5, 142.0, 143.0])


@given(
    interval=st.sampled_from([1.0, 2.0, 5.0, 10.0, 60.0]),
    outage=st.floats(1, 300),
    jitter=st.floats(0, 1),
    fault=st.sampled_from([DOWN, Refused("no"), HANG]),
)
@settings(max_examples=40, deadline=None)
def test_recovery_takes_at_most_two_intervals(interval: float, outage: float, jitter: float, fault: Any) -> None:
    async def run() -> None:
        clock = ManualClock()
        reader = ScriptedReader(clock)
        reader.timeout_seconds = min(5, interval / 2)  # type: ignore[misc]  # of the class, but for this test
        store = AskedStore([reader], clock, dice=lambda: jitter)
        store.lease("me", A, interval, math.inf)
        await clock.advance(1)
        reader.answers["a"] = fault
        await clock.advance(outage)
        reader.answers["a"] = Work(9)
        await clock.advance(2 * interval)
        reading = store.newest(A, 3 * interval, 3 * interval)
        assert reading is not None
        assert reading.value == Work(9)
        await store.close()
        assert clock.pending == 0

    asyncio.run(run())


async def test_a_reading_remembers_when_it_healed(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, ask: Ask
) -> None:
    async def healed() -> float:
        task = ask(store, A)
        await clock.advance(0)
        return (await task)[A].trouble_at

    assert await healed() == -math.inf
    reader.answers["a"] = DOWN
    await clock.advance(12)
    assert await healed() == -math.inf, "the last good reading"
    failed = reader.count("a")
    reader.answers["a"] = Work()
    for seconds in (2, 10, 30):
        await clock.advance(seconds)
        assert await healed() == reader.times("a")[failed]
    assert reader.count("a") > failed + 2


async def test_a_first_read_that_failed_counts_as_a_fault(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = DOWN
    store.lease("me", A, 10, clock.now() + 50)
    await clock.advance(0.1)
    reader.answers["a"] = Work()
    await clock.advance(1)
    reading = store.newest(A, 10, 60)
    assert reading is not None
    assert reading.trouble_at == reading.at


async def test_a_place_that_a_caller_waits_for_is_read_though_its_lease_ends(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store = open_store(reader, limits={"scripted": 1})
    store.lease("me", A, 60, math.inf)
    store.lease("me", B, 60, clock.now() + 0.1)
    task = asyncio.ensure_future(store.read([B], 5, 60, 3))
    await clock.advance(2)
    assert (await task)[B].value == Work(0)


async def test_a_pause_is_a_pause(clock: ManualClock, open_store: OpenStore) -> None:
    """What has failed is not read along before its time, however often its siblings are read."""
    reader = TogetherReader(clock)
    store = open_store(reader)
    reader.answers["b"] = DOWN
    store.lease("me", A, 0.1, math.inf)
    store.lease("me", B, 60, math.inf)
    await clock.advance(120)
    assert reader.count("b") <= 9, "after 0.5, 1, 2, 4, 8, 16, 30, 30 s"
    assert reader.count("a") > 1_000
    reader.answers["b"] = Work(1)
    await clock.advance(31)
    assert store.newest(B, 60, 60).value == Work(1)


@pytest.mark.parametrize("kind", [ScriptedReader, TogetherReader])
async def test_a_backend_that_fails_for_many_is_asked_for_few(
    clock: ManualClock, open_store: OpenStore, kind: type[ScriptedReader]
) -> None:
    reader = kind(clock)
    store = open_store(reader)
    for number in range(300):
        reader.answers[f"s{number}"] = DOWN
        store.lease("me", Spot(f"s{number}"), 1, math.inf)
    await clock.advance(10)
    reader.reads.clear()
    await clock.advance(60)
    assert sum(len(names) for _, names in reader.reads) <= 60 * RETRIES_PER_SECOND + RETRY_BURST
    reader.answers.clear()
    await clock.advance(3)
    assert all(status.fault is None for status in store.statuses()), "a backend that is back is back for all"


async def test_places_without_a_date_are_found_and_read_again(clock: ManualClock, open_store: OpenStore) -> None:
    reader = ScriptedReader(clock)
    store = open_store(reader)
    for place in (A, B):
        store.lease("me", place, 1, math.inf)
    await clock.advance(1)
    store._schedule.due_times.clear()
    await clock.advance(5)
    assert [place for place, _ in store.overdue()] == [A, B], "by more than three intervals"
    await clock.advance(5.9)
    store.revive()
    await clock.advance(0.2)
    assert (reader.count("a"), reader.count("b")) == (2, 2), "after 9.9 s they may only be slow"
    with capture_logs() as logs:
        store.revive()
    assert [(entry["event"], entry["place"]) for entry in logs] == [
        ("a place was not read in time, and is read again", str(place)) for place in (A, B)
    ]
    await clock.advance(0.1)
    assert (reader.count("a"), reader.count("b")) == (3, 3)
    await clock.advance(3)
    assert not list(store.overdue())
