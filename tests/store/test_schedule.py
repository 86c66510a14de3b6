import asyncio
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from scaler.core.domain import Found
from scaler.core.errors import Refused, Throttled, Unavailable
from scaler.demo.asked_store import AskedStore
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import HANG, SCRIPT, Map, ScriptedReader, Slow, Spot, TogetherReader, Work
from scaler.store.rate_limit import RETRIES_PER_SECOND, RETRY_BURST
from scaler.store.schedule import LIMITED_GRAIN_SECONDS

A, B = Spot("a"), Spot("b")
DOWN = Unavailable("down")

OpenStore, Ask, Value = (Callable[..., Any],) * 3


# After a fault


async def test_pauses_grow_and_end_with_the_first_good_read(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = DOWN
    began = clock.now()
    store.lease("me", A, 20, began + 300)
    await clock.advance(100)
    assert [at - began for at in reader.times("a")] == pytest.approx([0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5])
    reader.answers["a"] = Work()
    await clock.advance(30)
    assert reader.times("a")[-1] - began == pytest.approx(121.5)
    reader.answers["a"] = DOWN
    await clock.advance(13)
    assert [at - began for at in reader.times("a")][-3:] == pytest.approx([141.5, 142.0, 143.0])


@given(
    interval=st.sampled_from([1.0, 2.0, 5.0, 10.0, 60.0]),
    outage=st.floats(1, 300),
    jitter=st.floats(0, 1),
    fault=st.sampled_from([DOWN, Refused("no"), HANG]),
)
@settings(max_examples=40, deadline=None)
def test_recovery_takes_at_most_two_intervals(interval: float, outage: float, jitter: float, fault: Any) -> None:
    async def run() -> None:
        clock = ManualClock()
        reader = ScriptedReader(clock)
        reader.timeout_seconds = min(5, interval / 2)  # type: ignore[misc]  # of the class, but for this test
        store = AskedStore([reader], clock, dice=lambda: jitter)
        store.lease("me", A, interval, math.inf)
        await clock.advance(1)
        reader.answers["a"] = fault
        await clock.advance(outage)
        reader.answers["a"] = Work(9)
        await clock.advance(2 * interval)
        reading = store.newest(A, 3 * interval, 3 * interval)
        assert reading is not None
        assert reading.value == Work(9)
        await store.close()
        assert clock.pending == 0

    asyncio.run(run())


async def test_a_reading_remembers_when_it_healed(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, ask: Ask
) -> None:
    async def healed() -> float:
        task = ask(store, A)
        await clock.advance(0)
        return (await task)[A].trouble_at

    assert await healed() == -math.inf
    reader.answers["a"] = DOWN
    await clock.advance(12)
    assert await healed() == -math.inf, "the last good reading"
    failed = reader.count("a")
    reader.answers["a"] = Work()
    for seconds in (2, 10, 30):
        await clock.advance(seconds)
        assert await healed() == reader.times("a")[failed]
    assert reader.count("a") > failed + 2


async def test_a_first_read_that_failed_counts_as_a_fault(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader
) -> None:
    reader.answers["a"] = DOWN
    store.lease("me", A, 10, clock.now() + 50)
    await clock.advance(0.1)
    reader.answers["a"] = Work()
    await clock.advance(1)
    reading = store.newest(A, 10, 60)
    assert reading is not None
    assert reading.trouble_at == reading.at


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(ValueError("hunter2"), "internal error ValueError; the scaler's log says more", id="a defect"),
        pytest.param(HANG, "no answer within 5 s", id="it hangs"),
    ],
)
async def test_what_a_reader_does_wrong_is_a_fault_of_the_place(
    store: AskedStore, clock: ManualClock, reader: ScriptedReader, answer: Any, said: str
) -> None:
    reader.answers["a"] = answer
    with capture_logs() as logs:
        store.lease("me", A, 10, clock.now() + 50)
        await clock.advance(5)
    status = store.status(A)
    assert status is not None
    assert said in str(status.fault)
    assert str(A) in str(status.fault)
    assert "hunter2" not in str(status.fault)
    assert ("a reader failed" in str(logs)) == isinstance(answer, ValueError)


