import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.core.budget import Budget
from scaler.core.errors import Unavailable
from scaler.core.tenant import TENANT
from scaler.demo.clock import ManualClock


class Reads:
    """Reads that begin and end when the test says so."""

    def __init__(self, limit: int) -> None:
        self.budget = Budget(limit)
        self.under_way: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, name: str, amount: int) -> None:
        """Begin a read; the first letter of its name is the tenant."""
        self._ends[name] = asyncio.Event()

        async def read() -> None:
            TENANT.set(name[0])
            async with self.budget.hold(amount):
                self.under_way.append(name)
                try:
                    await self._ends[name].wait()
                finally:
                    self.under_way.remove(name)

        self._tasks[name] = asyncio.create_task(read())
        await settle()

    async def end(self, name: str, *, cancel: bool = False) -> None:
        if cancel:
            self._tasks[name].cancel()
        self._ends[name].set()
        await asyncio.wait([self._tasks[name]])
        await settle()

    async def close(self) -> None:
        for end in self._ends.values():
            end.set()
        await asyncio.wait(self._tasks.values())
        assert (self.budget.total, self.budget._used, self.budget._waiting) == (0, {}, {})


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def test_a_tenant_holds_no_more_than_it_leaves_free() -> None:
    reads = Reads(60)
    for name in ("a1", "a2", "a3", "a4"):
        await reads.begin(name, 10)
    assert reads.under_way == ["a1", "a2", "a3"]  # half of it
    await reads.begin("b1", 10)
    await reads.begin("b2", 10)
    assert reads.under_way[3:] == ["b1"]  # a half of the rest, rounded down
    await reads.begin("c1", 10)
    assert reads.under_way[4:] == ["c1"]  # and there is still room for the next
    await reads.close()


async def test_who_waits_takes_turns_with_other_tenants_and_keeps_the_order_of_its_own() -> None:
    reads = Reads(40)
    await reads.begin("a1", 20)
    for name in ("a2", "a3", "b1", "b2"):
        await reads.begin(name, 20)
    assert reads.under_way == ["a1"]
    order = []
    for _ in range(4):
        (running,) = reads.under_way
        await reads.end(running)
        order += reads.under_way
    assert order == ["a2", "b1", "a3", "b2"]
    await reads.close()


async def test_a_newcomer_does_not_go_past_its_own_tenant() -> None:
    reads = Reads(40)
    await reads.begin("a1", 12)
    await reads.begin("a2", 20)
    await reads.begin("a3", 1)
    assert reads.under_way == ["a1"]
    await reads.end("a2", cancel=True)
    assert reads.under_way == ["a1", "a3"]
    await reads.close()


async def test_who_is_cancelled_at_the_moment_of_its_turn_gives_it_on() -> None:
    reads = Reads(20)
    token = TENANT.set("a")
    first = reads.budget.held()
    TENANT.reset(token)
    first.resize(10)
    for name in ("a2", "a3"):
        await reads.begin(name, 10)
    first.resize(0)  # a2 has its turn, and has not run yet
    await reads.end("a2", cancel=True)
    assert reads.under_way == ["a3"]
    await reads.close()


async def test_who_is_cancelled_and_has_not_run_yet_takes_no_turn() -> None:
    reads = Reads(20)
    for name in ("a1", "a2", "a3"):
        await reads.begin(name, 10)
    reads._ends["a1"].set()
    for name in ("a1", "a2"):
        reads._tasks[name].cancel()
    await settle()
    assert reads.under_way == ["a3"]
    await reads.close()


async def test_who_finds_no_room_in_time_is_told_whose_share_is_full(clock: ManualClock) -> None:
    budget = Budget(20)
    TENANT.set("shop")
    async with budget.hold(10):

        async def wait() -> None:
            async with budget.turn(10, clock, 4, "a page"):
                raise AssertionError

        waiting = asyncio.create_task(wait())
        await settle()
        await clock.advance(4)
        with pytest.raises(Unavailable, match=r"a page: no room for it within 4 s: .* namespace shop, which holds 10"):
            await waiting
    async with budget.turn(10, clock, 4, "a page") as held:
        assert held.amount == 10
    assert (budget.total, budget._used, budget._waiting) == (0, {}, {})


async def test_more_than_can_ever_fit_is_a_fault_at_once() -> None:
    budget = Budget(100, "bytes of pages")
    TENANT.set("shop")
    with pytest.raises(Unavailable, match=r"51 more for namespace shop.* share of 100 bytes of pages"):
        async with budget.hold(51):
            raise AssertionError


async def test_held_bytes_are_resized_without_waiting() -> None:
    budget = Budget(100)
    async with budget.hold(40) as held:
        held.resize(10)
        assert budget.total == 10
        held.resize(50)
        with pytest.raises(Unavailable):
            held.resize(51)
        assert (held.amount, budget.total) == (50, 50)
    assert budget.total == 0
    kept = budget.held()
    kept.resize(50)
    assert budget.total == 50
    kept.resize(0)
    assert (budget.total, budget._used) == (0, {})


Amounts = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 50)), min_size=1, max_size=30)


@given(Amounts, st.data())
def test_the_limit_holds_everybody_gets_in_and_nothing_is_left_over(
    wanted: list[tuple[str, int]], data: st.DataObject
) -> None:
    async def play() -> None:
        async with AsyncExitStack() as stack:
            reads = Reads(100)
            stack.push_async_callback(reads.close)
            amounts: dict[str, int] = {}
            for number, (tenant, amount) in enumerate(wanted):
                name = f"{tenant}{number}"
                amounts[name] = amount
                await reads.begin(name, amount)
            seen: set[str] = set()
            while len(seen) < len(wanted):
                assert reads.under_way, "somebody waits, and nobody reads"
                assert sum(amounts[name] for name in reads.under_way) == reads.budget.total <= 100
                seen.update(reads.under_way)
                await reads.end(data.draw(st.sampled_from(reads.under_way)))

    asyncio.run(play())
