import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from scaler.access import Access, AccessRule
from scaler.demo.clock import ManualClock, settle
from scaler.demo.scripted import HANG, ScriptedReader, ScriptedTrigger, Slow, Spot, Work
from scaler.domain import Assessment
from scaler.errors import LimitError, MetadataError, NotAllowedError, Refused, ScalerError, Unavailable
from scaler.quota import Quota
from scaler.scaledobject import ScaledObject
from scaler.scaledobjects import ScaledObjects
from scaler.snapshots import Snapshots

pytestmark = pytest.mark.usefixtures("scripted_source")

DOWN = Unavailable("down")
WAIT_SECONDS = 1.9

Make = Callable[..., ScaledObjects]


@pytest.fixture
def make(store: Snapshots, clock: ManualClock) -> Make:
    def made(
        access: Access | None = None, limit: int = 1_000, store: Snapshots = store, **kwargs: Any
    ) -> ScaledObjects:
        quota = Quota(limit, "limits.maxScaledObjects")
        return ScaledObjects(store, access or Access(), clock, max_scaled_objects=quota, **kwargs)

    return made


@pytest.fixture
async def objects(make: Make, clock: ManualClock) -> AsyncIterator[ScaledObjects]:
    """Everybody who asks; after the test nobody does, and nobody is remembered."""
    made = make()
    yield made
    assert not made._listening
    await clock.advance(1_000)
    made.forget_old()
    assert not made._known
    assert not made._quota.total


@pytest.fixture
def told(objects: ScaledObjects, clock: ManualClock) -> Callable[..., Any]:
    """Ask as GetMetrics does, of a backend that answers at once."""

    async def asking(who: ScaledObject) -> Assessment:
        task = asyncio.ensure_future(objects.answer(who, WAIT_SECONDS))
        await clock.advance(0)
        return await task

    return asking


async def told_by_is_active(objects: ScaledObjects, who: ScaledObject) -> Assessment:
    return objects.answered(who) or await objects.assess(who, WAIT_SECONDS)


def find(objects: ScaledObjects, spots: str = "a", namespace: str = "shop", **metadata: str) -> ScaledObject:
    return objects.find(namespace, "orders", {"source": "scripted", "spots": spots, **metadata})


async def judge(objects: ScaledObjects, clock: ManualClock, who: ScaledObject) -> Assessment:
    task = asyncio.ensure_future(objects.assess(who, WAIT_SECONDS))
    await clock.advance(0)
    return await task


# Who asks


def test_the_same_metadata_is_parsed_once(objects: ScaledObjects, clock: ManualClock) -> None:
    first = find(objects)
    assert find(objects) is first
    assert first.calls == 2
    others = [find(objects, spots="b"), find(objects, namespace="blog"), find(objects, refreshSeconds="9")]
    assert len({first, *others}) == len(objects) == 4
    assert list(objects) == [first, *others]


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        pytest.param({"target": "none"}, MetadataError, id="wrong metadata"),
        pytest.param({"spots": "secret"}, NotAllowedError, id="not allowed"),
        pytest.param({"spots": "a", "prefix": "x" * 70_000}, LimitError, id="too large"),
    ],
)
def test_who_is_refused_is_not_remembered(
    make: Make, clock: ManualClock, metadata: dict[str, str], error: type[ScalerError]
) -> None:
    objects = make(Access([AccessRule(namespaces=("shop",), urls=("scripted://a",))]))
    with pytest.raises(error):
        find(objects, **metadata)
    assert len(objects) == objects._quota.total == 0


@pytest.mark.parametrize(
    ("namespace", "name", "value"), [("n" * 90, "o", "v"), ("n", "o" * 90, "v"), ("n", "o", "é" * 45)]
)
def test_all_that_is_remembered_counts_for_the_size(make: Make, namespace: str, name: str, value: str) -> None:
    objects = make(max_metadata_bytes=100)
    with pytest.raises(
        LimitError, match=r"have 1\d\d bytes; at most 100 are read \(setting limits\.maxMetadataBytes\)"
    ):
        objects.find(namespace, name, {"source": "scripted", "k": value})


