"""Part g: three processes behind a round-robin client, one killed and one added during the run."""

import asyncio
import random
import signal
import time
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio

from bench.doubles import Backends, backends, sqs_answer
from bench.processes import ServerProcess, serving
from bench.report import Found
from bench.spread import spread
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub

REFRESH_SECONDS = 1.0
REF = pb.ScaledObjectRef(
    namespace="shop",
    name="orders",
    scalerMetadata={
        "source": "sqs", "queueURL": "orders", "awsRegion": "eu-west-1", "refreshSeconds": str(REFRESH_SECONDS),
    },
)  # fmt: skip


class RoundRobin:
    """A client over several servers: each call goes to the next that is connected; a failed call is made once more."""

    def __init__(self, stack: AsyncExitStack) -> None:
        """Know no server yet."""
        self._stack = stack
        self._stubs: dict[int, Any] = {}
        self._turn = 0
        self.polls = self.retried = self.failed = 0

    async def add(self, server: ServerProcess) -> None:
        """Take `server` into the round."""
        channel = await self._stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))
        self._stubs[server.port] = ExternalScalerStub(channel)

    def values(self) -> list[Any]:
        """Return the stubs, to ask all of them."""
        return list(self._stubs.values())

    async def poll(self) -> None:
        """Do what KEDA does at a poll: GetMetrics and IsActive, and all anew once if one fails (scalers_cache.go)."""
        self.polls += 1
        for attempt in range(2):
            try:
                await self._next().GetMetrics(pb.GetMetricsRequest(scaledObjectRef=REF, metricName="sqs-orders"))
                await self._next().IsActive(REF)
            except grpc.aio.AioRpcError:
                self.retried += attempt == 0
                self.failed += attempt == 1
                # grpc-go takes a connection that is lost out of the round at once
                await self._drop_lost()
            else:
                return

    async def _drop_lost(self) -> None:
        for port, stub in list(self._stubs.items()):
            try:
                await stub.GetMetricSpec(REF, timeout=2)
            except grpc.aio.AioRpcError:
                self._stubs.pop(port, None)  # another poll may have dropped it meanwhile

    def _next(self) -> Any:
        self._turn += 1
        return list(self._stubs.values())[self._turn % len(self._stubs)]


async def _agree(client: RoundRobin, doubles: Backends) -> float:
    """Change the queue, and return after how many seconds all replicas tell the new value."""
    value = random.randrange(100, 10_000)  # noqa: S311 - not a secret
    doubles.sqs.answer = lambda _path, _body: sqs_answer(value)
    began = time.perf_counter()
    request = pb.GetMetricsRequest(scaledObjectRef=REF, metricName="sqs-orders")
    while True:
        told = await asyncio.gather(*(stub.GetMetrics(request) for stub in client.values()))
        if all(answer.metricValues[0].metricValue == value for answer in told):
            return time.perf_counter() - began
        await asyncio.sleep(0.02)


async def measure(seconds: float, rate: float = 50.0) -> Found:
    """Poll for `seconds`; a third into it one server is killed, another third later a new one comes."""
    async with backends() as doubles, AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving("real", env=doubles.env)) for _ in range(3)]
        client = RoundRobin(stack)
        for server in servers:
            await client.add(server)
        agreed = [await _agree(client, doubles) for _ in range(5)]
        polls: set[asyncio.Task[None]] = set()

        async def poll_for(part: float) -> None:
            end = time.monotonic() + part
            while time.monotonic() < end:
                polls.add(asyncio.create_task(client.poll()))
                await asyncio.sleep(1 / rate)

        await poll_for(seconds / 3)
        servers[0].process.send_signal(signal.SIGKILL)
        await poll_for(seconds / 3)
        await client.add(await stack.enter_async_context(serving("real", env=doubles.env)))
        await poll_for(seconds / 3)
        await asyncio.gather(*polls)
        agreed += [await _agree(client, doubles) for _ in range(5)]
    row = {
        "polls": client.polls, "called again": client.retried, "failed": client.failed,
        "agreements": len(agreed), "all agree after s": spread(agreed), "refreshSeconds": REFRESH_SECONDS,
    }  # fmt: skip
    return Found({"replicas": [row]})
