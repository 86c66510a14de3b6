"""A Valkey with waiting jobs, and a process that works on one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scaler.core.clock import SystemClock
from scaler.demo.contract import MISSING_KEY, REFUSED_RIGHT, Stage
from scaler.demo.proxy import Proxy
from scaler.demo.sidekiq import SidekiqClient, SidekiqOptions, SidekiqProcess
from scaler.demo.valkey import Valkey
from scaler.sources.backends import Backends


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Let jobs wait on a queue that a process fetches."""
    with Valkey() as valkey:
        proxy = Proxy(valkey.port)
        await proxy.start()
        async with valkey.client() as redis:
            process = SidekiqProcess(redis, SystemClock(), SidekiqOptions({"other": 1}))
            await process.start()
            await process.beat()
            for _ in range(3):
                await SidekiqClient(redis, SystemClock()).push("default", 60)

            async def leave_out() -> None:
                for identity in await redis.smembers("processes"):
                    await redis.hdel(identity, "info")

            async def refuse() -> None:
                await redis.execute_command("ACL", "SETUSER", "default", "-llen")

            try:
                yield Stage(
                    {"redisURL": f"redis://127.0.0.1:{proxy.port}/0", "queues": "default", "queueLength": "5"},
                    Backends(),
                    [proxy],
                    {MISSING_KEY: leave_out, REFUSED_RIGHT: refuse},
                )
            finally:
                await process.kill()
                await proxy.close()
