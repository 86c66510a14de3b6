"""A stage for the stand-in: a scripted external scaler over real gRPC on loopback, and time moved by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from scaler.core.clock import sleep
from scaler.demo.clock import ManualClock, settle
from scaler.keda.hpa import ControllerFlags
from scaler.keda.scalable import ScaledObject, ScaleTargetRef, Trigger
from scaler.keda.standin import Event, StandIn
from scaler.pb.externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
)
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerServicer, add_ExternalScalerServicer_to_server


@dataclass
class Scripted(ExternalScalerServicer):
    """Answers as told, and notes every call. A queue feeds each stream: a message, or a status code to end it with."""

    clock: ManualClock
    targets: GetMetricSpecResponse = field(default_factory=lambda: Scripted.specs(q=5))
    value: float = 0
    active: bool | None = None
    failing: dict[str, grpc.StatusCode] = field(default_factory=dict)
    fails_left: float = float("inf")
    fails_after: Callable[[], float] = lambda: 0  # seconds until a failing call tells that it fails
    before: Callable[[], None] = lambda: None  # done at every call
    calls: list[str] = field(default_factory=list)
    refs: list[Any] = field(default_factory=list)
    opened: asyncio.Queue[tuple[str, float]] = field(default_factory=asyncio.Queue)
    activity: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    spec_stream: asyncio.Queue[Any] | None = None
    broken_source: str = "none"  # a trigger with this metadata has no specs
    whole: bool = False  # answers in whole numbers alone, like a scaler made for KEDA before 2.17
    hold: asyncio.Event | None = None  # GetMetrics waits for it
    held: asyncio.Event = field(default_factory=asyncio.Event)

    @staticmethod
    def specs(**targets: float) -> GetMetricSpecResponse:
        return GetMetricSpecResponse(
            metricSpecs=[MetricSpec(metricName=name, targetSizeFloat=target) for name, target in targets.items()]
        )

    async def _answer(self, call: str, context: Any) -> None:
        self.calls.append(call)
        self.before()
        code = self.failing.get(call.partition(" ")[0])
        if code is not None and self.fails_left > 0:
            self.fails_left -= 1
            if (seconds := self.fails_after()) > 0:
                await sleep(self.clock, seconds)
            await context.abort(code, "no luck")

    async def GetMetricSpec(self, request: Any, context: Any) -> Any:  # noqa: N802 - KEDA's name
        self.refs.append(request)
        await self._answer("GetMetricSpec", context)
        if request.scalerMetadata.get("source") == self.broken_source:
            return GetMetricSpecResponse()
        return self.targets

    async def GetMetrics(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._answer(f"GetMetrics {request.metricName}", context)
        if self.hold is not None:
            self.held.set()
            await self.hold.wait()
        if self.whole:
            return GetMetricsResponse(metricValues=[MetricValue(metricValue=int(self.value))])
        return GetMetricsResponse(metricValues=[MetricValue(metricName="ignored", metricValueFloat=self.value)])

    async def IsActive(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._answer("IsActive", context)
        return IsActiveResponse(result=self.value > 0 if self.active is None else self.active)

    async def StreamIsActive(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.opened.put_nowait(("StreamIsActive", self.clock.now()))
        async for message in self._fed(self.activity, context):
            yield IsActiveResponse(result=message)

    async def StreamMetricSpec(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.opened.put_nowait(("StreamMetricSpec", self.clock.now()))
        if self.spec_stream is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")
            return
        async for message in self._fed(self.spec_stream, context):
            yield message

    async def _fed(self, queue: asyncio.Queue[Any], context: Any) -> AsyncIterator[Any]:
        while True:
            message = await queue.get()
            if message is grpc.StatusCode.OK:
                return
            if isinstance(message, grpc.StatusCode):
                await context.abort(message, "broken")
            yield message


@dataclass
class Stage:
    """A running stand-in, what it did, and the hand on its clock."""

    clock: ManualClock
    scaler: Scripted
    events: asyncio.Queue[Event]
    scaled: list[int]
    stand_in: StandIn
    running: asyncio.Task[None]
    loops: int = 2  # polling, syncing, and the streams that wait to be opened again

    async def next(self, cause: str) -> Event:
        """Let time pass from alarm to alarm, each followed through to its end, until an event with this cause."""
        for _ in range(1_000):
            while not self.events.empty():
                if (event := self.events.get_nowait()).cause == cause:
                    return event
            await self.asleep()
            if self.events.empty():
                await self.clock.advance(self.clock.next_at - self.clock.now())
        pytest.fail(f"no {cause} after 1,000 alarms")

    async def until(self, cause: str, condition: Callable[[Event], bool]) -> Event:
        """Wait for an event that is as expected: a message of a stream may come after the next poll or two."""
        for _ in range(50):
            if condition(event := await self.next(cause)):
                return event
        pytest.fail(f"not within 50 events of {cause}")

    async def pass_time(self, seconds: float) -> None:
        """Let time pass from alarm to alarm, each followed through to its end."""
        end = self.clock.now() + seconds
        await self.asleep()
        while (due := self.clock.next_at) < end:
            await self.clock.advance(due - self.clock.now())
            await self.asleep()
        await self.clock.advance(end - self.clock.now())

    async def end(self) -> None:
        """Stop the stand-in, and wait until the scaler has heard that its calls are cancelled."""
        self.running.cancel()
        await asyncio.wait([self.running])
        await quiet(self.clock)

    async def asleep(self) -> None:
        """Wait until every loop waits for time to pass."""
        async with asyncio.timeout(10):
            while self.clock.pending < self.loops:
                assert not self.running.done(), "the stand-in has ended"
                await asyncio.sleep(0)

    async def heard(self) -> Event:
        """Wait for the next event while time stands still."""
        return await asyncio.wait_for(self.events.get(), 10)


async def quiet(clock: ManualClock) -> None:
    """Wait until nothing waits for time to pass any more."""
    async with asyncio.timeout(10):
        while clock.pending:
            await settle(1)


FLAGS = ControllerFlags(sync_period_seconds=2.7, downscale_stabilization_seconds=0)  # never at once with a poll
EXTERNAL = Trigger(type="external", metadata={"scalerAddress": "x:9", "source": "sqs"})


@pytest.fixture
async def scripted(clock: ManualClock) -> AsyncIterator[tuple[Scripted, grpc.aio.Channel]]:
    """Start a scripted scaler, and give it with a channel to it."""
    server = grpc.aio.server()
    scaler = Scripted(clock)
    add_ExternalScalerServicer_to_server(scaler, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)])
    yield scaler, channel
    await channel.close()
    await server.stop(None)
    await quiet(clock)


@pytest.fixture
async def play(clock: ManualClock, scripted: tuple[Scripted, grpc.aio.Channel]) -> AsyncIterator[Callable[..., Stage]]:
    """Give a function that starts a stand-in; end them all, and see that nothing is left.

    The function takes the triggers, the fields of the ScaledObject that are not as usual, and options of the stand-in.
    """
    scaler, channel = scripted
    stages: list[Stage] = []

    def start(
        *triggers: Trigger,
        initial_replicas: int = 0,
        flags: ControllerFlags = FLAGS,
        env: dict[str, str] | None = None,
        notes_closed_scalers: bool = False,
        formula: Callable[[Mapping[str, float]], float] | None = None,
        **spec: Any,
    ) -> Stage:
        fields = {"polling_interval": 2, "cooldown_period": 5, "scale_target_ref": ScaleTargetRef(name="shop"), **spec}
        scaled_object = ScaledObject(name="shop", namespace="eu", triggers=triggers or (EXTERNAL,), **fields)
        events: asyncio.Queue[Event] = asyncio.Queue()
        scaled: list[int] = []

        async def scale(replicas: int) -> None:
            scaled.append(replicas)

        stand_in = StandIn(
            scaled_object,
            channel,
            scale,
            initial_replicas,
            env=env or {},
            on_event=events.put_nowait,
            clock=clock,
            flags=flags,
            notes_closed_scalers=notes_closed_scalers,
            formula=formula,
        )
        stages.append(Stage(clock, scaler, events, scaled, stand_in, asyncio.ensure_future(stand_in.run())))
        return stages[-1]

    yield start
    for stage in stages:
        await stage.end()
    assert all(stage.running.cancelled() or stage.running.exception() is None for stage in stages)
