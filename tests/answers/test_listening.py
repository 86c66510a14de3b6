"""Streams and leases: who is kept fresh, who is woken, and when."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from scaler.answers.scaledobject import ScaledObject
from scaler.core.domain import Assessment
from scaler.core.errors import LimitError, Unavailable
from scaler.demo.asked_store import AskedStore as Snapshots
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import HANG, Map, ScriptedReader, ScriptedTrigger, Slow, Spot, Work

pytestmark = pytest.mark.usefixtures("scripted_source")

DOWN = Unavailable("down")
WAIT_SECONDS = 1.9

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


async def test_a_full_store_refuses_a_listener_and_keeps_nothing_of_it(
    reader: ScriptedReader, make_objects: Make, clock: ManualClock, open_store: Callable[..., Snapshots]
) -> None:
    store = open_store(reader, max_places=2)
    objects = make_objects(store=store)
    who = objects.who(spots="a,b,c")
    with pytest.raises(LimitError, match=r"limits\.maxPlaces"), objects.listening(who, lambda: None):
        pytest.fail("it listens")
    assert not who.listeners
    assert len(objects.listeners) == 0
    await clock.advance(121)
    assert len(store) == 0


# Time


async def test_what_falls_due_wakes_at_its_moment(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    began = clock.now()
    reader.answers["a"] = Work(0, due=clock.wall() + 5.25)
    who, woken = objects.who(idleRefreshSeconds="60", refreshSeconds="60"), list[float]()
    with objects.listening(who, lambda: woken.append(clock.now() - began)):
        assert not (await objects.told(who)).active
        woken.clear()
        await clock.advance(30)
        assert woken == [5.25]
        assert objects.says_active(who)
        assert reader.count("a") == 1
        assert who.timer is None


async def test_what_falls_due_has_one_timer(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    who, due = objects.who(), clock.wall() + 1_000
    with objects.listening(who, lambda: None):
        reader.answers["a"] = Work(0, due)
        await clock.advance(10)
        timers = clock.pending
        for value in range(1, 10):
            reader.answers["a"] = Work(value, due)
            await clock.advance(10)
        assert clock.pending == timers


async def test_a_value_that_grows_all_the_time_is_judged_at_each_reading(
    objects: Any, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, assess, began = list[float](), ScriptedTrigger.assess, clock.now()

    def growing(self: ScriptedTrigger, readings: Any, now: float) -> Assessment:
        judged.append(clock.now() - began)
        return replace(assess(self, readings, now), until=now)

    monkeypatch.setattr(ScriptedTrigger, "assess", growing)
    with objects.listening(objects.who(), lambda: None):
        await clock.advance(5)
    assert judged == [0, 1, 2, 3, 4, 5]


async def test_what_falls_due_in_a_blink_wakes_too(objects: Any, clock: ManualClock, reader: ScriptedReader) -> None:
    reader.answers["a"] = Work(0, due=clock.wall() + 0.02)
    who = objects.who(idleRefreshSeconds="60", refreshSeconds="60")
    with objects.listening(who, lambda: None):
        await objects.told(who)
        await clock.advance(0.09)
        assert not who.active, "what falls due in the same tenth of a second is judged once"
        await clock.advance(0.01)
        assert who.active


async def test_nobody_is_woken_after_the_stream_has_ended(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = Work(0, due=clock.wall() + 5)
    who = objects.who()
    with objects.listening(who, pytest.fail):
        who.listeners.clear()
        who.listeners.add(lambda: None)
        await objects.told(who)
        assert who.timer is not None
        who.listeners.clear()
    assert who.timer is None
    await clock.advance(6)


async def test_a_poll_sees_what_has_fallen_due_on_an_old_reading(
    objects: Any, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = Work(0, due=clock.wall() + 5)
    who = objects.who(refreshSeconds="60")
    assert not (await objects.told(who)).active
    await clock.advance(5)
    assert (await objects.told(who)).metrics[0].value == 1
    assert reader.count("a") == 1


# Places that readings name


@pytest.fixture
def mapped(objects: Any, reader: ScriptedReader) -> ScaledObject:
    reader.answers |= {"q*": ("q1", "q2"), "q1": Work(1), "q2": Work(2), "q3": Work(4)}
    return objects.find("shop", "orders", {"source": "scripted", "prefix": "q", "refreshSeconds": "5"})


async def test_what_a_listing_names_is_read_too(
    objects: Any, mapped: ScaledObject, reader: ScriptedReader, clock: ManualClock
) -> None:
    assert (await objects.told(mapped)).metrics[0].value == 3
    reader.answers["q*"] = ("q2", "q3")
    await clock.advance(61)
    assert (await objects.told(mapped)).metrics[0].value == 6
    reads = reader.count("q1")
    await clock.advance(30)
    assert reader.count("q1") == reads, "it is no longer named"


async def test_a_new_place_is_read_as_fast_as_the_others_while_asleep(
    objects: Any,
    mapped: ScaledObject,
    reader: ScriptedReader,
    clock: ManualClock,
    store: Snapshots,
) -> None:
    reader.answers |= {"q1": Work(), "q2": Work(), "q3": Work()}
    with objects.listening(mapped, lambda: None):
        await objects.told(mapped)
        assert store.state(Spot("q1")).interval(0) == 1
        reader.answers["q*"] = ("q1", "q3")
        await clock.advance(61)
        assert store.state(Spot("q3")).interval(0) == 1
        assert store.status(Spot("q2")) is None
        reader.answers["q3"] = Work(1)
        await clock.advance(1)
        assert mapped.active
    assert len(objects.listeners) == 0
    await clock.advance(121)
    assert len(store) == 0


async def test_a_named_place_that_was_never_read_is_let_go_of_too(
    objects: Any, mapped: ScaledObject, reader: ScriptedReader, clock: ManualClock, store: Snapshots
) -> None:
    reader.answers["q2"] = HANG
    with objects.listening(mapped, lambda: None):
        task = asyncio.ensure_future(objects.answers.answer(mapped, WAIT_SECONDS))
        await clock.advance(2)
        with pytest.raises(Unavailable):
            await task
        reader.answers["q*"] = ("q1",)
        await clock.advance(70)
        assert store.status(Spot("q2")) is None
        assert len(objects.listeners) == len(store) == 2
        assert mapped.active


async def test_a_new_name_silences_nobody(
    objects: Any, mapped: ScaledObject, reader: ScriptedReader, clock: ManualClock
) -> None:
    woken = list[float]()
    with objects.listening(mapped, lambda: woken.append(clock.now())):
        await objects.told(mapped)
        woken.clear()
        reader.answers["q*"] = ("q1", "q2", "q3")
        await clock.advance(70)
        assert objects.says_active(mapped)
        assert mapped.told is not None
        assert mapped.told.metrics[0].value == 7
        assert woken == []


async def test_more_names_than_the_store_holds_are_refused_each_time(
    mapped: ScaledObject,
    reader: ScriptedReader,
    make_objects: Make,
    clock: ManualClock,
    open_store: Callable[..., Snapshots],
) -> None:
    objects = make_objects(store=open_store(reader, max_places=2))
    who = objects.find("shop", "orders", {"source": "scripted", "prefix": "q"})
    for _ in range(3):
        task = asyncio.ensure_future(objects.answers.answer(who, WAIT_SECONDS))
        await clock.advance(1)
        with pytest.raises(LimitError, match=r"limits\.maxPlaces"):
            await task


async def test_a_stream_without_room_for_new_names_leaves_nothing(
    mapped: ScaledObject,
    reader: ScriptedReader,
    make_objects: Make,
    clock: ManualClock,
    open_store: Callable[..., Snapshots],
) -> None:
    store = open_store(reader, max_places=7)
    objects = make_objects(store=store)
    store.lease("another", Spot("x"), 60, clock.now() + 100, "blog")
    who = objects.find("shop", "orders", {"source": "scripted", "prefix": "q"})
    with objects.listening(who, lambda: None):
        await objects.told(who)
        reader.answers["q*"] = ("q3", "q4", "q5", "q6", "x")
        await clock.advance(61)
        assert isinstance(who.error.error, LimitError)
    assert len(objects.listeners) == 0
    await clock.advance(121)
    assert len(store) == 0


async def test_what_has_lost_its_room_is_never_told_without_it(
    mapped: ScaledObject,
    reader: ScriptedReader,
    make_objects: Make,
    clock: ManualClock,
    open_store: Callable[..., Snapshots],
) -> None:
    """The listing is kept fresh by somebody else, the places that it names are dropped, and others take their room."""
    store = open_store(reader, max_places=6)
    objects = make_objects(store=store)
    who = objects.find("shop", "orders", {"source": "scripted", "prefix": "q"})
    assert (await objects.told(who)).metrics[0].value == 3
    store.lease("another", Map("q"), 60, clock.now() + 1_000)
    await clock.advance(121)
    for name in ("v", "w", "x"):
        store.lease(name, Spot(name), 60, clock.now() + 200, name)
    with objects.listening(objects.who("q1"), lambda: None):
        with pytest.raises(LimitError), objects.listening(who, lambda: None):
            pytest.fail("it listens")
        with pytest.raises(LimitError):
            await objects.told(who)
    await clock.advance(300)
    assert (await objects.told(who)).metrics[0].value == 3
