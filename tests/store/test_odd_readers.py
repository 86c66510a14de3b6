"""Readers that do something else than they should: a fault of the place, which is read again."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from scaler.core.domain import Found
from scaler.core.errors import Refused, Unavailable
from scaler.demo.asked_store import AskedStore
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import HANG, SCRIPT, ScriptedReader, Spot, Work

A, B = Spot("a"), Spot("b")
DOWN = Unavailable("down")
OpenStore, Ask, Value = (Callable[..., Any],) * 3


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