class Odd(ScriptedReader):
    """Reports what it was not asked for, `a` twice, and nothing else."""

    async def read(self, places: Any, report: Any) -> None:
        self.reads.append((self._clock.now(), tuple(place.name for place in places)))
        report(Spot("nobody asked"), Found(Work(9), SCRIPT))
        if A in places:
            report(A, Found(Work(1), SCRIPT))
            report(A, DOWN)


async def test_only_the_first_report_of_each_place_counts_and_none_is_a_fault(
    clock: ManualClock, open_store: OpenStore, value: Value
) -> None:
    store = open_store(Odd(clock))
    assert await value(store, A) == Work(1)
    assert len(store) == 1
    with pytest.raises(Unavailable, match="ended without an answer"):
        await value(store, B)


class TooLate(ScriptedReader):
    """Answers from a task of its own, after the store has given up."""

    async def read(self, places: Any, report: Any) -> None:
        if not self.reads:
            self._clock.call_at(self._clock.now() + 6, lambda: report(A, Found(Work(5), SCRIPT)))
        await super().read(places, report)


async def test_what_is_reported_after_the_deadline_does_not_count(clock: ManualClock, open_store: OpenStore) -> None:
    reader = TooLate(clock)
    reader.answers["a"] = HANG
    store = open_store(reader)
    store.lease("me", A, 30, math.inf)
    await clock.advance(6)
    status = store.status(A)
    assert status is not None
    assert (status.age, status.failures) == (None, 1)


class Raising(ScriptedReader):
    """Raises one fault for all that it has not reported."""

    async def read(self, places: Any, report: Any) -> None:
        if A in places:
            report(A, Found(Work(1), SCRIPT))
        try:
            {}["hunter2"]
        except KeyError:
            raise Refused("no login")  # noqa: B904 - as a careless reader would


async def test_a_fault_that_is_raised_counts_for_what_was_not_reported(
    clock: ManualClock, open_store: OpenStore, ask: Ask
) -> None:
    store = open_store(Raising(clock))
    task = ask(store, A)
    other = ask(store, B)
    await clock.advance(0)
    assert (await task)[A].value == Work(1)
    with pytest.raises(Refused, match="no login"):
        await other
    status = store.status(B)
    assert status is not None
    assert status.fault is not None
    assert (status.fault.__traceback__, status.fault.__context__) == (None, None), "frames hold what was read"


# The rate of a backend


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


# Hints


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


# Backends that tell everything in one go


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


async def test_a_pause_is_a_pause(clock: ManualClock, open_store: OpenStore) -> None:
    """What has failed is not read along before its time, however often its siblings are read."""
    reader = TogetherReader(clock)
    store = open_store(reader)
    reader.answers["b"] = DOWN
    store.lease("me", A, 0.1, math.inf)
    store.lease("me", B, 60, math.inf)
    await clock.advance(120)
    assert reader.count("b") <= 9, "after 0.5, 1, 2, 4, 8, 16, 30, 30 s"
    assert reader.count("a") > 1_000
    reader.answers["b"] = Work(1)
    await clock.advance(31)
    assert store.newest(B, 60, 60).value == Work(1)


@pytest.mark.parametrize("kind", [ScriptedReader, TogetherReader])
async def test_a_backend_that_fails_for_many_is_asked_for_few(
    clock: ManualClock, open_store: OpenStore, kind: type[ScriptedReader]
) -> None:
    reader = kind(clock)
    store = open_store(reader)
    for number in range(300):
        reader.answers[f"s{number}"] = DOWN
        store.lease("me", Spot(f"s{number}"), 1, math.inf)
    await clock.advance(10)
    reader.reads.clear()
    await clock.advance(60)
    assert sum(len(names) for _, names in reader.reads) <= 60 * RETRIES_PER_SECOND + RETRY_BURST
    reader.answers.clear()
    await clock.advance(3)
    assert all(status.fault is None for status in store.statuses()), "a backend that is back is back for all"


