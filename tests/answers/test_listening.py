"""Streams and leases: who is kept fresh, who is woken, and when."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from scaler.answers.scaledobject import ScaledObject
from scaler.core.domain import Assessment
from scaler.core.errors import Unavailable
from scaler.demo.asked_store import AskedStore as Snapshots
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import HANG, ScriptedReader, ScriptedTrigger, Slow, Spot, Work

pytestmark = pytest.mark.usefixtures("scripted_source")
DOWN = Unavailable("down")
Make = Callable[..., Any]


# Leases


async def test_a_place_is_kept_fresh_for_a_while_after_it_was_asked_for(
    objects: Any, clock: ManualClock, reader: ScriptedReader, store: Snapshots
) -> None:
    who, asked = objects.who(), 0.0
    for _ in range(20):
        await objects.told(who)
        asked = clock.now()
        await clock.advance(6)
    await clock.advance(95)
    assert reader.times("a")[-1] >= asked + 95, "also where the last call did not renew the lease"
    await clock.advance(30)
    assert len(store) == 0


async def test_a_lease_is_renewed_now_and_then_and_not_at_each_call(
    objects: Any, clock: ManualClock, store: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    leased, lease, began = list[float](), store.lease, clock.now()
    monkeypatch.setattr(store, "lease", lambda *told: (leased.append(clock.now() - began), lease(*told))[1])
    who = objects.who(refreshSeconds="1")  # so that each call is judged anew
    for _ in range(25):
        await objects.told(who)
        await clock.advance(1)
    assert leased == [0, 10, 20]
    with objects.listening(who, lambda: None):
        leased.clear()
        for _ in range(25):
            await objects.told(who)
            await clock.advance(1)
        assert leased == []


async def test_who_listens_and_sleeps_reads_fast_and_slow_when_awake(
    objects: Any, clock: ManualClock, reader: ScriptedReader, store: Snapshots
) -> None:
    def interval() -> float | None:
        status = store.status(Spot("a"))
        return None if status is None else status.interval

    who = objects.who(idleRefreshSeconds="0.5")
    with objects.listening(who, lambda: None):
        assert interval() == 10, "as long as nothing is known"
        await objects.told(who)
        assert interval() == 0.5
        reader.answers["a"] = Work(1)
        await clock.advance(0.5)
        assert interval() == 10
        reader.answers["a"] = Work(0)
        await clock.advance(10)
        assert interval() == 0.5
        await clock.advance(1_000)
        assert interval() == 0.5, "as long as the stream is open"
    assert interval() == 10
    await clock.advance(121)
    assert interval() is None
    with objects.listening(objects.who(refreshSeconds="3", idleRefreshSeconds="60"), lambda: None):
        await clock.advance(4)
        assert interval() == 3, "the shorter of the two"


async def test_the_shortest_interval_of_all_triggers_on_a_place_counts(
    objects: Any, clock: ManualClock, store: Snapshots
) -> None:
    first, second = objects.who(idleRefreshSeconds="2"), objects.who(idleRefreshSeconds="0.5")
    with objects.listening(first, lambda: None):
        with objects.listening(second, lambda: None):
            await objects.told(first)
            await objects.told(second)
            assert store.state(Spot("a")).interval(clock.now()) == 0.5
        assert store.state(Spot("a")).interval(clock.now()) == 2


async def test_two_streams_of_one_trigger_are_one_lease(objects: Any, store: Snapshots) -> None:
    who, woken = objects.who(), list[str]()
    with objects.listening(who, lambda: woken.append("first")):
        with objects.listening(who, lambda: woken.append("second")):
            await objects.told(who)
            assert sorted(woken) == ["first", "second"]
            assert len(store.state(Spot("a")).leases) == 1
        assert len(objects.listeners) == 1
        assert store.state(Spot("a")).interval(0) == 1


# Listening


async def test_the_end_of_one_stream_silences_no_other_trigger_on_its_place(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    woken = list[str]()
    with objects.listening(objects.who(), lambda: woken.append("stays")):
        with objects.listening(objects.who(second="9"), lambda: woken.append("ends")):
            await clock.advance(2)
        woken.clear()
        reader.answers["a"] = Work(1)
        await clock.advance(2)
        assert woken == ["stays"]


async def test_what_settles_is_judged_at_each_reading_though_it_is_equal(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    who = objects.who(settleSeconds="20")
    reader.answers["a"] = Work(1)
    with objects.listening(who, lambda: None):
        await clock.advance(2)
        reader.answers["a"] = DOWN
        await clock.advance(15)
        reader.answers["a"] = Work(0)
        await clock.advance(15)
        assert who.active
        await clock.advance(30)
        assert who.answer.state == "inactive"


async def test_listeners_are_woken_at_changes_of_activity_alone(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    who, woken = objects.who(), list[tuple[float, bool]]()
    began = clock.now()
    with objects.listening(who, lambda: woken.append((clock.now() - began, who.active))):
        await objects.told(who)
        woken.clear()
        for answer in (Work(0), Work(1), Work(5), Work(2), Work(0), Work(0), Work(1)):
            reader.answers["a"] = answer
            await clock.advance(11)
    assert [active for _, active in woken] == [True, False, True]


async def test_nothing_is_said_on_readings_that_are_too_old(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    who, woken = objects.who(staleSeconds="30", holdSeconds="0"), list[float]()
    reader.answers["a"] = Work(1)
    with objects.listening(who, lambda: woken.append(clock.now())):
        await objects.told(who)
        assert objects.says_active(who)
        reader.answers["a"] = DOWN
        await clock.advance(29)
        assert objects.says_active(who)
        await clock.advance(1.1)
        assert not objects.says_active(who)
        assert isinstance(who.error.error, Unavailable)
        woken.clear()
        await clock.advance(100)
        assert not objects.says_active(who)
        assert woken == []
        reader.answers["a"] = Work(1)
        await clock.advance(16)
        assert len(woken) == 1, "woken although it is active as before"
        assert objects.says_active(who)


async def test_what_is_held_goes_on_being_said(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    who, woken = objects.who(staleSeconds="30", holdSeconds="100"), list[float]()
    reader.answers["a"] = Work(1)
    with objects.listening(who, lambda: woken.append(clock.now())):
        await objects.told(who)
        reader.answers["a"] = DOWN
        await clock.advance(120)
        assert objects.says_active(who)
        assert who.answer.state == "held"
        await clock.advance(15)
        assert not objects.says_active(who)
        woken.clear()
        reader.answers["a"] = Work(1)
        await clock.advance(16)
        assert len(woken) == 1


async def test_a_slow_read_does_not_silence(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    who = objects.who()
    reader.answers["a"] = Work(1)
    with objects.listening(who, lambda: None):
        await objects.told(who)
        reader.answers["a"] = Slow(4, Work(1))
        await clock.advance(12)
        assert reader.under_way["a"]
        assert objects.says_active(who)


async def test_a_read_that_hangs_until_the_last_reading_is_stale_silences(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    """No fault has been told yet, and still nothing is known."""
    who, woken = objects.who(staleSeconds="10", holdSeconds="0"), list[float]()
    reader.answers["a"] = Work(1)
    with objects.listening(who, lambda: woken.append(clock.now())):
        await objects.told(who)
        reader.answers["a"] = Slow(4, Work(1))
        woken.clear()
        await clock.advance(12)
        assert not objects.says_active(who)
        await clock.advance(3)
        assert len(woken) == 1
        assert objects.says_active(who)


async def test_before_the_first_reading_nothing_is_said_and_no_error_noted(
    objects: Any, reader: ScriptedReader
) -> None:
    who = objects.who()
    reader.answers["a"] = HANG
    with objects.listening(who, lambda: None):
        assert not objects.says_active(who)
        assert who.error is None


async def test_an_equal_reading_is_judged_again_only_where_it_can_make_a_difference(
    objects: Any, clock: ManualClock, reader: ScriptedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, judge = list[ScaledObject](), objects.answers.known
    monkeypatch.setattr(
        objects.answers, "known", lambda scaled_object: (judged.append(scaled_object), judge(scaled_object))[1]
    )
    calm, failed = objects.who(idleRefreshSeconds="1"), objects.who(second="9")
    assess, defective = ScriptedTrigger.assess, False

    def broken(self: ScriptedTrigger, readings: Any, now: float) -> Assessment:
        if self.second is not None and defective:
            raise ZeroDivisionError
        return assess(self, readings, now)

    async def judged_within(seconds: float) -> tuple[int, int]:
        judged.clear()
        await clock.advance(seconds)
        return judged.count(calm), judged.count(failed)

    monkeypatch.setattr(ScriptedTrigger, "assess", broken)
    with objects.listening(calm, lambda: None), objects.listening(failed, lambda: None):
        await clock.advance(2)
        assert await judged_within(30) == (0, 0)
        defective, reader.answers["a"] = True, Work(0, due=clock.wall() + 1_000)
        assert await judged_within(10) == (1, 10), "until it can be judged"
        defective = False
        assert await judged_within(30) == (0, 1)
        reader.answers["a"] = Work(1)
        assert await judged_within(1) == (1, 1)


async def test_a_defect_in_one_trigger_keeps_nobody_else_from_being_told(
    objects: Any, clock: ManualClock, reader: ScriptedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = objects.who(second="9"), objects.who()
    assess = ScriptedTrigger.assess

    def broken(self: ScriptedTrigger, readings: Any, now: float) -> Assessment:
        if self.second is not None:
            raise ZeroDivisionError
        return assess(self, readings, now)

    monkeypatch.setattr(ScriptedTrigger, "assess", broken)
    with objects.listening(bad, lambda: None), objects.listening(good, lambda: None), capture_logs() as logs:
        await clock.advance(10)
        reader.answers["a"] = Work(1)
        await clock.advance(11)
        assert good.active
        assert not objects.says_active(bad)
    assert [(entry["event"], entry["namespace"], entry["scaledobject"]) for entry in logs] == [
        ("cannot judge", "shop", "orders")
    ]
    assert bad.error is not None
    assert str(bad.error.error) == "internal error of the scaler; its log says more"
