"""Places of one backend that are read in one go."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest

from scaler.core.errors import Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import HANG, Map, ScriptedReader, Slow, Spot, TogetherReader, Work

A, B = Spot("a"), Spot("b")
DOWN = Unavailable("down")
OpenStore, Ask, Value = (Callable[..., Any],) * 3


async def test_all_that_is_due_soon_is_read_in_one_go(clock: ManualClock, open_store: OpenStore) -> None:
    reader = TogetherReader(clock)
    store, began = open_store(reader), clock.now()
    for place, interval in ((A, 10), (B, 6), (Spot("c"), 30)):
        store.lease("me", place, interval, math.inf)
    store.lease("me", Spot("d", "another host"), 10, math.inf)
    await clock.advance(10)
    assert [(at - began, names) for at, names in reader.reads] == [
        (0, ("a", "b", "c")),
        (0, ("d",)),
        (6, ("b", "a")),
        (10, ("d",)),
    ]


async def test_what_is_read_along_waits_for_no_turn_of_its_own(clock: ManualClock, open_store: OpenStore) -> None:
    reader = TogetherReader(clock)
    store, began = open_store(reader, limits={"scripted": 1}), clock.now()
    for name, interval in (("a", 10), ("b", 10), ("c", 60)):
        store.lease("me", Spot(name), interval, math.inf)
    await clock.advance(25)
    assert [(at - began, names) for at, names in reader.reads] == [
        (0, ("a", "b", "c")),
        (10, ("a", "b")),
        (20, ("a", "b")),
    ]
    assert store.backends()[0].waiting == 0


async def test_what_was_read_in_one_go_has_one_date(clock: ManualClock, open_store: OpenStore) -> None:
    reader = TogetherReader(clock)
    store = open_store(reader, dice=itertools.count(0.5, 0.0625).__next__)
    for name in "abcd":
        store.lease("me", Spot(name), 8, math.inf)
    for name in "xy":
        store.lease("me", Spot(name), 4, math.inf)
    await clock.advance(1)
    due_times = {name: store.state(Spot(name)).due - clock.now() for name in "abcdxy"}
    assert len(set(due_times.values())) == 2, "one for each interval"
    assert due_times["x"] == pytest.approx((1 + due_times["a"]) / 2 - 1)
    assert len(store._schedule.due_times._heap) == 2, "one alarm for each date"
    store.release("me", Spot("a"))
    store.lease("me", Spot("b"), 2, math.inf)
    reader.reads.clear()
    await clock.advance(8)
    assert reader.count("a") == 0
    assert reader.count("b") >= 3, "what is wanted sooner leaves the others"
    assert all(1 <= reader.count(name) <= 2 for name in "cd")


async def test_what_was_only_begun_together_drifts_apart(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store = open_store(reader, dice=itertools.count(0.5, 0.0625).__next__)
    for name in "abcd":
        store.lease("me", Spot(name), 8, math.inf)
    await clock.advance(1)
    assert len(reader.reads) == 1
    assert len({store.state(Spot(name)).due for name in "abcd"}) == 4


async def test_what_is_told_late_in_one_go_is_read_again_too(clock: ManualClock, open_store: OpenStore) -> None:
    reader = TogetherReader(clock)
    store = open_store(reader)
    reader.answers |= {"a": Slow(0.2, Work()), "b": Slow(0.99, Work())}
    store.lease("me", A, 1, clock.now() + 0.9)
    store.lease("me", B, 1, math.inf)
    store.lease("me", Spot("c", "another host"), 0.985, math.inf)  # with which `a` is due, within a grain
    await clock.advance(0.5)
    reader.hint(B)
    await clock.advance(4)
    assert store.status(A) is None
    assert reader.count("b") > 2, "its date was that of the first, whose turn has come meanwhile"


async def test_what_was_read_well_in_one_go_is_told_in_one_go(clock: ManualClock, open_store: OpenStore) -> None:
    reader, reads = TogetherReader(clock), list[tuple[bool, int]]()
    store = open_store(reader)
    store.observe(lambda place, seconds, fault, places: reads.append((fault is None, places)))
    reader.answers |= {"b": DOWN, "d": DOWN, "e": HANG}
    for name in "abcde":
        store.lease("me", Spot(name), 20, clock.now() + 0.4)
    await clock.advance(5)
    assert reads == [(False, 1)] * 3 + [(True, 2)]


async def test_what_is_read_along_is_not_read_again_when_its_own_date_comes(
    clock: ManualClock, open_store: OpenStore
) -> None:
    reader = TogetherReader(clock)
    store, began = open_store(reader), clock.now()
    for place, interval in ((A, 10), (B, 6)):
        store.lease("me", place, interval, math.inf)
    await clock.advance(1)
    reader.answers |= {"a": Slow(4.5, Work()), "b": Slow(4.5, Work())}
    await clock.advance(10)
    assert [(at - began, names) for at, names in reader.reads] == [(0, ("a", "b")), (6, ("b", "a"))]
    assert reader.most_at_once == 1


async def test_what_is_added_meanwhile_does_not_wait_for_the_others(clock: ManualClock, open_store: OpenStore) -> None:
    reader = TogetherReader(clock)
    store, began = open_store(reader), clock.now()
    reader.answers["a"] = Slow(1, Work())
    store.lease("me", A, 10, math.inf)
    await clock.advance(0.5)
    store.lease("me", B, 10, math.inf)
    await clock.advance(0)
    assert [(at - began, names) for at, names in reader.reads] == [(0, ("a",)), (0.5, ("b",))]


async def test_one_go_is_one_request_for_the_rate(clock: ManualClock, open_store: OpenStore) -> None:
    reader = TogetherReader(clock)
    store = open_store(reader, limits={"scripted": 2})
    for number in range(50):
        store.lease("me", Spot(f"s{number}"), 1, math.inf)
    await clock.advance(10)
    assert [len(names) for _, names in reader.reads] == [50] * 11
    assert all(status.in_flight == 0 for status in store.backends())


async def test_what_nobody_asks_for_is_not_read_along(clock: ManualClock, open_store: OpenStore) -> None:
    reader = TogetherReader(clock)
    store = open_store(reader)
    store.lease("me", A, 10, math.inf)
    store.lease("me", B, 10, clock.now() + 1)
    await clock.advance(20)
    assert reader.count("b") == 1
    assert len(store) == 1


async def test_a_go_that_hangs_ends_for_all_of_its_places(clock: ManualClock, open_store: OpenStore) -> None:
    reader = TogetherReader(clock)
    store = open_store(reader)
    reader.answers["a"] = HANG
    store.lease("me", A, 10, math.inf)
    store.lease("me", B, 10, math.inf)
    await clock.advance(4)
    assert store.newest(B, 10, 60) is not None, "what was reported counts at once"
    assert store.backends()[0].in_flight == 1
    await clock.advance(1)
    with pytest.raises(Unavailable, match="no answer within 5 s"):
        store.newest(A, 10, 60)
    assert store.backends()[0].in_flight == 0


async def test_two_readers_of_one_backend_are_asked_apart(clock: ManualClock, open_store: OpenStore) -> None:
    class MapReader(TogetherReader):
        kinds = frozenset({Map.kind})

    class SpotReader(TogetherReader):
        kinds = frozenset({Spot.kind})

    maps, spots = MapReader(clock), SpotReader(clock)
    maps.answers["m*"] = ("a",)
    store = open_store(maps, spots)
    store.lease("me", Map("m"), 10, math.inf)
    store.lease("me", Spot("a", "maps"), 10, math.inf)
    await clock.advance(0)
    assert (maps.count("m*"), spots.count("a"), spots.count("m*")) == (1, 1, 0)
