"""Faults and slow backends: what is told meanwhile, and for how long the last good reading counts."""

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from scaler.core.errors import Fault, Refused, Throttled, Unavailable
from scaler.demo.asked_store import AskedStore
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import HANG, ScriptedReader, Slow, Spot, Work
from scaler.store.place_state import SLACK_SECONDS

A, B = Spot("a"), Spot("b")
DOWN = Unavailable("down")
OpenStore, Ask, Value, Empty = (Callable[..., Any],) * 4


# Faults


@pytest.mark.parametrize("fault", [Unavailable("x"), Refused("x"), Throttled("x")], ids=lambda f: type(f).__name__)
async def test_a_fault_is_told_and_never_becomes_a_value(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, fault: Fault, value: Value
) -> None:
    reader.answers["a"] = fault
    for _ in range(5):
        with pytest.raises(type(fault), match=r"^x$"):
            await value(store, A)
        await clock.advance(7)


async def test_the_last_good_reading_is_served_until_it_is_stale(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, value: Value
) -> None:
    reader.answers["a"] = Work(3)
    await value(store, A)
    await clock.advance(0.1)
    reader.answers["a"] = DOWN
    for _ in range(59):
        await clock.advance(1)
        assert await value(store, A) == Work(3)
    await clock.advance(0.9)
    assert await value(store, A) == Work(3)
    await clock.advance(0.1)
    with pytest.raises(Unavailable, match=r"^down$"):
        await value(store, A)


async def test_one_fault_among_several_places_is_a_fault(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, ask: Ask
) -> None:
    reader.answers |= {"a": Work(1), "b": DOWN}
    task = ask(store, A, B)
    await clock.advance(0)
    with pytest.raises(Unavailable, match=r"^down$"):
        await task


async def test_a_fault_that_is_told_often_does_not_grow(
    store: AskedStore, reader: ScriptedReader, value: Value
) -> None:
    reader.answers["a"] = DOWN
    depths = []
    for _ in range(5):
        with pytest.raises(Unavailable) as caught:
            await value(store, A)
        depths.append(len(traceback.extract_tb(caught.value.__traceback__)))
        assert caught.value is not DOWN
    assert max(depths[1:]) == depths[1], "the first was waited for, the others are told from memory"
    failing = store.state(A).failing
    assert failing is not None
    assert failing.fault.__traceback__ is None
    assert failing.fault.__context__ is None


# Slow backends


async def test_a_caller_is_told_within_its_time_what_is_going_on(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, ask: Ask
) -> None:
    reader.answers["a"] = HANG
    task = ask(store, A)
    await clock.advance(1.8)
    assert not task.done()
    await clock.advance(0.1)
    with pytest.raises(Unavailable, match=r"no answer yet from scripted/one, asked 1\.9 s ago"):
        await task


async def test_a_place_that_hangs_keeps_nobody_waiting(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, ask: Ask
) -> None:
    reader.answers |= {"a": HANG, "c": Slow(3, Work(1))}
    task, began = ask(store, A, Spot("c"), B), clock.now()
    for place in (A, B, Spot("c")):
        store.lease("me", place, 1, began + 20)
    await clock.advance(20)
    with pytest.raises(Unavailable):
        await task
    assert len(reader.times("b")) == 21
    assert reader.times("c") == pytest.approx([began + at for at in (0, 3.05, 6.1, 9.15, 12.2, 15.25, 18.3)])
    assert reader.times("a") == pytest.approx([began + at for at in (0, 5.1, 10.2, 15.3)])


async def test_a_backend_slower_than_the_interval_still_answers(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, ask: Ask
) -> None:
    reader.answers["a"] = Slow(4, Work(3))
    store.lease("me", A, 1, clock.now() + 100)
    await clock.advance(7)
    task = ask(store, A, refresh=1)
    await clock.advance(0)
    assert task.done(), "the read that is under way has had its time: whoever asks now is told the one before"
    reading = (await task)[A]
    assert reading.value == Work(3)
    assert clock.now() - reading.at < 60


async def test_a_read_that_hangs_until_the_last_reading_is_stale_leaves_nothing_to_serve(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader
) -> None:
    store.lease("me", A, 10, clock.now() + 100)
    await clock.advance(1)
    reader.answers["a"] = HANG
    await clock.advance(10)
    task = asyncio.ensure_future(store.read([A], 10, 10, 1.9))
    await clock.advance(1.9)
    with pytest.raises(Unavailable, match=r"no answer yet from scripted/one, asked 1\.9 s ago"):
        await task


async def test_a_slow_read_is_no_fault(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, value: Value
) -> None:
    await value(store, A)
    reader.answers["a"] = Slow(SLACK_SECONDS - 0.1, Work(1))
    await clock.advance(10.2)
    assert await value(store, A) == Work(0), "from memory while the next is under way"
