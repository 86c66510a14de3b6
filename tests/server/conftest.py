"""What tests of the whole server ask it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

Serve = Callable[..., Any]
Health = health_pb2.HealthCheckResponse
Code = grpc.StatusCode
NAME = "externalscaler.ExternalScaler"


async def health(keda: Any, service: str = NAME) -> int:
    answer = await health_pb2_grpc.HealthStub(keda.channel).Check(health_pb2.HealthCheckRequest(service=service))
    status: int = answer.status
    return status


@asynccontextmanager
async def http(keda: Any) -> AsyncIterator[Callable[[str], Any]]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{keda.server.http_port}") as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(path) as answer:
                return answer.status, await answer.text()

        yield get


async def round_trip(keda: Any) -> None:
    """Come back when the server has answered: whatever was on its way before has arrived."""
    await keda.get_metric_spec(keda.ref())


async def until(keda: Any, true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await round_trip(keda)


async def failure(call: Any) -> tuple[Code, str]:
    async with asyncio.timeout(10):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    return caught.value.code(), caught.value.details() or ""
