"""What all sources together need: their backends, and clients that lose patience sooner."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from scaler.clients.kubernetes import api as kubernetes_api
from scaler.clients.kubernetes import watch as kubernetes_watch
from scaler.clients.pages.prometheus_query import PrometheusPages
from scaler.demo.sqs import SqsDouble
from scaler.demo.valkey import Valkey
from tests.faults.everything import REFRESH_SECONDS, REGION, Everything


@pytest.fixture(scope="session")
def moto() -> Iterator[SqsDouble]:
    double = SqsDouble(REGION)
    asyncio.run(double.start())
    yield double
    asyncio.run(double.stop())


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    with Valkey() as started:
        yield started


@pytest.fixture(autouse=True)
def hasty_clients(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let what takes half a minute in a cluster happen within a test; the code that runs is the same."""
    monkeypatch.setattr(kubernetes_api, "ALIVE_SECONDS", 0.3)
    monkeypatch.setattr(kubernetes_api, "PROBE_SECONDS", 0.5)
    monkeypatch.setattr(kubernetes_watch, "LAST_PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(PrometheusPages, "min_refresh_seconds", REFRESH_SECONDS)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in SqsDouble().env.items():
        if value:
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))


@pytest.fixture
def everything(moto: SqsDouble, valkey: Valkey) -> Callable[[str], Any]:
    """Return a context in which everything is there and nothing is wrong."""

    @asynccontextmanager
    async def opened(hold: str) -> AsyncIterator[Everything]:
        async with AsyncExitStack() as stack:
            made = Everything(stack, hold)
            await made.open(moto, valkey)
            yield made

    return opened


@pytest.fixture
def lose_data(valkey: Valkey) -> Callable[[], Awaitable[None]]:
    """Return a function that starts the Redis anew, empty, at its old address."""

    async def lose() -> None:
        valkey.stop()
        valkey.start()

    return lose
