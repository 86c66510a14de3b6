"""The rival of a stream: KEDA's poll of a trigger of type `external`, as the stand-in makes it."""

import asyncio
import time
from collections.abc import Mapping

import grpc.aio

from scaler.keda.scalable import ScaledObject, ScaleTargetRef, Trigger
from scaler.keda.standin import StandIn


async def polled(channel: grpc.aio.Channel, name: str, metadata: Mapping[str, str], seconds: int) -> float:
    """Poll a ScaledObject without replicas every `seconds`, until KEDA scales it to 1; return when that was.

    The time is that of `time.perf_counter`.
    """
    told = ScaledObject(
        name=name,
        namespace="shop",
        triggers=(Trigger(type="external", metadata=metadata),),
        scale_target_ref=ScaleTargetRef(name=name),
        polling_interval=seconds,
    )
    woken: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def scale(replicas: int) -> None:
        if replicas and not woken.done():
            woken.set_result(time.perf_counter())

    running = asyncio.create_task(StandIn(told, channel, scale).run())
    try:
        return await woken
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
