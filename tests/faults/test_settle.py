"""A Redis that comes back without its data, under workers that are busy: nobody is sent to zero for it."""

import asyncio
import time

import grpc.aio
import pytest

from scaler.core.clock import SystemClock
from scaler.demo.sidekiq import SidekiqClient, SidekiqOptions, SidekiqProcess
from scaler.demo.valkey import Valkey
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.server.app import Server
from scaler.settings import Settings

pytestmark = pytest.mark.slow

SETTLE_SECONDS = 2.0


async def is_active(stub: ExternalScalerStub, ref: pb.ScaledObjectRef) -> bool | None:
    """Return what is told, or None for an error: this Redis has itself only just started."""
    try:
        return bool((await stub.IsActive(ref)).result)
    except grpc.aio.AioRpcError as error:
        assert error.code().name == "UNAVAILABLE"  # noqa: PT017 - one of two good answers
        return None


async def test_a_redis_that_lost_its_data_is_believed_only_after_settling() -> None:
    settings = Settings(listen="127.0.0.1:0", http="127.0.0.1:0", drain={"grace_seconds": 0.0})
    server = Server(settings, SystemClock())
    with Valkey() as valkey:
        ref = pb.ScaledObjectRef(
            name="worker",
            namespace="shop",
            scalerMetadata={
                "source": "sidekiq",
                "redisURL": valkey.url,
                "queues": "default",
                "refreshSeconds": "0.2",
                "staleSeconds": "1",
                "settleSeconds": f"{SETTLE_SECONDS:g}",
            },
        )
        process = None
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                stub = ExternalScalerStub(channel)
                async with valkey.client() as redis:
                    process = SidekiqProcess(redis, SystemClock(), SidekiqOptions({"default": 1}))
                    await process.start()
                    await SidekiqClient(redis, SystemClock()).push("default", 60)
                    async with asyncio.timeout(15):
                        while process.busy == 0 or not await is_active(stub, ref):  # noqa: ASYNC110 - over a socket
                            await asyncio.sleep(0.05)
                        await process.beat()
                        while await redis.llen("queue:default") != 0:  # noqa: ASYNC110 - see above
                            await asyncio.sleep(0.05)
                    await process.kill()  # it beats no more, as in the first 10 s after Redis is back
                    process = None
                valkey.stop()
                valkey.start()
                back = time.monotonic()
                inactive_at = None
                while inactive_at is None and time.monotonic() < back + 15:
                    told = await is_active(stub, ref)
                    assert told is not None, "what was told active before is held"
                    if not told:
                        inactive_at = time.monotonic()
                    await asyncio.sleep(0.05)
        finally:
            if process is not None:
                await process.kill()
            await server.close()
    assert inactive_at is not None, "it never settles"
    assert inactive_at - back >= SETTLE_SECONDS - 0.2
