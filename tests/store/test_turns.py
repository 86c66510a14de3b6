"""Who is read when a backend allows fewer requests than are asked for."""

import asyncio
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest

from scaler.core.errors import Refused, Throttled, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import Map, ScriptedReader, Slow, Spot, Work
from scaler.store.schedule import LIMITED_GRAIN_SECONDS

A, B = Spot("a"), Spot("b")
OpenStore, Ask, Value = (Callable[..., Any],) * 3


async def test_with_more_places_than_the_rate_allows_intervals_stretch_evenly(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store, began = open_store(reader, limits={"scripted": 10}), clock.now()
    spots = [Spot(f"s{number}") for number in range(40)]
    for number, spot in enumerate(spots):
        store.lease("me", spot, 1 if number % 4 else 3, math.inf)
    await clock.advance(100)
    assert len([names for _, names in reader.reads for _ in names]) == pytest.approx(10 * 100, abs=5)
    for spot in spots:
        times = [at - began for at in reader.times(spot.name)]
        gaps = [late - early for early, late in itertools.pairwise(times)][2:]
        assert min(gaps) > 3
        assert max(gaps) < 6.5
    (backend,) = store.backends()
    assert backend.limit == backend.rate == 10
    assert backend.places == 40
    assert backend.waiting > 20
    assert 2 < backend.lag_seconds < 5
    assert all(store.newest(spot, 3, 60) for spot in spots), "served although it is older than its interval"


async def test_what_waits_for_its_rate_is_told(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store = open_store(reader, limits={"scripted": 0.25})
    reader.answers["b"] = Unavailable("down")
    for place in (A, B, Spot("c")):
        store.lease("me", place, 60, math.inf)
    await clock.advance(5)
    assert list(store.ages()) == [("spot", 5, False), ("spot", None, True), ("spot", None, False)]
    assert list(store.paces()) == [(A, 60), (B, 60), (Spot("c"), 60)]
    (backend,) = store.backends()
    assert (backend.waiting, backend.lag_seconds) == (2, 5)
    assert (
        "not read yet, because scripted/one is asked as often as its limit allows (setting limits.requestsPer"
        in str(store.unanswered(store.state(Spot("c"))))
    )


async def test_a_backend_at_its_limit_wakes_the_loop_no_more_often_than_a_grain(
    reader: ScriptedReader, open_store: OpenStore, clock: ManualClock
) -> None:
    store = open_store(reader, limits={"scripted": 500})
    for number in range(2_000):
        reader.answers[f"s{number}"] = Slow(number % 7 / 1_000, Work())
        store.lease("me", Spot(f"s{number}"), 1, math.inf)
    await clock.advance(10)
    reader.reads.clear()
    await clock.advance(10)
    assert sum(len(names) for _, names in reader.reads) == pytest.approx(5_000, rel=0.01), "all of the rate is used"
    assert len({at for at, _ in reader.reads}) <= 10 / LIMITED_GRAIN_SECONDS + 1


async def test_what_is_dropped_while_it_waits_has_no_turn(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store = open_store(reader, limits={"scripted": 1})
    store.lease("me", A, 10, math.inf)
    await clock.advance(1)
    for number in range(20):
        store.lease("me", Spot(f"s{number}"), 60, math.inf)
    await clock.advance(10)
    assert (store.backends()[0].waiting, reader.count("a")) == (10, 1)
    store.lease("you", A, 1, math.inf)  # due long ago, so that it is looked at again
    for lessee in ("me", "you"):
        store.release(lessee, A)
    await clock.advance(30)
    assert reader.count("a") == 1
    assert store.status(A) is None
    assert store.backends()[0].waiting == 0


async def test_what_was_never_read_goes_first(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store = open_store(reader, limits={"scripted": 2})
    for number in range(20):
        store.lease("me", Spot(f"s{number}"), 1, math.inf)
    await clock.advance(30)
    before = len(reader.reads)
    store.lease("me", A, 1, math.inf)
    await clock.advance(0.6)
    assert "a" in reader.reads[before][1]


async def test_what_always_fails_does_not_go_first(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store = open_store(reader, limits={"scripted": 2})
    for number in range(4):
        store.lease("me", Spot(f"good{number}"), 1, math.inf)
    for number in range(20):
        reader.answers[f"bad{number}"] = Refused("does not exist")
        store.lease("me", Spot(f"bad{number}"), 1, math.inf)
    await clock.advance(120)
    assert reader.count("good1") >= 8


async def test_namespaces_take_turns(clock: ManualClock, reader: ScriptedReader, open_store: OpenStore) -> None:
    store = open_store(reader, limits={"scripted": 10})
    for number in range(500):
        store.lease("greedy", Spot(f"g{number}"), 1, math.inf, "greedy")
    for number in range(4):
        store.lease("modest", Spot(f"m{number}"), 1, math.inf, "modest")
    await clock.advance(60)
    assert all(reader.count(f"m{number}") >= 45 for number in range(4))
    assert reader.count("g0") == 1


class ToldReader(ScriptedReader):
    """The same for a backend that tells by itself what changes."""

    watched = True


async def test_what_a_backend_tells_by_itself_does_not_wait_for_its_rate(
    clock: ManualClock, open_store: OpenStore
) -> None:
    reader = ToldReader(clock)
    store = open_store(reader, limits={"scripted": 2})
    for number in range(200):
        store.lease("me", Spot(f"s{number}"), 1, math.inf)
    await clock.advance(2)
    assert len(reader.reads) < 20, "the first look at a place is a request"
    await clock.advance(120)
    assert store.backends()[0].waiting == 0
    before = [reader.count(f"s{number}") for number in range(200)]
    await clock.advance(10)
    assert all(reader.count(f"s{number}") - before[number] >= 9 for number in range(200))
    began = clock.now()
    reader.hint(Spot("s7"))
    await clock.advance(0.15)
    assert [at for at in reader.times("s7") if at >= began], "a hint is followed at once"


class ToldMapReader(ToldReader):
    """Another one, for other places."""

    kinds = frozenset({Map.kind})


async def test_all_that_is_told_is_looked_at_until_nobody_asks_for_it(
    clock: ManualClock, open_store: OpenStore
) -> None:
    spots, maps = ToldReader(clock), ToldMapReader(clock)
    maps.answers["a*"] = ()
    store = open_store(spots, maps)
    for place in (A, Map("a")):
        store.lease("me", place, 60, clock.now() + 150)
    await clock.advance(121)
    assert (spots.count("a"), maps.count("a*")) == (3, 3)
    await clock.advance(60)
    assert len(store) == 0


async def test_a_place_that_a_caller_waits_for_is_read_though_its_lease_ends(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store = open_store(reader, limits={"scripted": 1})
    store.lease("me", A, 60, math.inf)
    store.lease("me", B, 60, clock.now() + 0.1)
    task = asyncio.ensure_future(store.read([B], 5, 60, 3))
    await clock.advance(2)
    assert (await task)[B].value == Work(0)


async def test_what_has_failed_waits_for_the_rate_again(clock: ManualClock, open_store: OpenStore) -> None:
    reader = ToldReader(clock)
    store = open_store(reader, limits={"scripted": 2})
    for number in range(40):
        store.lease("me", Spot(f"s{number}"), 1, math.inf)
    await clock.advance(60)
    reader.answers |= {f"s{number}": Unavailable("down") for number in range(40)}
    await clock.advance(2)
    before = len(reader.reads)
    await clock.advance(10)
    assert len(reader.reads) - before <= 21
    assert store.backends()[0].waiting > 10


async def test_a_complaint_slows_all_places_of_the_backend_and_no_other(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store = open_store(reader, limits={"scripted": 40})
    for number in range(40):
        store.lease("me", Spot(f"s{number}"), 1, math.inf)
        store.lease("me", Spot(f"o{number}", "other"), 1, math.inf)
    await clock.advance(10)
    reader.answers["s0"] = Throttled("slow down")
    await clock.advance(1)
    reader.answers["s0"] = Work()
    rates = {status.backend: status.rate for status in store.backends()}
    assert rates["scripted/other"] == 40
    assert 20 <= rates["scripted/one"] < 22
    before = len(reader.times("s1")), len(reader.times("o1"))
    await clock.advance(10)
    assert len(reader.times("s1")) - before[0] <= 7
    assert len(reader.times("o1")) - before[1] >= 9
    await clock.advance(60)
    assert {status.rate for status in store.backends()} == {40}


async def test_as_many_reads_as_may_be_under_way_are(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store = open_store(reader)
    for number in range(100):
        reader.answers[f"s{number}"] = Slow(1, Work())
        store.lease("me", Spot(f"s{number}"), 30, math.inf)
    await clock.advance(0.5)
    assert sum(reader.under_way.values()) == 64
    (backend,) = store.backends()
    assert (backend.in_flight, backend.waiting) == (64, 36)
    await clock.advance(1)
    assert sum(reader.under_way.values()) == 36
