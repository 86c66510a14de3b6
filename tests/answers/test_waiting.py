"""Who has to wait for a reading, for how long, and what counts when it does not come."""

import asyncio
import math
from typing import Any

import pytest

from scaler.core.errors import Unavailable
from scaler.demo.asked_store import AskedStore as Snapshots
from scaler.demo.clock import ManualClock, settle
from scaler.demo.scripted import HANG, ScriptedReader, ScriptedTrigger, Slow, Spot, Work
from tests.answers.asking import WAIT_SECONDS, told_by_is_active

pytestmark = pytest.mark.usefixtures("scripted_source")

DOWN = Unavailable("down")


async def test_a_caller_waits_no_longer_than_it_says(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    reader.answers["a*"] = Slow(1.5, ("b",))
    reader.answers["b"] = HANG
    who = objects.find("shop", "orders", {"source": "scripted", "prefix": "a"})
    task = asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS))
    await clock.advance(1.8)
    assert not task.done()
    await clock.advance(0.1)
    with pytest.raises(Unavailable, match="no answer yet"):
        await task


async def test_a_reading_older_than_its_refresh_is_waited_for_and_counts_while_nothing_newer_comes(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    who = objects.who(refreshSeconds="10", staleSeconds="60")
    reader.answers["a"] = Work(3)
    await objects.told(who)
    reader.answers["a"] = Slow(3, Work(4))
    await clock.advance(10.4)
    assert objects.answers.answer_nowait(who).told.metrics[0].value == 3, "a slow read is no fault"
    await clock.advance(0.2)
    assert objects.answers.answer_nowait(who) is None
    late = asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS))
    await clock.advance(1)
    assert not late.done()
    await clock.advance(0.4)
    assert (await late).told.metrics[0].value == 3
    in_time = asyncio.ensure_future(objects.answers.answer(who, 3.5))
    await clock.advance(0.9)
    assert not in_time.done()
    await clock.advance(0.1)
    assert (await in_time).told.metrics[0].value == 4


async def test_a_cancelled_caller_leaves_nothing(
    objects: Any, clock: ManualClock, reader: ScriptedReader, store: Snapshots
) -> None:
    reader.answers["a"] = Slow(1, Work(1))
    task = asyncio.ensure_future(objects.answers.answer(objects.who(), WAIT_SECONDS))
    await settle()
    task.cancel()
    await clock.advance(1)
    assert task.cancelled()
    assert not store.state(Spot("a")).waiters


async def test_a_backend_that_hangs_costs_one_caller_the_wait(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = HANG
    who = objects.who()
    task = asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS))
    await clock.advance(WAIT_SECONDS)
    with pytest.raises(Unavailable, match="no answer yet"):
        await task
    for seconds in (0.1, 1, 3, 10, 30):
        await clock.advance(seconds)
        with pytest.raises(Unavailable):
            await objects.told(who)  # at once: the clock stands still


async def test_an_error_at_a_slow_backend_names_the_place_that_is_late(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers |= {"a": Work(1), "b": HANG}
    who = objects.who(spots="a,b")
    task = asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS))
    await clock.advance(WAIT_SECONDS)
    with pytest.raises(Unavailable, match="name='b'"):
        await task


async def test_of_several_places_that_are_late_the_first_without_any_reading_that_counts_is_named(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    await objects.told(objects.who(spots="a"))
    reader.answers |= {"a": Slow(4, Work(1)), "b": HANG, "c": HANG}
    await clock.advance(11)
    task = asyncio.ensure_future(objects.answers.answer(objects.who(spots="a,b,c"), WAIT_SECONDS))
    await clock.advance(WAIT_SECONDS)
    with pytest.raises(Unavailable, match=r"name='b'.*no answer yet"):
        await task


async def test_a_place_that_is_late_beside_one_that_has_failed_is_no_reason_not_to_hold(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers |= {"a": Work(3), "b": Work(1)}
    who = objects.who(spots="a,b", refreshSeconds="10", staleSeconds="10", holdSeconds="100")
    await objects.told(who)
    reader.answers |= {"a": Slow(4, Work(3)), "b": DOWN}
    await clock.advance(11)
    task = asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS))
    await clock.advance(WAIT_SECONDS)
    answer = await task
    assert (answer.state, answer.told.metrics[0].value) == ("held", 4)
    assert "no answer yet" in str(answer.fault)


# A refresh of 0 seconds


async def test_with_refresh_seconds_0_every_answer_is_read_after_the_question(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    who = objects.who(refreshSeconds="0")
    reader.answers["a"] = Work(3)
    assert (await objects.told(who)).metrics[0].value == 3
    for number in range(5):
        await clock.advance(0.5)
        reader.answers["a"] = Work(number)
        asked, reads = clock.now(), reader.count("a")
        assert (await objects.told(who)).metrics[0].value == number
        assert reader.count("a") == reads + 1
        assert reader.times("a")[-1] >= asked


async def test_with_refresh_seconds_0_a_read_that_was_under_way_is_not_enough(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    who = objects.who(refreshSeconds="0")
    reader.answers["a"] = Slow(0.5, Work(3))
    first = asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS))
    await clock.advance(0.3)
    others = [asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS)) for _ in range(20)]
    reader.answers["a"] = Work(4)
    await clock.advance(0.2)
    assert (await first).told.metrics[0].value == 3
    assert not any(task.done() for task in others)
    await clock.advance(0.1)
    assert {(await task).told.metrics[0].value for task in others} == {4}
    assert reader.count("a") == 2, "one read for all who wait"


