"""Listeners whose trigger reads a listing: what it names is read too, and who finds no room is refused."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from scaler.answers.scaledobject import ScaledObject
from scaler.core.errors import LimitError, Unavailable
from scaler.demo.asked_store import AskedStore as Snapshots
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import HANG, Map, ScriptedReader, Spot, Work
from tests.answers.asking import WAIT_SECONDS

pytestmark = pytest.mark.usefixtures("scripted_source")
Make = Callable[..., Any]


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
        await clock.advance(130)  # the second time there is room for some of them
        assert isinstance(who.error.error, LimitError)
    assert len(objects.listeners) == 0
    await clock.advance(181)
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
        assert [state.place for state in who.lease.states] == [Map("q")], "the others have left the store"
        with pytest.raises(LimitError):
            await objects.told(who)
    await clock.advance(300)
    assert (await objects.told(who)).metrics[0].value == 3


async def test_a_full_store_refuses_a_listener_and_keeps_nothing_of_it(
    reader: ScriptedReader, make_objects: Make, clock: ManualClock, open_store: Callable[..., Snapshots]
) -> None:
    store = open_store(reader, max_places=2)
    objects = make_objects(store=store)
    who = objects.who(spots="a,b,c")
    refused = pytest.raises(LimitError, match=r"namespace shop has reached its share, 1 of 2 .*limits\.maxPlaces")
    with refused, objects.listening(who, lambda: None):
        pytest.fail("it listens")
    assert not who.listeners
    assert len(objects.listeners) == 0
    await clock.advance(121)
    assert len(store) == 0
