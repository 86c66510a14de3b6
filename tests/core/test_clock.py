import asyncio
import contextlib
import time

import pytest

from scaler.core.clock import SystemClock, deadline, sleep
from scaler.demo.clock import ManualClock, settle


async def test_the_machines_clock_tells_its_time_and_calls_back() -> None:
    clock, called = SystemClock(), asyncio.Event()
    assert time.monotonic() - clock.now() < 1
    assert abs(time.time() - clock.wall()) < 1
    began = clock.now()
    clock.call_at(began + 0.01, called.set)
    clock.call_at(began + 0.01, pytest.fail).cancel()
    async with asyncio.timeout(5):
        await called.wait()
    assert clock.now() - began >= 0.009  # the loop rounds to milliseconds


async def test_what_is_overdue_is_called_at_once() -> None:
    clock, called = SystemClock(), asyncio.Event()
    clock.call_at(clock.now() - 100, called.set)
    async with asyncio.timeout(5):
        await called.wait()


async def test_sleep_lasts_as_long_as_it_says(clock: ManualClock) -> None:
    task = asyncio.create_task(sleep(clock, 10))
    await clock.advance(9.99)
    assert not task.done()
    await clock.advance(0.01)
    assert task.done()
    assert clock.pending == 0


async def test_a_cancelled_sleep_leaves_no_alarm(clock: ManualClock) -> None:
    task = asyncio.create_task(sleep(clock, 10))
    await settle()
    assert clock.pending == 1
    task.cancel()
    await settle()
    assert task.cancelled()
    assert clock.pending == 0


async def test_a_deadline_ends_what_takes_longer(clock: ManualClock) -> None:
    async def slow() -> str:
        try:
            with deadline(clock, 5):
                await asyncio.Event().wait()
        except TimeoutError:
            await asyncio.sleep(0)  # the task is not left half cancelled
            return "too late"
        return "done"

    task = asyncio.create_task(slow())
    await clock.advance(4.9)
    assert not task.done()
    await clock.advance(0.1)
    assert await task == "too late"
    assert task.cancelling() == 0


async def test_a_deadline_leaves_what_is_quick_alone(clock: ManualClock) -> None:
    with deadline(clock, 5):
        await asyncio.sleep(0)
    assert clock.pending == 0


@pytest.mark.parametrize("late", [False, True], ids=["in time", "in the moment that it is late"])
async def test_a_block_cancelled_from_outside_is_cancelled(clock: ManualClock, *, late: bool) -> None:
    async def block() -> None:
        with deadline(clock, 5):
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await settle()
    if late:
        clock._alarms[0].callback()
    task.cancel()
    await settle()
    assert task.cancelled()
    assert clock.pending == 0


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(None, id="comes to its end all the same"),
        pytest.param(ValueError("mine"), id="ends with an error of its own"),
    ],
)
async def test_a_block_that_withstands_its_deadline_can_still_be_cancelled(
    clock: ManualClock, ending: Exception | None
) -> None:
    async def block() -> None:
        with deadline(clock, 5):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if ending is not None:
                    raise ending from None

    async def outer() -> int:
        with contextlib.suppress(ValueError):
            await block()
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    task = asyncio.create_task(outer())
    await clock.advance(5)
    assert await task == 0


async def test_a_deadline_works_while_its_task_is_being_cancelled(clock: ManualClock) -> None:
    late = []

    async def tidy_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                with deadline(clock, 5):
                    await asyncio.Event().wait()
            except TimeoutError:
                late.append(clock.now())

    task = asyncio.create_task(tidy_up())
    await settle()
    task.cancel()
    await clock.advance(5)
    assert late == [clock.now()]
    assert task.cancelled()


async def test_an_inner_deadline_does_not_end_the_outer_block(clock: ManualClock) -> None:
    async def nested() -> list[str]:
        late = []
        try:
            with deadline(clock, 10):
                try:
                    with deadline(clock, 5):
                        await asyncio.Event().wait()
                except TimeoutError:
                    late.append("inner")
                await asyncio.Event().wait()
        except TimeoutError:
            late.append("outer")
        return late

    task = asyncio.create_task(nested())
    await clock.advance(5)
    assert not task.done()
    await clock.advance(5)
    assert await task == ["inner", "outer"]


def test_a_deadline_needs_a_task(clock: ManualClock) -> None:
    with pytest.raises(RuntimeError), deadline(clock, 1):
        pass