def test_one_namespace_does_not_take_all(make: Make) -> None:
    objects = make(limit=10)
    for number in range(5):
        find(objects, spots=f"s{number}")
    with pytest.raises(LimitError, match="namespace shop has reached its share"):
        find(objects, spots="s5")
    find(objects, namespace="blog")


async def test_who_has_not_asked_for_long_is_forgotten(objects: ScaledObjects, clock: ManualClock) -> None:
    old, young = find(objects, spots="old"), find(objects, spots="young")
    await clock.advance(600)
    find(objects, spots="young")
    await clock.advance(301)
    objects.forget_old()
    assert list(objects) == [young]
    assert find(objects, spots="old") is not old


async def test_who_listens_is_not_forgotten(objects: ScaledObjects, clock: ManualClock) -> None:
    who = find(objects)
    with objects.listening(who, lambda: None):
        await clock.advance(2_000)
        objects.forget_old()
        find(objects, spots="b")
        assert find(objects) is who


# What is told


async def test_one_reading_answers_all(objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader) -> None:
    reader.answers["a"] = Slow(1, Work(7))
    askers = [objects.find("shop", f"orders-{number}", {"source": "scripted", "spots": "a"}) for number in range(200)]
    tasks = [asyncio.ensure_future(objects.answer(who, WAIT_SECONDS)) for who in askers]
    await clock.advance(1)
    assert {(await task).metrics[0].value for task in tasks} == {7}
    assert reader.count("a") == 1


async def test_every_metric_is_judged_from_all_places(
    objects: ScaledObjects, reader: ScriptedReader, told: Callable[..., Any]
) -> None:
    reader.answers |= {"a": Work(3), "b": Work(4)}
    who = find(objects, spots="a,b", second="2")
    assert [(metric.name, metric.value) for metric in (await told(who)).metrics] == [
        ("scripted", 7),
        ("scripted-second", 4),
    ]
    assert who.active
    assert who.history.recent(1_000)[-1] == 7