async def test_with_refresh_seconds_0_nothing_old_is_told_in_a_fault(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    """For a ScaledJob an old count starts Jobs for messages that are gone, while an error only starts none."""
    who = objects.who(refreshSeconds="0")
    reader.answers["a"] = Work(3)
    assert (await objects.told(who)).active
    await clock.advance(0.1)
    reader.answers["a"] = DOWN
    with pytest.raises(Unavailable, match="down"):
        await objects.told(who)
    with pytest.raises(Unavailable, match="down"):
        await told_by_is_active(objects, who)
    reader.answers["a"] = HANG
    await clock.advance(5)
    task = asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS))
    await clock.advance(WAIT_SECONDS)
    with pytest.raises(Unavailable):
        await task


async def test_with_refresh_seconds_0_a_read_that_is_late_is_named(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    who = objects.who(refreshSeconds="0")
    await objects.told(who)
    await clock.advance(0.1)
    reader.answers["a"] = HANG
    task = asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS))
    await clock.advance(WAIT_SECONDS)
    with pytest.raises(Unavailable, match=r"name='a'.*no answer yet"):
        await task


async def test_with_refresh_seconds_0_is_active_is_told_what_get_metrics_was(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    who = objects.who(refreshSeconds="0")
    reader.answers["a"] = Work(3)
    told = await objects.told(who)
    reads = reader.count("a")
    assert await told_by_is_active(objects, who) is told
    assert reader.count("a") == reads


async def test_with_refresh_seconds_0_a_place_that_the_store_has_dropped_is_leased_anew(
    objects: Any, clock: ManualClock, reader: ScriptedReader, store: Snapshots
) -> None:
    who = objects.who(refreshSeconds="0")
    await objects.told(who)
    await clock.advance(250)
    assert len(store) == 0
    task = asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS))
    await clock.advance(0)
    assert task.done(), "it does not wait for what is read no more"
    await task


async def test_with_refresh_seconds_0_nobody_is_read_ahead(
    objects: Any, clock: ManualClock, reader: ScriptedReader, store: Snapshots
) -> None:
    await objects.told(objects.who(refreshSeconds="0"))
    await clock.advance(80)
    assert reader.count("a") == 1
    await clock.advance(200)
    assert len(store) == 0


# Places that readings name


async def test_what_is_read_seldom_is_stale_so_much_later(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers |= {"q*": ("q1",), "q1": Work(3)}
    metadata = {"source": "scripted", "prefix": "q", "staleSeconds": "60", "holdSeconds": "0"}
    who = objects.find("shop", "orders", metadata)
    task = asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS))
    await clock.advance(0)
    await task
    reader.answers["q*"] = DOWN
    for _ in range(12):
        await clock.advance(10)
        assert (await objects.told(objects.find("shop", "orders", metadata))).active
    await clock.advance(0.1)
    with pytest.raises(Unavailable, match="down"):
        await objects.told(who)


async def test_a_listing_and_what_it_names_are_known_together(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    """What the store has already is told at once, without a wait for each step."""
    reader.answers |= {"q*": ("q1", "q2"), "q1": Work(1), "q2": Work(2)}
    await objects.told(objects.find("shop", "orders", {"source": "scripted", "prefix": "q"}))
    other = objects.find("shop", "mails", {"source": "scripted", "prefix": "q"})
    answer = objects.answers.answer_nowait(other)
    assert answer is not None
    assert answer.told.metrics[0].value == 3


async def test_new_names_in_a_listing_that_the_store_has_already_are_told_at_once(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers |= {"q*": ("q1", "q2"), "q1": Work(1), "q2": Work(2), "q3": Work(4)}
    who = objects.find("shop", "orders", {"source": "scripted", "prefix": "q"})
    with objects.listening(objects.who(spots="q1,q2,q3"), lambda: None):
        await objects.told(who)
        reader.answers["q*"] = ("q2", "q3")
        await clock.advance(61)
        answer = objects.answers.answer_nowait(who)
        assert answer is not None
        assert answer.told.metrics[0].value == 6


async def test_a_listing_is_worked_through_once_for_each_change(
    objects: Any, clock: ManualClock, reader: ScriptedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may name thousands; and most triggers have none."""
    worked: list[Any] = []
    found = ScriptedTrigger.further_places
    monkeypatch.setattr(
        ScriptedTrigger, "further_places", lambda self, readings: worked.append(readings) or found(self, readings)
    )
    reader.answers |= {"q*": ("q1",), "q1": Work(1), "q2": Work(2)}
    who = objects.find("shop", "orders", {"source": "scripted", "prefix": "q"})

    async def told_after(polls: int) -> float:
        for _ in range(polls):
            task = asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS))
            await clock.advance(10)
            answer = await task
        return float(answer.told.metrics[0].value)

    for names, value in ((("q1",), 1), (("q1", "q2"), 3)):
        reader.answers["q*"] = names
        assert await told_after(8) == value
        worked.clear()
        reader.answers["q1"] = Work(1, due=math.inf)
        assert await told_after(15) == value
        assert worked == []
    plain = objects.who()
    plain.question.has_further_places = False
    await objects.told(plain)
    assert worked == []
