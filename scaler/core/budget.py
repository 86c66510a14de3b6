"""A budget of memory for concurrent reads that no tenant (a namespace) can use up alone."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from scaler.core.clock import Clock, deadline
from scaler.core.errors import Unavailable
from scaler.core.tenant import TENANT


class Held:
    """Bytes of a `Budget` that a tenant holds; its owner must end it with `resize(0)`."""

    __slots__ = ("_budget", "amount", "tenant")

    def __init__(self, budget: "Budget", tenant: str) -> None:
        self._budget, self.tenant, self.amount = budget, tenant, 0

    def resize(self, amount: int) -> None:
        """Hold `amount` bytes from now on; raises `Unavailable`, and changes nothing, if there is no room for them."""
        more = amount - self.amount
        if more > 0 and not self._budget.fits(self.tenant, more):
            raise Unavailable(self._budget.refusal(self.tenant, more))
        self._budget.change(self.tenant, more)
        self.amount = amount


class Budget:
    """Counts bytes in use, in total and for each tenant (`TENANT`), and makes a tenant without room wait.

    A tenant may hold at most as much as remains free: one alone gets half of the limit, two get a third each, and there
    is always room for the next one (dynamic thresholds, Choudhury and Hahne 1998). Waiting tenants take turns, each in
    the order of its own requests. A small request may overtake a large one of another tenant that does not fit yet, so
    requests should be small compared with the limit.
    """

    def __init__(self, limit: int, name: str = "bytes under way") -> None:
        """Allow `limit` bytes in total; `name` names them in messages."""
        self.limit, self._name = limit, name
        self.total = 0
        self._used: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}  # in the order of the turns

    @asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[Held]:
        """Wait for room, and hold `amount` bytes for the current tenant in the block, where they may be resized.

        Waits without a deadline of its own. Raises `Unavailable` for more than a tenant can ever hold.
        """
        held = Held(self, TENANT.get())
        await self._room(held.tenant, amount)
        held.amount = amount
        try:
            yield held
        finally:
            held.resize(0)

    @asynccontextmanager
    async def turn(self, amount: int, clock: Clock, seconds: float, where: str) -> AsyncIterator[Held]:
        """Hold `amount` bytes in the block, or raise `Unavailable` for `where` if there is no room within `seconds`."""
        async with AsyncExitStack() as stack:
            try:
                with deadline(clock, seconds):
                    held = await stack.enter_async_context(self.hold(amount))
            except TimeoutError:
                reason = self.refusal(TENANT.get(), amount)
                raise Unavailable(f"{where}: no room for it within {seconds:g} s: {reason}") from None
            yield held

    def held(self) -> Held:
        """Return a `Held` of 0 bytes for the current tenant, to `resize` without waiting."""
        return Held(self, TENANT.get())

    def fits(self, tenant: str, amount: int) -> bool:
        """Tell whether `tenant` may hold `amount` bytes more now."""
        return self._used.get(tenant, 0) + amount <= self.limit - self.total - amount

    def refusal(self, tenant: str, amount: int) -> str:
        """Return the message for `tenant` if `amount` bytes do not fit."""
        used = self._used.get(tenant, 0)
        whose = f"namespace {tenant}" if tenant else "this read"
        return (
            f"{amount} more for {whose}, which holds {used}, are over its share of {self.limit} {self._name}: "
            "read fewer or smaller things at once"
        )

    def change(self, tenant: str, amount: int) -> None:
        """Count `amount` more bytes for `tenant`, fewer if it is negative; freed room goes to those that wait."""
        self.total += amount
        self._used[tenant] = self._used.get(tenant, 0) + amount
        if not self._used[tenant]:
            del self._used[tenant]
        if amount < 0:
            self._let_in()

    async def _room(self, tenant: str, amount: int) -> None:
        """Wait until `amount` bytes are counted for `tenant`."""
        if 2 * amount > self.limit:
            raise Unavailable(self.refusal(tenant, amount))
        if tenant not in self._waiting and self.fits(tenant, amount):
            self.change(tenant, amount)
            return
        turn = amount, asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            await turn[1]
        except asyncio.CancelledError:
            if turn[1].cancelled():
                self._let_in()  # requests behind it may fit now
            else:  # it was let in while it was being cancelled
                self.change(tenant, -amount)
            raise

    def _let_in(self) -> None:
        """Let in all requests that fit, one of each tenant at a time, and drop those that were cancelled."""
        before = -1
        while before != self.total:
            before = self.total
            stay, behind = {}, {}
            for tenant, queue in self._waiting.items():
                while queue and queue[0][1].cancelled():
                    queue.popleft()
                if queue and self.fits(tenant, queue[0][0]):
                    amount, turn = queue.popleft()
                    self.change(tenant, amount)
                    turn.set_result(None)
                    behind[tenant] = queue
                else:
                    stay[tenant] = queue
            self._waiting = {tenant: queue for tenant, queue in {**stay, **behind}.items() if queue}