async def test_what_has_not_changed_is_not_judged_again(
    objects: ScaledObjects,
    clock: ManualClock,
    reader: ScriptedReader,
    told: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: list[float] = []
    assess = ScriptedTrigger.assess
    monkeypatch.setattr(
        ScriptedTrigger, "assess", lambda self, readings, now: judged.append(now) or assess(self, readings, now)
    )
    who = find(objects)
    with objects.listening(who, lambda: None):
        for _ in range(10):
            first = await told(who)
            await clock.advance(30)
            assert (await told(who)) is first
        assert len(judged) == 1
        reader.answers["a"] = Work(1)
        await clock.advance(10)
        await told(who)
        assert len(judged) == 2


async def test_a_fault_is_told_and_noted_without_frames(
    objects: ScaledObjects, reader: ScriptedReader, told: Callable[..., Any]
) -> None:
    reader.answers["a"] = Refused("no such spot")
    who = find(objects)
    with pytest.raises(Refused, match="no such spot"):
        await told(who)
    assert isinstance(who.error, Refused)
    assert (str(who.error), who.error.__traceback__) == ("no such spot", None)
    assert not who.active
    assert who.assessment is None
    reader.answers["a"] = Work()
    with pytest.raises(Refused):
        await told(who)


async def test_readings_that_do_not_tell_are_a_fault_every_time(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader, told: Callable[..., Any]
) -> None:
    """Not once a fault, and then what was told before it."""
    reader.answers["a"] = Work(3)
    who = find(objects, settleSeconds="45")
    await told(who)
    reader.answers["a"] = Work(-1)
    await clock.advance(10)
    with objects.listening(who, lambda: None):
        for _ in range(3):
            with pytest.raises(Unavailable, match="less than nothing"):
                await told(who)
            assert not objects.says_active(who)
            await clock.advance(10)
    reader.answers["a"] = Work(0)
    await clock.advance(10)
    assert (await told(who)).active, "it counts as a fault for the settling time"


async def test_after_a_fault_the_error_is_gone(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader, told: Callable[..., Any]
) -> None:
    reader.answers["a"] = DOWN
    who = find(objects)
    with pytest.raises(Unavailable):
        await told(who)
    reader.answers["a"] = Work(2)
    await clock.advance(1)
    assert (await told(who)).active
    assert who.error is None


async def test_a_caller_waits_no_longer_than_it_says(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a*"] = Slow(1.5, ("b",))
    reader.answers["b"] = HANG
    who = objects.find("shop", "orders", {"source": "scripted", "prefix": "a"})
    task = asyncio.ensure_future(objects.answer(who, WAIT_SECONDS))
    await clock.advance(1.8)
    assert not task.done()
    await clock.advance(0.1)
    with pytest.raises(Unavailable, match="no answer yet"):
        await task


async def test_a_cancelled_caller_leaves_nothing(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader, store: Snapshots
) -> None:
    reader.answers["a"] = Slow(1, Work(1))
    task = asyncio.ensure_future(objects.answer(find(objects), WAIT_SECONDS))
    await settle()
    task.cancel()
    await clock.advance(1)
    assert task.cancelled()
    assert not store._entries[Spot("a")].waiters


# GetMetrics and IsActive


async def test_is_active_is_told_what_get_metrics_was(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader, told: Callable[..., Any]
) -> None:
    """Also when a stream of the same trigger has judged newer readings in between."""
    reader.answers["a"] = Work(3)
    who = find(objects)
    with objects.listening(who, lambda: None):
        first = await told(who)
        reader.answers["a"] = Work(0)
        reader.hint(Spot("a"))
        await clock.advance(1.5)
        assert not who.active, "the stream knows"
        assert await told_by_is_active(objects, who) is first
        await clock.advance(0.6)
        assert not (await told_by_is_active(objects, who)).active


async def test_is_active_after_a_failed_get_metrics_fails_too(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader, told: Callable[..., Any]
) -> None:
    who = find(objects, refreshSeconds="1", staleSeconds="1")
    await told(who)
    reader.answers["a"] = DOWN
    await clock.advance(1.5)
    with pytest.raises(Unavailable):
        await told(who)
    with pytest.raises(Unavailable):
        await told_by_is_active(objects, who)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["work", "nothing", "fault", "heal", "stream"]),
        st.sampled_from([0.0, 0.1, 1.0, 1.9, 15.0, 40.0]),
        st.sampled_from([0.0, 0.1, 1.9]),
    ),
    max_size=15,
)