class Careless(ScriptedReader):
    """Breaks each rule of a reader in turn, by the name of the place."""

    async def read(self, places: Any, report: Any) -> None:
        self.reads.append((self._clock.now(), tuple(place.name for place in places)))
        for place in places:
            match self.answers.get(place.name):
                case "no proof":
                    report(place, Work(0))
                case "none":
                    report(place, None)
                case "incomparable":
                    report(place, Found(Incomparable(), SCRIPT))
                case "silent":
                    pass
                case "two arguments":
                    report(place, BusyFault("the API server", 429))
                case "raises":
                    raise BusyFault("the API server", 429)
                case "cancels":
                    raise asyncio.CancelledError
                case answer:
                    report(place, Found(answer, SCRIPT))


class BusyFault(Unavailable):
    def __init__(self, server: str, status: int) -> None:
        super().__init__(f"{server} said {status}")
        self.status = status


class Incomparable:
    __hash__ = None  # type: ignore[assignment]  # which is the point

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError


@pytest.mark.parametrize("what", ["no proof", "none", "incomparable", "silent", "two arguments", "raises", "cancels"])
@pytest.mark.parametrize("callback", [True, False])
async def test_whatever_a_reader_does_is_a_fault_and_the_place_is_read_again(
    clock: ManualClock, open_store: OpenStore, *, what: str, callback: bool
) -> None:
    reader = Careless(clock)
    store = open_store(reader)
    if callback:  # what others do with the news stops nothing either
        store.follow(lambda *_: {}["a defect"])
        store.observe(lambda *_: {}["a defect"])
    reader.answers["a"] = Work(3)
    store.lease("me", A, 1, math.inf)
    await clock.advance(2)
    assert store.newest(A, 1, 60).value == Work(3)
    reader.answers["a"] = what
    await clock.advance(3)
    (status,) = store.statuses()
    assert status.fault is not None
    assert store.newest(A, 1, 60).value == Work(3), "the reading before it counts until it is stale"
    for _ in range(3):
        reads = len(reader.reads)
        await clock.advance(2)
        assert len(reader.reads) > reads
    reader.answers["a"] = Work(5)
    await clock.advance(3)
    assert store.newest(A, 1, 60).value == Work(5)


async def test_places_without_a_date_are_found_and_read_again(clock: ManualClock, open_store: OpenStore) -> None:
    reader = ScriptedReader(clock)
    store = open_store(reader)
    for place in (A, B):
        store.lease("me", place, 1, math.inf)
    await clock.advance(1)
    store._schedule.due_times.clear()
    await clock.advance(5)
    assert [place for place, _ in store.overdue()] == [A, B], "by more than three intervals"
    await clock.advance(5.9)
    store.revive()
    await clock.advance(0.2)
    assert (reader.count("a"), reader.count("b")) == (2, 2), "after 9.9 s they may only be slow"
    with capture_logs() as logs:
        store.revive()
    assert [(entry["event"], entry["place"]) for entry in logs] == [
        ("a place was not read in time, and is read again", str(place)) for place in (A, B)
    ]
    await clock.advance(0.1)
    assert (reader.count("a"), reader.count("b")) == (3, 3)
    await clock.advance(3)
    assert not list(store.overdue())


async def test_what_its_rate_holds_back_is_not_lost(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore
) -> None:
    store = open_store(reader, limits={"scripted": 0.02})
    for place in (A, B):
        store.lease("me", place, 100, math.inf)
    await clock.advance(40)
    with capture_logs() as logs:
        store.revive()
        await clock.advance(1)
    assert (reader.count("a"), reader.count("b"), logs) == (1, 0, [])
    await clock.advance(10)
    assert reader.count("b") == 1


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
