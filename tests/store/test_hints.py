"""What a backend tells by itself, and callers that wait for a read that begins after the call."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

from scaler.core.errors import Unavailable
from scaler.demo.asked_store import AskedStore
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import Map, ScriptedReader, Slow, Spot, Work

A, B = Spot("a"), Spot("b")
DOWN = Unavailable("down")
OpenStore, Ask, Value = (Callable[..., Any],) * 3


async def test_a_hint_causes_a_read_at_once(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, value: Value
) -> None:
    await value(store, A)
    await clock.advance(5)
    reader.answers["a"] = Work(1)
    reader.hint(A)
    await clock.advance(0)
    assert await value(store, A) == Work(1)
    assert reader.count("a") == 2


class Maps(ScriptedReader):
    kinds = frozenset({Map.kind})


class Spots(ScriptedReader):
    kinds = frozenset({Spot.kind})


async def test_every_reader_may_hint(clock: ManualClock, open_store: OpenStore) -> None:
    readers = [Maps(clock), Spots(clock)]
    store = open_store(*readers)
    for reader, place in zip(readers, (Map("a"), A), strict=True):
        store.lease("me", place, 60, math.inf)
        await clock.advance(10)
        reader.hint(place)
        await clock.advance(10)
        assert len(reader.reads) == 2


async def test_many_hints_are_few_reads(store: AskedStore, clock: ManualClock, reader: ScriptedReader) -> None:
    store.lease("me", A, 1, clock.now() + 10)
    for _ in range(1_000):
        reader.hint(A)
        await clock.advance(0.01)
    assert 90 <= reader.count("a") <= 101


async def test_a_change_during_a_read_is_read_again(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, value: Value
) -> None:
    reader.answers["a"] = Slow(1, Work(1))
    store.lease("me", A, 10, clock.now() + 50)
    await clock.advance(0.5)
    reader.hint(A)
    reader.answers["a"] = Work(2)
    await clock.advance(0.6)
    assert reader.count("a") == 2
    assert await value(store, A) == Work(2)


async def test_a_hint_about_what_nobody_asks_for_reads_nothing(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, value: Value
) -> None:
    reader.hint(B)
    await value(store, A)
    store.release("me", A)
    reader.hint(A)
    await clock.advance(0.05)
    assert reader.count("a") == 1
    assert len(store) == 0


async def test_a_hint_does_not_break_the_pause_after_a_fault(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = DOWN
    store.lease("me", A, 10, clock.now() + 30)
    await clock.advance(4)
    reads = reader.count("a")
    reader.hint(A)
    await clock.advance(1)
    assert reader.count("a") == reads


async def test_a_caller_may_wait_for_a_read_that_begins_after_the_call(
    clock: ManualClock, open_store: OpenStore
) -> None:
    reader = ScriptedReader(clock)
    store = open_store(reader)
    state = store.lease("me", A, 60, math.inf)
    reader.answers["a"] = Slow(1, Work(1))
    await clock.advance(0.5)
    asked = clock.now()
    waits = [asyncio.ensure_future(store.wait([state], 9, anew=True)) for _ in range(5)]
    await clock.advance(0.6)
    assert not any(wait.done() for wait in waits), "the read that was under way is none of theirs"
    await clock.advance(1)
    assert all(wait.done() for wait in waits)
    assert state.reading is not None
    assert state.reading.at >= asked
    assert reader.count("a") == 2, "one read for all who wait"
