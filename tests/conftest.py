"""What most tests need: time moved by hand, a scripted backend, and a server behind a real socket."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import hypothesis
import pytest
import structlog
from botocore.loaders import Loader

from scaler.core.clock import Clock
from scaler.core.domain import Place, Reader, Reading
from scaler.demo.asked_store import AskedStore
from scaler.demo.clock import ManualClock
from scaler.demo.desk import Desk
from scaler.demo.scripted import SOURCE, ScriptedReader
from scaler.demo.valkey import Valkey
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.server.app import Server
from scaler.settings import Settings
from scaler.sources import SOURCES
from scaler.sources.access import Access

LOADER = Loader()

# A slow machine is no finding.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over thousands of collected tests: it costs more than what it finds there."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say which tests were left out, and how to run them."""
    if "not slow" in config.getoption("markexpr"):
        terminalreporter.write_line("The slow tests were left out: make test ARGS='-m slow'")


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """Render logs cheaply: structlog's default draws every traceback with its variables."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def reader(clock: ManualClock) -> ScriptedReader:
    return ScriptedReader(clock)


OpenStore = Callable[..., AskedStore]
Ask = Callable[..., "asyncio.Task[dict[Place, Reading]]"]


@pytest.fixture
async def open_store(clock: ManualClock) -> AsyncIterator[OpenStore]:
    """Make stores on the manual clock that leave no alarm behind."""
    opened: list[AskedStore] = []

    def opening(*readers: Reader, jitter: float = 0.0, **kwargs: Any) -> AskedStore:
        opened.append(AskedStore(readers, clock, **{"dice": lambda: jitter, **kwargs}))
        return opened[-1]

    yield opening
    for store in opened:
        await store.close()
    assert clock.pending == 0


@pytest.fixture
def assert_empty(clock: ManualClock) -> Callable[[AskedStore], None]:
    """Assert that a store holds nothing at all."""

    def assert_empty(store: AskedStore) -> None:
        inside = store._schedule
        held = (inside.states, inside.rate_limits, inside.queues, inside.members, inside.due_times._heap, inside._tasks)
        assert not any(held)
        assert clock.pending == 0

    return assert_empty


@pytest.fixture
async def store(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore, assert_empty: Callable[[AskedStore], None]
) -> AsyncIterator[AskedStore]:
    """Make a store that holds nothing when nobody has asked it for long enough."""
    made = open_store(reader)
    yield made
    assert reader.most_at_once <= 1
    reader.answers.clear()
    await clock.advance(10_000)
    assert_empty(made)


@pytest.fixture
def ask(clock: ManualClock) -> Ask:
    """Ask a store for places as an RPC does: lease them, then wait up to 1.9 s."""

    def asking(
        store: AskedStore, *places: Place, refresh: float = 10, stale: float = 60, lessee: str = "me"
    ) -> "asyncio.Task[dict[Place, Reading]]":
        for place in places:
            store.lease(lessee, place, refresh, clock.now() + 100)
        return asyncio.ensure_future(store.read(places, refresh, stale, 1.9))

    return asking


@pytest.fixture
def value(clock: ManualClock, ask: Ask) -> Callable[..., Awaitable[Any]]:
    """Ask a store for the value of a place that answers at once."""

    async def asking(store: AskedStore, place: Place, **kwargs: Any) -> Any:
        task = ask(store, place, **kwargs)
        await clock.advance(0)
        return (await task)[place].value

    return asking


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """Run one Valkey for all tests of this process that only put keys there."""
    with Valkey() as started:
        yield started


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Any]:
    """Give a client of it, with nothing there."""
    client = valkey.client()
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take away all that this machine knows of AWS; what botocore's sessions load from its data is the same for all."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setattr("botocore.session.create_loader", lambda *_: LOADER)


@pytest.fixture
def scripted_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let metadata say `source: scripted`."""
    monkeypatch.setitem(SOURCES, SOURCE.name, SOURCE)


class Client:
    """A server on a port of its own, and KEDA's side of it."""

    def __init__(self, server: Server, channel: grpc.aio.Channel) -> None:
        self.server, self.channel = server, channel
        self.stub = ExternalScalerStub(channel)

    @staticmethod
    def ref(spots: str = "a", *, namespace: str = "shop", **metadata: str) -> pb.ScaledObjectRef:
        return pb.ScaledObjectRef(
            name="orders", namespace=namespace, scalerMetadata={"source": "scripted", "spots": spots, **metadata}
        )

    def get_metric_spec(self, ref: pb.ScaledObjectRef) -> Any:
        return self.stub.GetMetricSpec(ref)

    def get_metrics(self, ref: pb.ScaledObjectRef, name: str = "scripted") -> Any:
        return self.stub.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=ref, metricName=name))

    def is_active(self, ref: pb.ScaledObjectRef) -> Any:
        return self.stub.IsActive(ref)

    async def value(self, ref: pb.ScaledObjectRef, name: str = "scripted") -> float:
        return (await self.get_metrics(ref, name)).metricValues[0].metricValueFloat


Serve = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def serve(clock: ManualClock, reader: ScriptedReader, scripted_source: None) -> Serve:
    """Serve the scripted source on the manual clock; keyword arguments are settings."""

    @asynccontextmanager
    async def serving(*, on: Clock = clock, **settings: Any) -> AsyncIterator[Client]:
        quick: Mapping[str, Any] = {
            "listen": "127.0.0.1:0",
            "http": "127.0.0.1:0",
            "drain": {"grace_seconds": 0.0},
            "page": {"enabled": False},
        }
        server = Server(Settings(**{**quick, **settings}), on, [reader])
        try:
            await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                yield Client(server, channel)
        finally:
            await server.close()
        if on is clock:
            assert clock.pending == 0

    return serving


@pytest.fixture
def make_objects(store: AskedStore, clock: ManualClock) -> Callable[..., Desk]:
    """Make the room of those who ask, over the store."""

    def made(access: Access | None = None, limit: int = 1_000, store: AskedStore = store, **kwargs: Any) -> Desk:
        return Desk(store, access or Access(), clock, limit=limit, **kwargs)

    return made


@pytest.fixture
async def objects(make_objects: Callable[..., Desk], clock: ManualClock) -> AsyncIterator[Desk]:
    """Give everybody who asks; after the test nobody does, and nobody is remembered."""
    made = make_objects()
    yield made
    assert len(made.listeners) == 0
    await clock.advance(1_000)
    made.forget_old()
    assert len(made) == made.quota.total == 0
    assert not made.registry._bytes.total
