import asyncio
import gc
import math
from collections.abc import Callable
from typing import Any

import pytest

from scaler.core.domain import Found, Place, Reading
from scaler.core.errors import LimitError, Unavailable
from scaler.demo.asked_store import AskedStore
from scaler.demo.clock import ManualClock, settle
from scaler.demo.scripted import HANG, SCRIPT, Map, ScriptedReader, Slow, Spot, Work

A, B = Spot("a"), Spot("b")
DOWN = Unavailable("down")
OpenStore, Ask, Value, Empty = (Callable[..., Any],) * 4


# One read for all who ask


async def test_those_who_ask_at_once_cause_one_read(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, ask: Ask
) -> None:
    reader.answers["a"] = Slow(1, Work(7))
    tasks = [ask(store, A, lessee=f"lessee {number}") for number in range(200)]
    await clock.advance(1)
    assert {(await task)[A].value for task in tasks} == {Work(7)}
    assert reader.count("a") == 1


async def test_who_asks_again_is_answered_from_memory(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, value: Value
) -> None:
    for _ in range(9):
        await value(store, A)
        await clock.advance(1)
    assert reader.count("a") == 1


@pytest.mark.parametrize(("jitter", "times"), [(0.0, [0, 10, 20, 30]), (1.0, [0, 9, 18, 27])])
async def test_a_leased_place_is_read_again_within_its_interval(
    clock: ManualClock, reader: ScriptedReader, jitter: float, times: list[float], open_store: OpenStore
) -> None:
    store, began = open_store(reader, jitter=jitter), clock.now()
    store.lease("me", A, 10, began + 31)
    await clock.advance(35)
    assert [at - began for at in reader.times("a")] == pytest.approx(times)


async def test_the_shortest_interval_of_those_who_still_ask_counts(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader
) -> None:
    began = clock.now()
    store.lease("slow", A, 10, began + 100)
    await clock.advance(3)
    store.lease("fast", A, 1, began + 6)
    await clock.advance(3)
    assert reader.times("a") == [began, began + 3, began + 4, began + 5, began + 6]
    store.lease("fast", A, 10, began + 100)
    await clock.advance(20)
    assert [at - began for at in reader.times("a")][5:] == [7, 17]
    for lessee in ("brief", "as brief"):
        store.lease(lessee, A, 2, began + 31)
    await clock.advance(20)
    assert [at - began for at in reader.times("a")][7:] == [26, 28, 30, 32, 42], "leases end by themselves"


async def test_a_new_asker_with_a_shorter_interval_waits_for_a_young_reading(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, value: Value
) -> None:
    assert await value(store, A, refresh=60) == Work(0)
    await clock.advance(30)
    reader.answers["a"] = Work(1)
    assert await value(store, A, refresh=5, lessee="other") == Work(1)


async def test_who_wants_it_younger_than_it_leased_does_not_wait_for_the_next_date(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader
) -> None:
    store.lease("me", A, 60, clock.now() + 100)
    await clock.advance(30)
    reader.answers["a"] = Work(1)
    task = asyncio.ensure_future(store.read([A], 5, 60, 1.9))
    await clock.advance(0)
    assert (await task)[A].value == Work(1)


async def test_a_place_that_is_dear_is_read_seldom(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, value: Value
) -> None:
    reader.answers["q*"] = ("q1",)
    for _ in range(11):
        assert await value(store, Map("q"), refresh=1, stale=5) == ("q1",)
        await clock.advance(10)
    assert reader.count("q*") == 2
    await value(store, Map("q"), refresh=1, stale=5, lessee="other")
    await clock.advance(5)
    assert reader.count("q*") == 2, "nor for a new lessee"


async def test_equal_values_are_one_object(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, value: Value
) -> None:
    reader.answers["a"] = Work(1, read_at=1)
    first = await value(store, A)
    reader.answers["a"] = Work(1, read_at=2)
    await clock.advance(11)
    assert await value(store, A) is first


# What nobody asks for


async def test_a_place_that_nobody_asks_for_is_dropped(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, value: Value, assert_empty: Empty
) -> None:
    await value(store, A)
    await clock.advance(99)
    assert (len(store), reader.count("a")) == (1, 10)
    await clock.advance(20)
    assert (len(store), reader.count("a"), reader.forgotten) == (0, 11, ["a"])
    assert_empty(store)


async def test_a_released_place_is_dropped_when_it_is_due(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, value: Value
) -> None:
    await value(store, A)
    store.release("me", A)
    store.release("me", B)
    await clock.advance(10)
    assert len(store) == 0
    assert reader.count("a") == 1


async def test_a_place_that_waits_for_its_turn_is_not_read_when_nobody_asks_any_more(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore, assert_empty: Empty
) -> None:
    store = open_store(reader, limits={"scripted": 1})
    spots = [Spot(f"s{number}") for number in range(5)]
    for spot in spots:
        store.lease("me", spot, 10, math.inf)
    await clock.advance(1)
    for spot in spots:
        store.release("me", spot)
    await clock.advance(20)
    assert len(reader.reads) == 2
    assert_empty(store)


