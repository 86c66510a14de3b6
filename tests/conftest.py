"""What most tests need: time moved by hand, a scripted backend, and a server behind a real socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc.aio
import hypothesis
import pytest
import structlog

from scaler.answers.scaledobject import ScaledObject
from scaler.answers.scaledobjects import ScaledObjects
from scaler.core.clock import Clock
from scaler.core.domain import Assessment, Place, Reader, Reading
from scaler.core.quota import Quota
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import SOURCE, ScriptedReader
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.server.app import Server
from scaler.settings import Settings
from scaler.sources import SOURCES
from scaler.sources.access import Access
from scaler.store.snapshots import Snapshots

# A slow machine is no finding.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")


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


OpenStore = Callable[..., Snapshots]
Ask = Callable[..., "asyncio.Task[dict[Place, Reading]]"]


@pytest.fixture
async def open_store(clock: ManualClock) -> AsyncIterator[OpenStore]:
    """Make stores on the manual clock that leave no alarm behind."""
    opened: list[Snapshots] = []

    def opening(*readers: Reader, jitter: float = 0.0, **kwargs: Any) -> Snapshots:
        opened.append(Snapshots(readers, clock, **{"dice": lambda: jitter, **kwargs}))
        return opened[-1]

    yield opening
    for store in opened:
        await store.close()
    assert clock.pending == 0


@pytest.fixture
def assert_empty(clock: ManualClock) -> Callable[[Snapshots], None]:
    """Assert that a store holds nothing at all."""

    def assert_empty(store: Snapshots) -> None:
        inside = store._refresher
        assert not any((inside.entries, inside.lanes, inside.ready, inside.members, inside._heap, inside._tasks))
        assert clock.pending == 0

    return assert_empty


@pytest.fixture
async def store(
    clock: ManualClock, reader: ScriptedReader, open_store: OpenStore, assert_empty: Callable[[Snapshots], None]
) -> AsyncIterator[Snapshots]:
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
        store: Snapshots, *places: Place, refresh: float = 10, stale: float = 60, lessee: str = "me"
    ) -> "asyncio.Task[dict[Place, Reading]]":
        for place in places:
            store.lease(lessee, place, refresh, clock.now() + 100)
        return asyncio.ensure_future(store.read(places, refresh, stale, 1.9))

    return asking


@pytest.fixture
def value(clock: ManualClock, ask: Ask) -> Callable[..., Awaitable[Any]]:
    """Ask a store for the value of a place that answers at once."""

    async def asking(store: Snapshots, place: Place, **kwargs: Any) -> Any:
        task = ask(store, place, **kwargs)
        await clock.advance(0)
        return (await task)[place].value

    return asking


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


class Askers(ScaledObjects):
    """Everybody who asks, and how a test asks for them."""

    _clock: ManualClock

    def who(self, spots: str = "a", namespace: str = "shop", **metadata: str) -> ScaledObject:
        """Return who asks with this metadata of the scripted source."""
        return self.find(namespace, "orders", {"source": "scripted", "spots": spots, **metadata})

    async def told(self, who: ScaledObject) -> Assessment:
        """Ask as GetMetrics does, of a backend that answers at once."""
        return await self._now(self.answer(who, 1.9))

    async def judged(self, who: ScaledObject) -> Assessment:
        """Ask as a stream does when it is opened."""
        return await self._now(self.assess(who, 1.9))

    async def _now(self, call: Coroutine[Any, Any, Assessment]) -> Assessment:
        task = asyncio.ensure_future(call)
        await self._clock.advance(0)
        return await task


@pytest.fixture
def make_objects(store: Snapshots, clock: ManualClock) -> Callable[..., Askers]:
    """Make the room of those who ask, over the store."""

    def made(access: Access | None = None, limit: int = 1_000, store: Snapshots = store, **kwargs: Any) -> Askers:
        quota = Quota(limit, "limits.maxScaledObjects")
        return Askers(store, access or Access(), clock, max_scaled_objects=quota, **kwargs)

    return made


@pytest.fixture
async def objects(make_objects: Callable[..., Askers], clock: ManualClock) -> AsyncIterator[Askers]:
    """Give everybody who asks; after the test nobody does, and nobody is remembered."""
    made = make_objects()
    yield made
    assert not made._listening
    await clock.advance(1_000)
    made.forget_old()
    assert not made._known
    assert not made._quota.total
    assert not made._bytes.total
