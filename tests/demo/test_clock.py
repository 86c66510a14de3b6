import asyncio

from hypothesis import given
from hypothesis import strategies as st

from scaler.core.clock import sleep
from scaler.demo.clock import ManualClock, settle


async def test_time_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(now=5, wall=1_000)
    await settle()
    assert (clock.now(), clock.wall()) == (5, 1_000)
    await clock.advance(2.5)
    assert (clock.now(), clock.wall()) == (7.5, 1_002.5)


@given(st.lists(st.floats(0, 100), max_size=20), st.floats(0, 100))
def test_alarms_ring_in_order_each_at_its_time(delays: list[float], seconds: float) -> None:
    clock = ManualClock(now=0)
    rung: list[tuple[float, float]] = []
    for delay in delays:
        clock.call_at(delay, lambda delay=delay: rung.append((delay, clock.now())))
    asyncio.run(clock.advance(seconds))
    assert rung == [(delay, delay) for delay in sorted(delays) if delay <= seconds]
    assert clock.pending == sum(delay > seconds for delay in delays)
    assert clock.now() == seconds


async def test_alarms_of_one_time_ring_in_the_order_of_setting() -> None:
    clock, rung = ManualClock(), list[int]()
    for number in range(5):
        clock.call_at(clock.now() + 1, lambda number=number: rung.append(number))
    await clock.advance(1)
    assert rung == [0, 1, 2, 3, 4]


async def test_a_cancelled_alarm_does_not_ring() -> None:
    clock, rung = ManualClock(), list[int]()
    alarm = clock.call_at(clock.now() + 1, lambda: rung.append(1))
    assert clock.pending == 1
    alarm.cancel()
    assert clock.pending == 0
    await clock.advance(2)
    assert rung == []


async def test_what_an_alarm_starts_happens_at_its_time() -> None:
    clock = ManualClock(now=0)
    seen: list[float] = []

    async def every_second() -> None:
        while True:
            await sleep(clock, 1)
            seen.append(clock.now())

    task = asyncio.create_task(every_second())
    await clock.advance(3.5)
    assert seen == [1, 2, 3]
    task.cancel()
    await settle()
    assert clock.pending == 0


async def test_an_alarm_of_the_past_rings_at_once_and_time_does_not_go_back() -> None:
    clock, rung = ManualClock(now=10), list[float]()
    clock.call_at(3, lambda: rung.append(clock.now()))
    clock.call_at(10, lambda: rung.append(clock.now()))
    clock.call_at(10, lambda: rung.append(0)).cancel()
    assert rung == []
    await settle()
    assert rung == [10, 10]


def test_without_a_loop_alarms_wait_for_the_next_move() -> None:
    clock, rung = ManualClock(now=10), list[float]()
    clock.call_at(10, lambda: rung.append(clock.now()))
    asyncio.run(clock.advance(0))
    assert rung == [10]
