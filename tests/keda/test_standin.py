"""The stand-in against a scripted external scaler, over real gRPC on loopback; its time is moved by hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import pytest

from scaler.demo.clock import ManualClock
from scaler.keda.client import resolve
from scaler.keda.executor import Missing
from scaler.keda.hpa import ControllerFlags
from scaler.keda.manifests import ManifestError, parse
from scaler.keda.scalable import Fallback, ScaledObject, Trigger
from scaler.keda.standin import Event, StandIn
from scaler.pb.externalscaler_pb2 import (
    GetMetricSpecResponse,
    GetMetricsResponse,
    IsActiveResponse,
    MetricSpec,
    MetricValue,
)
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerServicer, add_ExternalScalerServicer_to_server

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def specs(**targets: float) -> GetMetricSpecResponse:
    return GetMetricSpecResponse(
        metricSpecs=[MetricSpec(metricName=name, targetSizeFloat=target) for name, target in targets.items()]
    )


@dataclass
class Scripted(ExternalScalerServicer):
    """Answers as told, and notes every call. A queue feeds each stream: a message, or a status code to end it with."""

    clock: ManualClock
    targets: GetMetricSpecResponse = field(default_factory=lambda: specs(q=5))
    value: float = 0
    active: bool | None = None
    failing: dict[str, grpc.StatusCode] = field(default_factory=dict)
    fails_left: float = float("inf")
    calls: list[str] = field(default_factory=list)
    refs: list[Any] = field(default_factory=list)
    opened: asyncio.Queue[tuple[str, float]] = field(default_factory=asyncio.Queue)
    activity: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    spec_stream: asyncio.Queue[Any] | None = None

    async def _answer(self, call: str, context: Any) -> None:
        self.calls.append(call)
        code = self.failing.get(call.partition(" ")[0])
        if code is not None and self.fails_left > 0:
            self.fails_left -= 1
            await context.abort(code, "no luck")

    async def GetMetricSpec(self, request: Any, context: Any) -> Any:  # noqa: N802 - KEDA's name
        self.refs.append(request)
        await self._answer("GetMetricSpec", context)
        return self.targets

    async def GetMetrics(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._answer(f"GetMetrics {request.metricName}", context)
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
    running: asyncio.Task[None]
    loops: int = 2  # polling, syncing, and the streams that wait to be opened again

    async def next(self, cause: str) -> Event:
        """Let time pass from alarm to alarm, each followed through to its end, until an event with this cause."""
        while True:
            while not self.events.empty():
                if (event := self.events.get_nowait()).cause == cause:
                    return event
            await self.asleep()
            if self.events.empty():
                await self.clock.advance(min(alarm.when for alarm in self.clock._alarms) - self.clock.now())

    async def asleep(self) -> None:
        """Wait until every loop waits for time to pass."""
        async with asyncio.timeout(10):
            while self.clock.pending < self.loops:  # noqa: ASYNC110 - nothing in the house tells when all is quiet
                await asyncio.sleep(0)

    async def heard(self) -> Event:
        """Wait for the next event while time stands still."""
        return await asyncio.wait_for(self.events.get(), 10)


Play = Callable[..., Any]


def shop(*triggers: Trigger, **spec: Any) -> ScaledObject:
    text = (
        "{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: shop, namespace: eu},"
        " spec: {scaleTargetRef: {name: shop}, pollingInterval: 2, cooldownPeriod: 5,"
        ' triggers: [{type: external, metadata: {scalerAddress: "x:9", source: sqs}}]}}'
    )
    (found,) = parse(text).objects
    assert isinstance(found, ScaledObject)
    return replace(found, **({"triggers": triggers} if triggers else {}), **spec)


PUSH = Trigger(type="external-push", metadata={"source": "sqs"})
FLAGS = ControllerFlags(sync_period_seconds=2.7, downscale_stabilization_seconds=0)  # never at once with a poll


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    """Start a scripted scaler and a stand-in; end both, and see that nothing is left."""
    clock = ManualClock()
    server = grpc.aio.server()
    scaler = Scripted(clock)
    add_ExternalScalerServicer_to_server(scaler, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)])
    stages: list[Stage] = []

    def start(scaled_object: ScaledObject | None = None, **options: Any) -> Stage:
        events: asyncio.Queue[Event] = asyncio.Queue()
        scaled: list[int] = []

        async def scale(replicas: int) -> None:
            scaled.append(replicas)

        settings = {"clock": clock, "flags": FLAGS, "on_event": events.put_nowait, **options}
        stand_in = StandIn(scaled_object or shop(), channel, scale, **settings)
        stages.append(Stage(clock, scaler, events, scaled, asyncio.ensure_future(stand_in.run())))
        return stages[-1]

    yield start
    for stage in stages:
        stage.running.cancel()
        await asyncio.wait([stage.running])
        assert stage.running.cancelled() or stage.running.exception() is None
    assert clock.pending == 0
    await channel.close()
    await server.stop(None)


async def test_a_poll_asks_for_specs_value_and_activity_and_strips_the_prefix(play: Play) -> None:
    stage = play()
    event = await stage.next("poll")
    assert stage.scaler.calls == ["GetMetricSpec", "GetMetricSpec", "GetMetrics q", "IsActive"]  # the first: the HPA
    ref = stage.scaler.refs[0]
    assert (ref.name, ref.namespace) == ("shop", "eu")
    assert dict(ref.scalerMetadata) == {"scalerAddress": "x:9", "source": "sqs"}
    assert (event.replicas, event.active, event.reason, event.at) == (0, False, "ScalerNotActive", stage.clock.wall())
    assert event.results[0][:4] == ("s0-q", "AverageValue", 5, 0)


async def test_from_zero_up_and_back(play: Play) -> None:
    """Polls at 0, 2, 4 … s, syncs at 2.7, 5.4 … s; the cooldown of 5 s counts from the poll at 6 s."""
    stage = play()
    start = stage.clock.now()
    await stage.next("poll")
    stage.scaler.value = 33
    assert (await stage.next("poll")).replicas == 1
    sync = await stage.next("sync")
    assert (sync.replicas, sync.reason, sync.decision.proposal) == (4, "s0-q above target", 7)
    assert (await stage.next("poll")).replicas == 4
    assert (await stage.next("sync")).replicas == 7
    assert (await stage.next("poll")).active
    assert stage.clock.now() == start + 6
    stage.scaler.value = 0
    assert (await stage.next("poll")).reason == "ScalerCooldown"
    assert (await stage.next("sync")).decision.scaling_limited == "TooFewReplicas"
    assert [(await stage.next("poll")).reason for _ in range(2)] == ["ScalerCooldown", "ScalerNotActive"]
    assert stage.clock.now() == start + 12
    assert stage.scaled == [1, 4, 7, 1, 0]
    assert (await stage.next("sync")).reason == "ScalingDisabled"


async def test_the_hpa_asks_every_trigger_for_specs_before_each_metric(play: Play) -> None:
    """With T triggers of one metric a sync takes T² + 2 T calls, none of them at 0 replicas."""
    stage = play(shop(*[Trigger(type="external", metadata={"source": name}) for name in "ab"], polling_interval=900))
    await stage.next("poll")
    stage.scaler.calls.clear()
    await stage.next("sync")
    assert stage.scaler.calls == []
    stage.scaler.value = 1
    await stage.next("poll")
    stage.scaler.calls.clear()
    sync = await stage.next("sync")
    assert [result.name for result in sync.results] == ["s0-q", "s1-q"]
    assert stage.scaler.calls == ["GetMetricSpec", "GetMetricSpec", "GetMetrics q", "IsActive"] * 2


async def test_a_cached_metric_costs_the_hpa_the_specs_only(play: Play) -> None:
    stage = play(shop(Trigger(type="external", metadata={}, use_cached_metrics=True)))
    stage.scaler.value = 12
    await stage.next("poll")
    assert (await stage.next("poll")).replicas == 1
    stage.scaler.calls.clear()
    stage.scaler.value = 500
    sync = await stage.next("sync")
    assert stage.scaler.calls == ["GetMetricSpec"]
    assert sync.decision.proposal == 3


@pytest.mark.parametrize("rpc", ["GetMetrics", "IsActive"])
async def test_a_failing_call_is_tried_once_more(play: Play, rpc: str) -> None:
    stage = play()
    stage.scaler.value, stage.scaler.failing, stage.scaler.fails_left = 12, {rpc: UNAVAILABLE}, 1
    event = await stage.next("poll")
    assert event.replicas == 1
    assert event.errors == (f"{rpc}: UNAVAILABLE: no luck",)
    assert stage.scaler.calls.count("GetMetrics q") == 2


@pytest.mark.parametrize(
    ("rpc", "missing", "calls"),
    [
        ("GetMetrics", Missing.FAILED, ["GetMetricSpec", "GetMetrics q", "GetMetrics q"]),
        ("IsActive", Missing.FAILED, ["GetMetricSpec", *["GetMetrics q", "IsActive"] * 2]),
        ("GetMetricSpec", Missing.NO_SPECS, ["GetMetricSpec", "GetMetricSpec"]),
    ],
)
async def test_an_error_holds_the_replicas(play: Play, rpc: str, missing: Missing, calls: list[str]) -> None:
    """At 3 replicas, the scaler fails and the queue empties; 20 s later it is well again."""
    stage = play()
    stage.scaler.value = 12
    await stage.next("poll")
    assert (await stage.next("sync")).replicas == 3
    stage.scaler.failing, stage.scaler.value = {rpc: UNAVAILABLE}, 0
    stage.scaler.calls.clear()
    poll = await stage.next("poll")
    assert stage.scaler.calls == calls
    assert (poll.reason, poll.replicas, poll.results[0].value) == ("TriggerError", 3, missing)
    assert poll.errors == (f"{rpc}: UNAVAILABLE: no luck",) * 2
    sync = await stage.next("sync")
    assert (sync.reason, sync.replicas) == ("FailedGetExternalMetric", 3)
    assert [(await stage.next("poll")).replicas for _ in range(7)] == [3] * 7
    stage.scaler.failing.clear()
    assert (await stage.next("poll")).replicas == 0  # the cooldown ran on


async def test_fallback_stands_in_for_a_failing_metric(play: Play) -> None:
    stage = play(shop(fallback=Fallback(failure_threshold=1, replicas=6)), initial_replicas=3)
    stage.scaler.failing = {"GetMetrics": UNAVAILABLE}
    assert not (await stage.next("poll")).active
    assert (await stage.next("poll")).active
    assert (await stage.next("sync")).replicas == 6


async def test_nothing_runs_before_the_hpa_could_be_made(play: Play) -> None:
    """Neither with failing specs nor with a target that rounds to 0; KEDA tries again, ever more slowly."""
    stage = play()
    stage.loops = 1
    stage.scaler.targets = specs(q=0.0004)
    event = await stage.next("reconcile")
    assert (event.reason, event.replicas) == ("ScaledObjectCheckFailed", 0)
    await stage.next("reconcile")
    stage.scaler.failing = {"GetMetricSpec": UNAVAILABLE}
    assert (await stage.next("reconcile")).errors == ("GetMetricSpec: UNAVAILABLE: no luck",) * 2
    assert "GetMetrics q" not in stage.scaler.calls
    stage.scaler.failing, stage.scaler.targets = {}, specs(q=5)
    await stage.asleep()
    await stage.clock.advance(0.02)
    stage.loops = 2
    await stage.next("poll")
    assert stage.clock.now() == pytest.approx(1_000 + 0.005 + 0.01 + 0.02)


async def test_a_trigger_that_failed_at_first_is_left_out_until_polls_have_failed_and_are_well(play: Play) -> None:
    stage = play(shop(*[Trigger(type="external", metadata={"source": name}) for name in "ab"]), initial_replicas=1)
    stage.scaler.value = 5
    stage.scaler.failing, stage.scaler.fails_left = {"GetMetricSpec": UNAVAILABLE}, 2  # the two tries for the first
    assert [result.name for result in (await stage.next("poll")).results] == ["s0-q", "s1-q"]
    assert [result.name for result in (await stage.next("sync")).results] == ["s1-q"]
    stage.scaler.failing, stage.scaler.fails_left = {"GetMetrics": UNAVAILABLE}, 99
    await stage.next("poll")
    stage.scaler.failing = {}
    await stage.next("poll")
    assert [result.name for result in (await stage.next("sync")).results] == ["s0-q", "s1-q"]


async def test_a_push_wakes_at_once_and_a_false_is_ignored(play: Play) -> None:
    stage = play(shop(PUSH))
    await stage.next("poll")
    stage.scaler.activity.put_nowait(False)
    stage.scaler.activity.put_nowait(True)
    event = await stage.heard()
    assert (event.cause, event.replicas, event.active, event.reason) == ("push", 1, True, "ScalerActive")
    stage.scaler.activity.put_nowait(False)
    stage.scaler.activity.put_nowait(True)
    assert (await stage.heard()).cause == "push"
    assert stage.scaled == [1]
    assert stage.scaler.calls.count("GetMetrics q") == 1  # a push asks nothing


async def test_a_stream_is_reopened_after_growing_pauses_that_only_a_good_end_resets(play: Play) -> None:
    stage = play(shop(PUSH, polling_interval=900), flags=ControllerFlags(900))
    await stage.next("poll")
    first = {await asyncio.wait_for(stage.scaler.opened.get(), 10) for _ in range(2)}
    assert first == {("StreamIsActive", 1_000), ("StreamMetricSpec", 1_000)}
    stage.loops = 3
    ends = [UNAVAILABLE, UNAVAILABLE, grpc.StatusCode.OK, *[grpc.StatusCode.UNIMPLEMENTED] * 6, grpc.StatusCode.OK]
    for end, pause in zip(ends, [2, 4, 2, 4, 8, 16, 32, 60, 60, 2], strict=True):
        stage.scaler.activity.put_nowait(end)
        await stage.asleep()
        ended = stage.clock.now()
        await stage.clock.advance(pause)
        assert await asyncio.wait_for(stage.scaler.opened.get(), 10) == ("StreamIsActive", ended + pause)
    assert stage.scaler.opened.empty()  # a server that has no StreamMetricSpec is not asked for it again


async def test_streamed_specs_stand_in_for_asked_ones_until_a_poll_fails(play: Play) -> None:
    stage = play(shop(PUSH), initial_replicas=4)
    stage.scaler.spec_stream = asyncio.Queue()
    stage.scaler.value = 40
    await stage.next("poll")
    stage.scaler.spec_stream.put_nowait(specs(renamed=20))
    while (await stage.next("poll")).results[0].name != "s0-renamed":
        pass  # the message may come after a poll
    stage.scaler.calls.clear()
    sync = await stage.next("sync")
    assert (sync.results[0].name, sync.decision.proposal) == ("s0-renamed", 2)
    await stage.next("poll")
    assert "GetMetricSpec" not in stage.scaler.calls
    stage.scaler.failing = {"GetMetrics": UNAVAILABLE}
    assert (await stage.next("poll")).results[0].failed
    stage.scaler.failing = {}
    assert (await stage.next("poll")).results[0].name == "s0-q"


async def test_an_empty_streamed_list_scales_to_zero_under_waiting_work(play: Play) -> None:
    stage = play(shop(PUSH))
    stage.scaler.spec_stream = asyncio.Queue()
    stage.scaler.value = 40
    assert (await stage.next("poll")).replicas == 1
    stage.scaler.spec_stream.put_nowait(specs())
    while (event := await stage.next("poll")).replicas:
        pass
    assert event.results == ()
    stage.scaler.spec_stream.put_nowait(specs(q=5))
    while not (event := await stage.next("poll")).replicas:
        pass
    assert event.active


async def test_a_paused_object_is_only_brought_to_its_count(play: Play) -> None:
    stage = play(shop(paused=True, paused_replicas=2), initial_replicas=5)
    await asyncio.wait_for(stage.running, 10)
    assert stage.scaled == [2]
    assert stage.scaler.calls == []


@pytest.mark.parametrize(
    ("key", "value", "sent"),
    [
        ("queueURLFromEnv", "QUEUE", {"queueURLFromEnv": "orders"}),
        ("queueURLFromEnv", "EMPTY", {}),
        ("queueURLFromEnv", "UNSET", {}),
        ("queueURL", "QUEUE", {"queueURL": "QUEUE"}),
        ("empty", "", {"empty": ""}),
    ],
)
def test_values_from_the_environment_keep_their_key(key: str, value: str, sent: dict[str, str]) -> None:
    assert resolve({key: value}, {"QUEUE": "orders", "EMPTY": ""}) == sent


async def test_the_environment_is_the_one_given(play: Play) -> None:
    stage = play(shop(Trigger(type="external", metadata={"urlFromEnv": "URL"})), env={"URL": "redis://here"})
    await stage.next("poll")
    assert dict(stage.scaler.refs[0].scalerMetadata) == {"urlFromEnv": "redis://here"}


async def scale(_replicas: int) -> None:
    """Scale nothing."""


async def test_a_repr_tells_no_secret() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        stand_in = StandIn(
            shop(Trigger(type="external", metadata={"url": "here"})), channel, scale, env={"URL": "there"}
        )
        text = repr(stand_in) + repr(stand_in.scaled_object)
    assert "here" not in text


async def test_an_object_without_external_triggers_is_refused() -> None:
    scaled_object = replace(shop(Trigger(type="cron", metadata={})), file="f.yaml", line=3)
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        with pytest.raises(ManifestError, match=r"^f\.yaml:3: shop has no trigger of type external or external-push$"):
            StandIn(scaled_object, channel, scale)
