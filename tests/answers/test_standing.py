"""An answer that still stands is told again without judging: never one that judging anew would not give."""

import asyncio
import math
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scaler.answers import answer as answer_module
from scaler.answers.state import NO_LEASE, Answer, Lease, Poll, ToldError
from scaler.core.domain import Assessment, Reading
from scaler.core.errors import ScalerError, Unavailable
from scaler.demo.asked_store import AskedStore as Snapshots
from scaler.demo.clock import ManualClock
from scaler.demo.desk import Desk
from scaler.demo.scripted import HANG, ScriptedReader, Slow, Spot, Work
from scaler.sources.access import Access

pytestmark = pytest.mark.usefixtures("scripted_source")


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return when the trigger was assessed or settled."""
    times: list[float] = []
    settle = answer_module.settle

    def noting(settling: Any, raw: Any, seen: Any, rule: Any) -> Any:
        times.append(seen.taken)
        return settle(settling, raw, seen, rule)

    monkeypatch.setattr(answer_module, "settle", noting)
    return times


TOLD = Assessment((), active=False, reasons=())


@pytest.mark.parametrize(
    "value",
    [Answer((), None, TOLD, "inactive"), ToldError(Unavailable("down"), 1), Poll(1, Unavailable("down")), NO_LEASE],
    ids=lambda value: type(value).__name__,
)
def test_what_changes_is_replaced_whole(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, None)
    assert not hasattr(value, "__dict__"), "of which there are thousands"


def test_an_answer_of_which_no_more_is_known_does_not_stand() -> None:
    answer = Answer((), None, TOLD, "inactive")
    assert (answer.valid_until, answer.rejudge_at, answer.fault) == (-math.inf, -math.inf, None)
    assert answer == replace(answer, wire=["messages, which make it no other answer"])


def test_without_a_lease_the_store_is_asked_at_once() -> None:
    assert Lease((), (), -math.inf) == NO_LEASE
    assert NO_LEASE.has_newest((Reading(1, 0.0),)) is False


async def test_an_answer_is_judged_once_for_each_reading(
    objects: Any, clock: ManualClock, reader: ScriptedReader, judged: list[float]
) -> None:
    reader.answers["a"] = Work(3)
    who = objects.who()
    first = await objects.told(who)
    assert await objects.told(who) is first
    assert objects.answers.answer_nowait(who).told is first
    assert len(judged) == 1
    reader.answers["a"] = Work(4)
    await clock.advance(10)
    assert (await objects.told(who)).metrics[0].value == 4
    assert len(judged) == 2


async def test_an_answer_stands_no_longer_than_its_lease(
    objects: Any, clock: ManualClock, reader: ScriptedReader, judged: list[float]
) -> None:
    """Else a place would be dropped under somebody who asks all the time."""
    who = objects.who(refreshSeconds="200", staleSeconds="200")
    for _ in range(20):
        await objects.told(who)
        await clock.advance(9)
    assert len(reader.times("a")) == 1
    assert len(judged) > 8


async def test_an_answer_is_looked_at_now_and_then_whatever_its_refresh(
    objects: Any, clock: ManualClock, judged: list[float]
) -> None:
    who = objects.who(refreshSeconds="200", staleSeconds="200", idleRefreshSeconds="200")
    with objects.listening(who, lambda: None):
        await objects.told(who)
        moments = list[int]()
        for second in range(1, 101):
            judged.clear()
            await clock.advance(1)
            await objects.told(who)
            moments += [second] * len(judged)
    assert moments == [30, 60, 90]


async def test_an_answer_stands_until_something_falls_due(
    objects: Any, clock: ManualClock, reader: ScriptedReader, judged: list[float]
) -> None:
    who = objects.who(refreshSeconds="60")
    reader.answers["a"] = Work(0, due=clock.wall() + 9)
    for _ in range(9):
        assert not (await objects.told(who)).active
        await clock.advance(1)
    assert len(judged) == 1
    assert (await objects.told(who)).active
    assert len(judged) == 2


async def test_an_answer_stands_no_longer_than_the_oldest_of_its_readings_counts(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    who = objects.who(spots="a,b", refreshSeconds="7", staleSeconds="60")
    await objects.told(who)
    reader.answers["b"] = Slow(8, Work(1))
    await clock.advance(4)
    reader.hint(Spot("a"))
    await clock.advance(3.4)
    first, second = objects.answers.answer_nowait(who).readings
    assert first.at > second.at
    await clock.advance(0.2)
    assert objects.answers.answer_nowait(who) is None


async def test_an_answer_stands_no_longer_than_its_readings_are_known(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    who = objects.who(refreshSeconds="7", staleSeconds="7")
    await objects.told(who)
    reader.answers["a"] = Slow(4, Work(1))
    await clock.advance(6.9)
    assert objects.answers.answer_nowait(who) is not None
    await clock.advance(0.2)
    assert objects.answers.answer_nowait(who) is None


async def test_an_answer_on_what_is_read_seldom_stands_as_long_as_that_is_fresh(
    objects: Any, clock: ManualClock, reader: ScriptedReader, judged: list[float]
) -> None:
    reader.answers["a*"] = ()
    metadata = {"source": "scripted", "prefix": "a", "refreshSeconds": "5", "staleSeconds": "5"}
    for _ in range(30):
        await objects.told(objects.find("shop", "orders", metadata))
        await clock.advance(1)
    assert len(judged) == 3, "with each renewal of its lease"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["work", "nothing", "fault", "hang", "due", "more spots", "fewer spots", "ask"]),
        st.sampled_from([0.0, 0.2, 0.4, 3.0, 9.9, 10.6, 31.0, 61.0]),
    ),
    max_size=20,
)


@given(STEPS, st.sampled_from(["0", "15"]), st.sampled_from(["10", "60"]), st.sampled_from(["spots", "prefix"]))
@example([("hang", 9.9), ("ask", 0.2), ("ask", 0.2)], "0", "10", "spots")
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_told_is_what_judging_anew_tells(
    steps: list[tuple[str, float]], settle: str, stale: str, by: str
) -> None:
    async def course(*, shortcut: bool) -> list[tuple[Any, ...]]:
        clock = ManualClock()
        reader = ScriptedReader(clock)
        reader.answers |= {"a*": ("a",), "a": Work(1)}
        store = Snapshots([reader], clock, dice=lambda: 0.0)
        objects = Desk(store, Access(), clock, limit=9)
        metadata = {"source": "scripted", by: "a", "settleSeconds": settle, "staleSeconds": stale}
        told: list[tuple[Any, ...]] = []
        first = asyncio.ensure_future(objects.answers.answer(objects.find("shop", "orders", metadata), 1.9))
        await clock.advance(0)
        await first
        for what, seconds in steps:
            outcomes = {"work": Work(3), "nothing": Work(0), "fault": Unavailable("down"), "hang": HANG}
            if what in outcomes:
                reader.answers["a"] = outcomes[what]
            elif what == "due":
                reader.answers["a"] = Work(0, clock.wall() + 5)
            elif what != "ask":
                reader.answers["a*"] = ("a", "b") if what == "more spots" else ("a",)
            await clock.advance(seconds)
            for _ in range(2):  # the second time, what was told a moment ago may stand
                who = objects.find("shop", "orders", metadata)
                if not shortcut and who.answer is not None:
                    who.answer = replace(who.answer, valid_until=-math.inf)
                task = asyncio.ensure_future(objects.answers.answer(objects.find("shop", "orders", metadata), 1.9))
                await clock.advance(0)
                if not task.done():
                    await clock.advance(1.9)
                try:
                    found = await task
                    told.append((found.told.metrics, found.told.active))
                except ScalerError as error:
                    told.append((str(error),))
        await store.close()
        return told

    assert asyncio.run(course(shortcut=True)) == asyncio.run(course(shortcut=False))


def test_the_shortcut_is_taken_in_such_a_course(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the comparison above compares nothing."""
    stood: list[bool] = []
    has_newest = Lease.has_newest

    def noting(lease: Lease, readings: Any) -> bool:
        stood.append(has_newest(lease, readings))
        return stood[-1]

    monkeypatch.setattr(Lease, "has_newest", noting)

    async def course() -> None:
        clock = ManualClock()
        store = Snapshots([ScriptedReader(clock)], clock)
        objects = Desk(store, Access(), clock, limit=9)
        who = objects.find("shop", "orders", {"source": "scripted", "spots": "a"})
        for _ in range(3):
            task = asyncio.ensure_future(objects.answers.answer(who, 1.9))
            await clock.advance(0)
            await task
        await store.close()

    asyncio.run(course())
    assert stood == [True, True]