@given(STEPS, st.sampled_from(["0", "15"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_the_two_never_contradict_each_other(
    steps: list[tuple[str, float, float]], settle_seconds: str
) -> None:
    async def run() -> None:
        clock = ManualClock()
        reader = ScriptedReader(clock)
        store = Snapshots([reader], clock)
        quota = Quota(9, "limits.maxScaledObjects")
        objects = ScaledObjects(store, Access(), clock, max_scaled_objects=quota)
        number = 0
        with ExitStack() as streams:
            for what, before, between in steps:
                who = find(objects, settleSeconds=settle_seconds)
                number += 1
                if what == "stream":
                    streams.enter_context(objects.listening(who, lambda: None))
                else:
                    answers = {"work": Work(number), "nothing": Work(0), "fault": DOWN, "heal": Work(0)}
                    reader.answers["a"] = answers[what]
                    reader.hint(Spot("a"))
                await clock.advance(before)
                task = asyncio.ensure_future(objects.answer(who, WAIT_SECONDS))
                await clock.advance(0)
                try:
                    value = (await task).metrics[0].value
                except Unavailable:
                    continue
                reader.answers["a"] = Work(0)
                reader.hint(Spot("a"))
                await clock.advance(between)
                active = (await told_by_is_active(objects, who)).active
                assert active or value == 0
        await store.close()
        assert clock.pending == 0

    asyncio.run(run())


# After a fault, slowly to zero


@pytest.mark.parametrize("polls", [0, 1, 2, 10])
async def test_polls_after_an_outage_settle(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader, told: Callable[..., Any], polls: int
) -> None:
    """However long the outage is: between two polls, as long as the last good reading is served, or longer."""
    reader.answers["a"] = Work(3)
    who = find(objects, settleSeconds="45", refreshSeconds="5")
    assert (await told(who)).active
    reader.answers["a"] = DOWN
    for _ in range(polls):
        await clock.advance(30)
        with suppress(Unavailable):
            assert (await told(who)).active
    await clock.advance(6)
    reader.answers["a"] = Work(0)
    await clock.advance(24)
    said = []
    for _ in range(4):
        said.append((await told(who)).active)
        await clock.advance(30)
    assert said == [True, True, False, False]


async def test_a_slow_poller_that_was_told_an_error_settles(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader, told: Callable[..., Any], store: Snapshots
) -> None:
    """Between its polls nobody asks, so the store forgets the place and its fault."""
    reader.answers["a"] = Work(3)
    who = find(objects, settleSeconds="45")
    assert (await told(who)).active
    reader.answers["a"] = DOWN
    await clock.advance(300)
    with pytest.raises(Unavailable):
        await told(find(objects, settleSeconds="45"))
    reader.answers["a"] = Work(0)
    await clock.advance(300)
    assert len(store) == 0
    assert (await told(find(objects, settleSeconds="45"))).active
    await clock.advance(300)
    assert not (await told(find(objects, settleSeconds="45"))).active


async def test_a_listener_settles_without_anybody_asking(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader, told: Callable[..., Any]
) -> None:
    reader.answers["a"] = Work(3)
    who = find(objects, settleSeconds="45", refreshSeconds="5")
    with objects.listening(who, lambda: None):
        await told(who)
        reader.answers["a"] = DOWN
        await clock.advance(10)
        reader.answers["a"] = Work(0)
        await clock.advance(47)
        assert who.active
        await clock.advance(1)
        assert clock.now() - who.readings[Spot("a")].healed < 45 + 5
        assert not who.active
        assert math.isnan(who.inactive_seen), "it is judged at changes alone again"


# Leases


async def test_a_place_is_kept_fresh_for_a_while_after_it_was_asked_for(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader, told: Callable[..., Any], store: Snapshots
) -> None:
    who = find(objects)
    for _ in range(20):
        await told(who)
        await clock.advance(6)
    asked = clock.now()
    await clock.advance(95)
    assert reader.times("a")[-1] >= asked + 80
    await clock.advance(30)
    assert len(store) == 0


async def test_who_listens_and_sleeps_reads_fast_and_slow_when_awake(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader, told: Callable[..., Any], store: Snapshots
) -> None:
    def interval() -> float | None:
        status = store.status(Spot("a"))
        return None if status is None else status.interval

    who = find(objects, idleRefreshSeconds="0.5")
    with objects.listening(who, lambda: None):
        assert interval() == 10, "as long as nothing is known"
        await told(who)
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
    objects: ScaledObjects, clock: ManualClock, told: Callable[..., Any], store: Snapshots
) -> None:
    first, second = find(objects, idleRefreshSeconds="2"), find(objects, idleRefreshSeconds="0.5")
    with objects.listening(first, lambda: None):
        with objects.listening(second, lambda: None):
            await told(first)
            await told(second)
            assert store._entries[Spot("a")].interval(clock.now()) == 0.5
        assert store._entries[Spot("a")].interval(clock.now()) == 2


async def test_two_streams_of_one_trigger_are_one_lease(
    objects: ScaledObjects, told: Callable[..., Any], store: Snapshots
) -> None:
    who, woken = find(objects), list[str]()
    with objects.listening(who, lambda: woken.append("first")):
        with objects.listening(who, lambda: woken.append("second")):
            await told(who)
            assert sorted(woken) == ["first", "second"]
            assert len(store._entries[Spot("a")].leases) == 1
        assert objects._listening
        assert store._entries[Spot("a")].interval(0) == 1


# Listening


async def test_listeners_are_woken_at_changes_of_activity_alone(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader
) -> None:
    who, woken = find(objects), list[tuple[float, bool]]()
    began = clock.now()
    with objects.listening(who, lambda: woken.append((clock.now() - began, who.active))):
        await judge(objects, clock, who)
        woken.clear()
        for answer in (Work(0), Work(1), Work(5), Work(2), Work(0), Work(0), Work(1)):
            reader.answers["a"] = answer
            await clock.advance(11)
    assert [active for _, active in woken] == [True, False, True]


async def test_nothing_is_said_on_readings_that_are_too_old(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader
) -> None:
    who, woken = find(objects, staleSeconds="30"), list[float]()
    reader.answers["a"] = Work(1)
    with objects.listening(who, lambda: woken.append(clock.now())):
        await judge(objects, clock, who)
        assert objects.says_active(who)
        reader.answers["a"] = DOWN
        await clock.advance(29)
        assert objects.says_active(who)
        await clock.advance(1.1)
        assert not objects.says_active(who)
        assert isinstance(who.error, Unavailable)
        woken.clear()
        await clock.advance(100)
        assert not objects.says_active(who)
        assert woken == []
        reader.answers["a"] = Work(1)
        await clock.advance(16)
        assert len(woken) == 1, "woken although it is active as before"
        assert objects.says_active(who)


async def test_a_slow_read_does_not_silence(objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader) -> None:
    who = find(objects)
    reader.answers["a"] = Work(1)
    with objects.listening(who, lambda: None):
        await judge(objects, clock, who)
        reader.answers["a"] = Slow(4, Work(1))
        await clock.advance(12)
        assert reader.under_way["a"]
        assert objects.says_active(who)


async def test_a_read_that_hangs_until_the_last_reading_is_stale_silences(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader
) -> None:
    """No fault has been told yet, and still nothing is known."""
    who, woken = find(objects, staleSeconds="10"), list[float]()
    reader.answers["a"] = Work(1)
    with objects.listening(who, lambda: woken.append(clock.now())):
        await judge(objects, clock, who)
        reader.answers["a"] = Slow(4, Work(1))
        woken.clear()
        await clock.advance(12)
        assert not objects.says_active(who)
        await clock.advance(3)
        assert len(woken) == 1
        assert objects.says_active(who)


async def test_a_defect_in_one_trigger_keeps_nobody_else_from_being_told(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = find(objects, second="9"), find(objects)
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
    assert [entry["event"] for entry in logs] == ["cannot judge"]


async def test_a_full_store_refuses_a_listener_and_keeps_nothing_of_it(
    reader: ScriptedReader, make: Make, clock: ManualClock, open_store: Callable[..., Snapshots]
) -> None:
    store = open_store(reader, max_places=2)
    objects = make(store=store)
    who = find(objects, spots="a,b,c")
    with pytest.raises(LimitError, match=r"limits\.maxPlaces"), objects.listening(who, lambda: None):
        pytest.fail("it listens")
    assert not who.listeners
    assert not objects._listening
    await clock.advance(121)
    assert len(store) == 0


# Time


async def test_what_falls_due_wakes_at_its_moment(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader
) -> None:
    began = clock.now()
    reader.answers["a"] = Work(0, due=clock.wall() + 5.25)
    who, woken = find(objects, idleRefreshSeconds="60", refreshSeconds="60"), list[float]()
    with objects.listening(who, lambda: woken.append(clock.now() - began)):
        assert not (await judge(objects, clock, who)).active
        woken.clear()
        await clock.advance(30)
        assert woken == [5.25]
        assert objects.says_active(who)
        assert reader.count("a") == 1
        assert who.timer is None


async def test_what_falls_due_in_a_blink_wakes_too(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = Work(0, due=clock.wall() + 0.02)
    who = find(objects, idleRefreshSeconds="60", refreshSeconds="60")
    with objects.listening(who, lambda: None):
        await judge(objects, clock, who)
        await clock.advance(0.1)
        assert who.active


async def test_nobody_is_woken_after_the_stream_has_ended(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = Work(0, due=clock.wall() + 5)
    who = find(objects)
    with objects.listening(who, pytest.fail):
        who.listeners.clear()
        who.listeners.add(lambda: None)
        await judge(objects, clock, who)
        assert who.timer is not None
        who.listeners.clear()
    assert who.timer is None
    await clock.advance(6)


async def test_a_poll_sees_what_has_fallen_due_on_an_old_reading(
    objects: ScaledObjects, clock: ManualClock, reader: ScriptedReader, told: Callable[..., Any]
) -> None:
    reader.answers["a"] = Work(0, due=clock.wall() + 5)
    who = find(objects, refreshSeconds="60")
    assert not (await told(who)).active
    await clock.advance(5)
    assert (await told(who)).metrics[0].value == 1
    assert reader.count("a") == 1


# Places that readings name


@pytest.fixture
def mapped(objects: ScaledObjects, reader: ScriptedReader) -> ScaledObject:
    reader.answers |= {"q*": ("q1", "q2"), "q1": Work(1), "q2": Work(2), "q3": Work(4)}
    return objects.find("shop", "orders", {"source": "scripted", "prefix": "q", "refreshSeconds": "5"})


async def test_what_a_listing_names_is_read_too(
    mapped: ScaledObject, reader: ScriptedReader, clock: ManualClock, told: Callable[..., Any]
) -> None:
    assert (await told(mapped)).metrics[0].value == 3
    reader.answers["q*"] = ("q2", "q3")
    await clock.advance(61)
    assert (await told(mapped)).metrics[0].value == 6
    reads = reader.count("q1")
    await clock.advance(30)
    assert reader.count("q1") == reads, "it is no longer named"


async def test_a_new_place_is_read_as_fast_as_the_others_while_asleep(
    objects: ScaledObjects, mapped: ScaledObject, reader: ScriptedReader, clock: ManualClock, store: Snapshots
) -> None:
    reader.answers |= {"q1": Work(), "q2": Work(), "q3": Work()}
    with objects.listening(mapped, lambda: None):
        await judge(objects, clock, mapped)
        assert store._entries[Spot("q1")].interval(0) == 1
        reader.answers["q*"] = ("q1", "q3")
        await clock.advance(61)
        assert store._entries[Spot("q3")].interval(0) == 1
        assert Spot("q2") not in store._entries
        reader.answers["q3"] = Work(1)
        await clock.advance(1)
        assert mapped.active
    assert not objects._listening
    await clock.advance(121)
    assert len(store) == 0


async def test_a_named_place_that_was_never_read_is_let_go_of_too(
    objects: ScaledObjects, mapped: ScaledObject, reader: ScriptedReader, clock: ManualClock, store: Snapshots
) -> None:
    reader.answers["q2"] = HANG
    with objects.listening(mapped, lambda: None):
        task = asyncio.ensure_future(objects.assess(mapped, WAIT_SECONDS))
        await clock.advance(2)
        with pytest.raises(Unavailable):
            await task
        reader.answers["q*"] = ("q1",)
        await clock.advance(70)
        assert Spot("q2") not in store._entries
        assert Spot("q2") not in objects._listening
        assert mapped.active


async def test_a_new_name_silences_nobody(
    objects: ScaledObjects, mapped: ScaledObject, reader: ScriptedReader, clock: ManualClock
) -> None:
    woken = list[float]()
    with objects.listening(mapped, lambda: woken.append(clock.now())):
        await judge(objects, clock, mapped)
        woken.clear()
        reader.answers["q*"] = ("q1", "q2", "q3")
        await clock.advance(70)
        assert objects.says_active(mapped)
        assert mapped.raw is not None
        assert mapped.raw.metrics[0].value == 7
        assert woken == []


async def test_more_names_than_the_store_holds_are_refused_each_time(
    mapped: ScaledObject, reader: ScriptedReader, make: Make, clock: ManualClock, open_store: Callable[..., Snapshots]
) -> None:
    objects = make(store=open_store(reader, max_places=2))
    who = objects.find("shop", "orders", {"source": "scripted", "prefix": "q"})
    for _ in range(3):
        task = asyncio.ensure_future(objects.answer(who, WAIT_SECONDS))
        await clock.advance(1)
        with pytest.raises(LimitError, match=r"limits\.maxPlaces"):
            await task
