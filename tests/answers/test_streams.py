import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from scaler.answers.streams import OpenStream, Streams, repeat
from scaler.core.errors import LimitError
from scaler.core.quota import Quota
from scaler.demo.clock import ManualClock, settle

HOUR = 3_600.0


class Stream:
    """What one open stream sends, and when, in seconds since it was opened."""

    def __init__(self, clock: ManualClock, *, active: bool, life_seconds: float = HOUR, dice: float = 0.0) -> None:
        self.active = active
        self.sent: list[float] = []
        self.opened = OpenStream(clock, life_seconds, dice=lambda: dice)
        self._clock, self._began = clock, clock.now()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async def tell() -> None:
            self.sent.append(self._clock.now() - self._began)

        with self.opened:
            await repeat(self.opened, lambda: self.active, tell)

    def turn(self, *, active: bool) -> None:
        self.active = active
        self.opened.wake()


async def test_true_is_sent_at_once_and_repeated_in_growing_pauses(clock: ManualClock) -> None:
    stream = Stream(clock, active=True)
    await clock.advance(310)
    pauses = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert stream.sent == list(itertools.accumulate(pauses, initial=0))
    stream.opened.end()
    await settle()
    assert stream.task.done()
    assert clock.pending == 0


async def test_pauses_differ_a_little_so_that_a_fleet_does_not_speak_at_once(clock: ManualClock) -> None:
    streams = [Stream(clock, active=True, dice=number / 100) for number in range(101)]
    await clock.advance(70)
    times = [stream.sent[6] for stream in streams]
    assert (min(times), max(times)) == (pytest.approx(0.9 * 63), 63)
    assert len(set(times)) == 101
    for stream in streams:
        stream.opened.end()
    await settle()


async def test_nothing_is_sent_while_inactive(clock: ManualClock) -> None:
    stream = Stream(clock, active=False)
    await clock.advance(HOUR / 2)
    assert clock.pending == 1, "only its end"
    stream.opened.wake()
    await clock.advance(HOUR / 2 - 1)
    assert stream.sent == []
    await clock.advance(1)
    assert stream.task.done()


async def test_every_change_to_active_is_sent_at_once(clock: ManualClock) -> None:
    stream = Stream(clock, active=False)
    await clock.advance(5)
    stream.turn(active=True)
    await clock.advance(4)
    stream.turn(active=False)
    await clock.advance(100)
    stream.turn(active=True)
    await clock.advance(2)
    assert stream.sent == [5, 6, 8, 109, 110]
    stream.opened.end()
    await settle()


async def test_a_change_to_inactive_and_back_within_one_step_begins_anew(clock: ManualClock) -> None:
    stream = Stream(clock, active=True)
    await clock.advance(20)
    stream.turn(active=False)
    stream.turn(active=True)
    await clock.advance(1)
    assert stream.sent == [0, 1, 3, 7, 15, 20, 21]
    stream.opened.end()
    await settle()


async def test_what_woke_it_before_it_looked_is_not_told_twice(clock: ManualClock) -> None:
    """The first reading wakes the stream that waited for it, and judging at a repeat may wake it, too."""
    stream = Stream(clock, active=True)
    stream.opened.wake()
    await clock.advance(0.5)
    assert stream.sent == [0]
    stream.opened.end()
    await settle()


async def test_what_happens_while_a_message_is_on_its_way_is_not_lost(clock: ManualClock) -> None:
    active, on_its_way, told = True, asyncio.Event(), 0

    async def tell() -> None:
        nonlocal told
        told += 1
        await on_its_way.wait()
        on_its_way.clear()

    with OpenStream(clock, HOUR, dice=lambda: 0.0) as opened:
        task = asyncio.create_task(repeat(opened, lambda: active, tell))
        await settle()
        opened.wake()  # inactive and active again
        on_its_way.set()
        await settle()
        assert told == 2, "at once"
        active = False
        opened.wake()
        on_its_way.set()
        await clock.advance(10)
        assert told == 2, "there is nothing to repeat"
        active = True
        opened.wake()
        await settle()
        assert told == 3
        opened.end()
        on_its_way.set()
        await settle()
        assert task.done()
    assert clock.pending == 0


