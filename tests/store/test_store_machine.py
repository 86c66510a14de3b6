"""The store under any sequence of leases, answers, faults and hints: what must hold whatever happens."""

import asyncio
import itertools
import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scaler.core.domain import Place, Reading
from scaler.core.errors import Fault, Refused, Throttled, Unavailable
from scaler.demo.asked_store import AskedStore
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import HANG, ScriptedReader, Slow, Spot, TogetherReader, Work

NAMES = "abcd"
SPOTS = st.sampled_from([Spot(name, "one" if name < "d" else "two") for name in NAMES])
INTERVALS = st.sampled_from([1.0, 3.0, 10.0])
STALE = st.sampled_from([10.0, 60.0])
WAIT_SECONDS = 1.9
FAULTS = st.sampled_from([Unavailable("down"), Refused("no"), Throttled("slower"), HANG, ValueError("a defect")])


class StoreMachine(RuleBasedStateMachine):
    """Every value that a backend ever has is unique, so an answer tells when it was true."""

    reader_class: type[ScriptedReader] = ScriptedReader

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.reader = self.reader_class(self.clock)
        self.store = AskedStore([self.reader], self.clock, limits={"scripted": 4}, dice=lambda: 0.5)
        self.numbers = itertools.count(1)
        self.values: dict[str, list[tuple[float, float]]] = {}  # since when each spot has which value
        self.asked: dict[asyncio.Task[dict[Place, Reading]], tuple[Spot, float, float]] = {}
        self.repair()

    def repair(self) -> None:
        for name in NAMES:
            self.reader.answers[name] = Work(self.change(name))

    def change(self, name: str) -> float:
        number = next(self.numbers)
        self.values.setdefault(name, []).append((self.clock.now(), number))
        return number

    def run(self, seconds: float) -> None:
        self.runner.run(self.clock.advance(seconds))
        self.check_answers()

    def check_answers(self) -> None:
        for task, (spot, stale, began) in list(self.asked.items()):
            waited = self.clock.now() - began
            if not task.done():
                assert waited <= WAIT_SECONDS, "a caller waits longer than it said"
                continue
            del self.asked[task]
            if task.cancelled():
                continue
            error = task.exception()
            if error is not None:
                assert isinstance(error, Fault), error
                continue
            reading = task.result()[spot]
            assert reading.at >= began - stale, "a reading older than staleSeconds was served"
            since = [(at, number) for at, number in self.values[spot.name] if number == reading.value.value]
            assert since, "a value that the backend never had"
            until = min((at for at, _ in self.values[spot.name] if at > since[0][0]), default=math.inf)
            assert since[0][0] <= reading.at <= until, "the value is older than the reading says"

    @rule(spot=SPOTS, how=st.sampled_from([0, 0.3, 4.0]))
    def answers(self, spot: Spot, how: float) -> None:
        work = Work(self.change(spot.name))
        self.reader.answers[spot.name] = Slow(how, work) if how else work

    @rule(spot=SPOTS, fault=FAULTS)
    def fails(self, spot: Spot, fault: Any) -> None:
        self.reader.answers[spot.name] = fault

    @rule(spot=SPOTS, interval=INTERVALS, stale=STALE, lessee=st.integers(0, 3), last=st.sampled_from([5, 40]))
    def ask(self, spot: Spot, interval: float, stale: float, lessee: int, last: float) -> None:
        async def asking() -> asyncio.Task[dict[Place, Reading]]:
            self.store.lease(lessee, spot, interval, self.clock.now() + last, f"namespace {lessee % 2}")
            return asyncio.create_task(self.store.read([spot], interval, stale, WAIT_SECONDS))

        self.asked[self.runner.run(asking())] = (spot, stale, self.clock.now())
        self.run(0)

    @rule(spot=SPOTS)
    def is_hinted(self, spot: Spot) -> None:
        async def hinting() -> None:
            self.reader.hint(spot)

        self.runner.run(hinting())

    @rule(spot=SPOTS, lessee=st.integers(0, 3))
    def leaves(self, spot: Spot, lessee: int) -> None:
        self.store.release(lessee, spot)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def cancels(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(list(self.asked))).cancel()
        self.run(0)

    @rule(seconds=st.sampled_from([0.01, 0.4, 1.0, 3.0, 12.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(seconds)

    @rule()
    def long_after(self) -> None:
        """Recovery: whatever happened, a backend that is well is read within its interval."""
        self.repair()
        self.run(20)
        for status in self.store.statuses():
            assert status.fault is None
            assert status.age is not None
            assert status.interval is None or status.age <= status.interval + 1
            assert self.store.state(status.place).reading.value == self.reader.answers[status.place.name]

    @invariant()
    def no_place_is_read_twice_at_once(self) -> None:
        assert self.reader.most_at_once <= 1

    @invariant()
    def books_are_right(self) -> None:
        inside = self.store._schedule
        assert sum(len(members) for members in inside.members.values()) == len(inside.states)
        assert inside.members.keys() == inside.rate_limits.keys() or not all(inside.members.values())
        for backend, turns in inside.queues.items():
            assert turns
            assert all(entry.started is None and entry.place in inside.members[backend] for entry in turns)
        for rate_limit in inside.rate_limits.values():
            assert 0 <= rate_limit.in_flight <= rate_limit.max_in_flight
        waiters = sum(len(entry.waiters) for entry in inside.states.values())
        assert waiters == sum(not task.done() for task in self.asked)

    def teardown(self) -> None:
        for task in self.asked:
            task.cancel()
        self.asked.clear()
        self.runner.run(self.clock.advance(300))
        inside = self.store._schedule
        assert not any(
            (inside.states, inside.rate_limits, inside.queues, inside.members, inside.due_times._heap, inside._tasks)
        )
        assert self.clock.pending == 0
        self.runner.run(self.store.close())
        self.runner.close()


class TogetherMachine(StoreMachine):
    reader_class = TogetherReader


QUICK = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestStore = StoreMachine.TestCase
TestStore.settings = QUICK
TestTogether = TogetherMachine.TestCase
TestTogether.settings = QUICK
