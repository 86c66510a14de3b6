"""Long work takes turns on the event loop: one turn at a time, tenants in rotation, others in between."""

import asyncio
import time
from contextvars import copy_context

import pytest

from scaler.core import turns
from scaler.core.tenant import TENANT
from scaler.core.turns import TURN_SECONDS, rest


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A processor clock that goes on only when work is done."""
    now = [1_000.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "thread_time", lambda: now[0])
    return now


async def work(
    name: str, pieces: int, done: list[str], clock: list[float], each: float = 2 * TURN_SECONDS, *, waits: bool = False
) -> None:
    """Do `pieces` that take `each` seconds; with `waits` it waits for something else after each."""
    for _ in range(pieces):
        await rest()
        done.append(name)
        clock[0] += each
        if waits:
            await asyncio.sleep(0)


def of_tenant(tenant: str, name: str, pieces: int, done: list[str], clock: list[float]) -> asyncio.Task[None]:
    context = copy_context()
    context.run(TENANT.set, tenant)
    return asyncio.get_running_loop().create_task(work(name, pieces, done, clock), context=context)


async def test_tenants_take_turns_however_much_one_of_them_has_to_do(clock: list[float]) -> None:
    done: list[str] = []
    greedy = [of_tenant("greedy", f"g{number}", 20, done, clock) for number in range(10)]
    await of_tenant("modest", "m", 3, done, clock)
    assert done.count("m") == 3
    assert len(done) <= 8  # one of the other's before each, and what had begun
    await asyncio.gather(*greedy)
    assert len(done) == 203


async def test_long_work_that_comes_later_has_its_turn(clock: list[float]) -> None:
    done: list[str] = []
    for name in "abc":
        async with asyncio.timeout(5):
            await work(name, 2, done, clock)
        for _ in range(5):  # until nothing is left to be done
            await asyncio.sleep(0)
    assert "".join(done) == "aabbcc"


async def test_a_turn_is_as_many_small_pieces_as_fit(clock: list[float]) -> None:
    done: list[str] = []
    each = TURN_SECONDS / 4
    await asyncio.gather(*(work(name, 8, done, clock, each) for name in "ab"))
    assert "".join(done) == "aaaabbbb" * 2


async def test_whoever_waits_for_something_else_has_ended_his_turn(clock: list[float]) -> None:
    done: list[str] = []

    async def waits() -> None:
        await rest()
        await asyncio.sleep(0)
        await rest()
        done.append("waited")

    await asyncio.gather(waits(), work("other", 1, done, clock))
    assert done == ["other", "waited"]


async def test_others_run_between_two_turns(clock: list[float]) -> None:
    rounds = [0]

    async def other() -> None:
        while True:
            rounds[0] += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    done: list[str] = []
    await work("long", 50, done, clock)
    beside.cancel()
    assert rounds[0] >= 50


@pytest.mark.parametrize(
    ("each", "pause"),
    [
        (2 * TURN_SECONDS, turns.PAUSE * 2 * TURN_SECONDS),
        (TURN_SECONDS / 10, turns.LEAST_PAUSE_SECONDS),
        (20 * TURN_SECONDS, turns.LONGEST_PAUSE_SECONDS),
    ],
)
async def test_turns_come_with_pauses_while_others_are_busy(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, each: float, pause: float
) -> None:
    loop = asyncio.get_running_loop()
    pauses: list[float] = []
    later = loop.call_later

    def call_later(seconds: float, callback: object, *arguments: object) -> object:
        pauses.append(seconds)
        return later(0, callback, *arguments)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(loop, "call_later", call_later)
    done: list[str] = []
    await work("long", 10, done, clock)
    assert pauses == []  # alone, it has all of the loop

    async def busy() -> None:
        while True:
            clock[0] += 2 * turns.IDLE_SECONDS
            await asyncio.sleep(0)

    beside = asyncio.create_task(busy())
    await work("long", 10, done, clock, each, waits=True)
    beside.cancel()
    assert len(pauses) >= 9
    assert pauses[1:] == pytest.approx([pause] * (len(pauses) - 1))  # the first is after the work before


async def test_one_that_is_cancelled_keeps_nobody_waiting(clock: list[float]) -> None:
    done: list[str] = []
    tasks = [of_tenant("one", f"{number}", 1, done, clock) for number in range(5)]
    await asyncio.sleep(0)
    for task in tasks[:4]:
        task.cancel()
    await tasks[4]
    assert done == ["4"]


async def test_one_that_is_cancelled_as_its_turn_comes_keeps_nobody_waiting(clock: list[float]) -> None:
    done: list[str] = []
    first, second = (of_tenant(tenant, tenant, 1, done, clock) for tenant in "ab")
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(first.cancel)  # after it was given the turn, and before it runs
    async with asyncio.timeout(5):
        await second
    assert done == ["b"]


async def test_all_tenants_have_a_turn_before_one_has_the_next(clock: list[float]) -> None:
    done: list[str] = []
    await asyncio.gather(*(of_tenant(tenant, tenant, 4, done, clock) for tenant in "abcd"))
    assert "".join(done) == "abcd" * 4