async def test_a_life_that_has_ended_sends_nothing_more(clock: ManualClock) -> None:
    stream = Stream(clock, active=True)
    stream.opened.end()
    await settle()
    assert stream.task.done()
    assert stream.sent == []


async def test_a_life_ends_by_itself(clock: ManualClock) -> None:
    stream = Stream(clock, active=True, life_seconds=10)
    await clock.advance(9.9)
    assert not stream.task.done()
    await clock.advance(0.1)
    assert stream.task.done()
    assert stream.sent == [0, 1, 3, 7]
    assert clock.pending == 0


async def test_a_cancelled_stream_leaves_no_alarm(clock: ManualClock) -> None:
    stream = Stream(clock, active=True)
    await clock.advance(5)
    stream.task.cancel()
    await settle()
    assert clock.pending == 0


# All streams of the process


def streams(clock: ManualClock, limit: int = 100, dice: float = 0.0) -> Streams:
    return Streams(clock, Quota(limit, "limits.maxStreams"), 600, lambda: dice)


async def _hold(some: Streams, namespace: str = "shop") -> AsyncIterator[OpenStream]:
    with some.open(namespace) as opened:
        yield opened
        while not opened.ended:
            await opened.wait(None)


async def _open(some: Streams, namespace: str = "shop") -> "asyncio.Task[None]":
    async def run() -> None:
        async for _ in _hold(some, namespace):
            pass

    task = asyncio.create_task(run())
    await settle()
    return task


@pytest.mark.parametrize(("dice", "seconds"), [(0.0, 600), (0.5, 450), (1.0, 300)])
async def test_streams_live_differently_long_so_that_a_fleet_returns_spread_out(
    clock: ManualClock, dice: float, seconds: float
) -> None:
    task = await _open(streams(clock, dice=dice))
    await clock.advance(seconds - 1)
    assert not task.done()
    await clock.advance(1)
    assert task.done()
    assert clock.pending == 0


async def test_a_drain_ends_all_streams_and_waits_for_them(clock: ManualClock) -> None:
    some = streams(clock)
    with some.open("shop"):
        pass  # one that has come and gone
    tasks = [await _open(some) for _ in range(5)]
    stuck = some.open("shop")
    stuck.__enter__()
    assert len(some) == 6
    drained = asyncio.create_task(some.drain())
    await settle()
    assert all(task.done() for task in tasks)
    assert not drained.done()
    stuck.__exit__(None, None, None)
    await settle()
    assert drained.done()
    assert len(some) == 0
    assert clock.pending == 0


async def test_a_drain_without_streams_is_done_at_once(clock: ManualClock) -> None:
    some = streams(clock)
    async with asyncio.timeout(5):
        await some.drain()
        await some.drain()


async def test_a_stream_that_comes_during_a_drain_ends_at_once(clock: ManualClock) -> None:
    some = streams(clock)
    await some.drain()
    assert (await _open(some)).done()
    assert len(some) == 0


async def test_streams_are_limited_fairly_and_a_refused_one_leaves_nothing(clock: ManualClock) -> None:
    some = streams(clock, limit=4)
    tasks = [await _open(some) for _ in range(2)]
    with pytest.raises(
        LimitError, match=r"namespace shop has reached its share, 2 of 4 \(setting limits\.maxStreams\)"
    ):
        await (await _open(some))
    other = await _open(some, "blog")
    assert len(some) == 3
    other.cancel()
    await settle()
    await _open(some, "blog")
    await some.drain()
    assert all(task.done() for task in (*tasks, other))
    assert some._quota.total == 0
    assert clock.pending == 0
