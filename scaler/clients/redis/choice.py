"""Which of the servers behind one host name is meant: a name may lead to a master and its replicas, or to a newborn."""

import asyncio
from collections.abc import Sequence

from scaler.clients.redis.connection import RedisConnection, Target
from scaler.clients.redis.dialer import Dialer
from scaler.clients.redis.server import address
from scaler.core.clock import Clock
from scaler.core.errors import Fault, Unavailable


async def open_master(dialer: Dialer, clock: Clock, targets: Sequence[Target]) -> RedisConnection:
    """Return a connection to the master among `targets`, else to the first that is in step with one.

    Raises the `Fault` that hinders it, and `Unavailable` where several servers call themselves a master: a node that has
    just been made does so until it learns whose replica it is, and it is empty. Those that cannot be reached do not count.
    """
    made: list[RedisConnection] = []
    chosen = None
    try:
        faults = await asyncio.gather(*(_open(dialer, clock, target, made) for target in targets))
        there = sorted(made, key=lambda one: (one.role != "master", one.address))
        masters = {one.run_id: one for one in reversed(there) if one.role == "master"}
        if len(masters) > 1:
            shown = " and ".join(sorted(address(one.address, one.target.host[1]) for one in masters.values()))
            raise dialer.fault(Unavailable(f"its name leads to several servers that call themselves a master: {shown}"))
        if not there:
            raise next(filter(None, faults))
        chosen = there[0]
    finally:
        for one in made:
            if one is not chosen:
                one.close()
    return chosen


async def _open(dialer: Dialer, clock: Clock, target: Target, made: list[RedisConnection]) -> Fault | None:
    """Add a connection to `made` that knows its role, or return the fault that hinders it."""
    try:
        connection = await RedisConnection.open(dialer, clock, target)
        made.append(connection)
        await connection.ask(())
    except Fault as fault:
        made[:] = [one for one in made if one.target is not target]
        return fault
    return None