async def test_a_place_leased_again_after_it_was_dropped_is_read_again(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, value: Value
) -> None:
    await value(store, A)
    await clock.advance(1_000)
    reader.answers["a"] = Work(3)
    assert await value(store, A) == Work(3)


async def test_dates_that_were_superseded_are_not_kept(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, assert_empty: Empty
) -> None:
    store.lease("me", A, 3_600, clock.now() + 10)
    for _ in range(3):
        await clock.advance(400)
        reader.hint(A)
    assert_empty(store)


async def test_the_store_says_when_it_is_full(
    reader: ScriptedReader, clock: ManualClock, open_store: OpenStore
) -> None:
    store = open_store(reader, max_places=1)
    store.lease("me", A, 10, clock.now() + 5)
    store.lease("you", A, 5, clock.now() + 5)
    with pytest.raises(LimitError, match=r"limit of 1 \(setting limits\.maxPlaces\)"):
        store.lease("me", B, 10, math.inf)
    await clock.advance(20)
    store.lease("me", B, 10, math.inf)  # there is room when the other is dropped


async def test_cancelled_callers_leave_nothing(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, ask: Ask
) -> None:
    reader.answers["a"] = Slow(1, Work(5))
    tasks = [ask(store, A, B) for _ in range(10)]
    await settle()
    for task in tasks[1:]:
        task.cancel()
    await settle()
    assert all(task.cancelled() for task in tasks[1:])
    states = store.state(A), store.state(B)
    assert sum(len(state.waiters) for state in states) == 1, "one place after the other is waited for"
    await clock.advance(1)
    assert (await tasks[0])[A].value == Work(5)
    assert not any(state.waiters for state in states)
    assert reader.count("a") == 1


# What is known, for people


async def test_status_tells_age_fault_and_who_asks(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader
) -> None:
    assert store.status(A) is None
    reader.answers["a"] = Slow(0.25, Work())
    for lessee in ("me", "you"):
        store.lease(lessee, A, 10, clock.now() + 60)
    await clock.advance(5)
    (status,) = store.statuses()
    assert (status.place, status.age, status.lessees, status.interval, status.read_seconds) == (A, 5, 2, 10, 0.25)
    assert (status.fault, status.failures, status.fault_seconds) == (None, 0, 0)
    reader.answers["a"] = DOWN
    await clock.advance(10)
    (status,) = store.statuses()
    assert (str(status.fault), status.failures, status.fault_seconds) == ("down", 4, 5)


async def test_every_read_is_told(store: AskedStore, clock: ManualClock, reader: ScriptedReader) -> None:
    told: list[tuple[Place, float, str]] = []
    store.observe(lambda place, seconds, fault, _: told.append((place, seconds, str(fault))))
    changes: list[bool] = []
    store.follow(lambda _, changed: changes.append(changed))
    for answer in (Slow(0.2, Work()), Work(), Work(1), DOWN, DOWN, Work(1), Work(1)):
        reader.answers["a"] = answer
        store.lease("me", A, 10, clock.now() + 15)
        await clock.advance(store.state(A).due - clock.now() + 0.3)
    assert changes == [True, False, True, True, True, True, False]
    assert told[0][:2] == (A, pytest.approx(0.2))
    assert [said for _, _, said in told] == ["None", "None", "None", "down", "down", "None", "None"]


# The end


class Unclosable(ScriptedReader):
    kinds = frozenset({"other"})

    async def close(self) -> None:
        raise OSError("cannot close")


async def test_close_ends_reads_and_closes_every_reader(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store = AskedStore([Unclosable(clock), reader], clock)
    reader.answers["a"] = HANG
    store.lease("me", A, 10, math.inf)
    store.lease("me", B, 10, math.inf)
    await clock.advance(1)
    with pytest.raises(OSError, match="cannot close"):
        await store.close()
    assert reader.closed
    assert clock.pending == 0
    await clock.advance(100)
    assert reader.count("b") == 1


async def test_thousands_of_places_come_and_go(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore, assert_empty: Empty
) -> None:
    store = open_store(reader)
    for number in range(4_000):
        reader.answers[f"s{number}"] = Work(123)
        store.lease("me", Spot(f"s{number}", f"h{number % 100}"), 30, clock.now() + 1)
    await clock.advance(0)
    await clock.advance(60)
    assert_empty(store)
    gc.collect()
    assert not [held for held in gc.get_objects() if isinstance(held, Reading) and held.value == Work(123)]


async def test_a_reading_keeps_its_proof_and_when_its_backend_changed(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store, began = open_store(reader), clock.now()
    reader.answers["a"] = Found(Work(1), SCRIPT, changed_at=began - 7)
    state = store.lease("me", A, 10, math.inf)
    await clock.advance(1)
    reading = store.current(state, began, began)
    assert reading is not None
    assert (reading.trouble_at, reading.proof) == (began - 7, SCRIPT)
