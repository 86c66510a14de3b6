"""A stand-in for KEDA and the HPA: asks a running external scaler over gRPC and scales a workload, without a cluster."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Literal

import grpc

from scaler.core.clock import Clock, SystemClock, sleep
from scaler.keda.autoscaler import Autoscaler
from scaler.keda.client import ExternalScaler, Spec
from scaler.keda.executor import MetricResult, Missing
from scaler.keda.findings import ManifestError
from scaler.keda.hpa import ControllerFlags, Decision
from scaler.keda.quantity import milli
from scaler.keda.scalable import ScaledObject
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub

_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 60.0
_FIRST_REQUEUE_SECONDS, _LONGEST_REQUEUE_SECONDS = 0.005, 1000.0


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that KEDA or the HPA did."""

    at: float  # Unix seconds
    cause: Literal["reconcile", "poll", "push", "sync"]
    replicas: int  # what the workload has from now on
    reason: str
    active: bool | None = None  # a sync of the HPA does not look at it
    results: tuple[MetricResult, ...] = ()
    decision: Decision | None = None  # of a sync
    errors: tuple[str, ...] = ()  # the texts of the calls that failed since the event before


def _ignore(_event: Event) -> None:
    """Take an event and do nothing."""


@dataclass(eq=False, repr=False)
class StandIn:
    """KEDA and the HPA of one ScaledObject, from the moment it is made. Triggers that are not external are passed over.

    `scale` is awaited with every new count of replicas and should return at once. Modelled on KEDA's main branch, which
    has StreamMetricSpec: controllers/keda, pkg/scaling/scale_handler.go, pkg/scalers/external_scaler.go.
    """

    scaled_object: ScaledObject
    channel: grpc.aio.Channel
    scale: Callable[[int], Awaitable[None]]
    initial_replicas: InitVar[int] = 0
    """What the workload has at first."""
    ready: Callable[[], int] | None = None
    """How many pods Kubernetes would call ready; all of them, if it is not given."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The environment of the workload's container, for the keys `…FromEnv`."""
    on_event: Callable[[Event], None] = _ignore
    clock: Clock = field(default_factory=SystemClock)
    flags: ControllerFlags = field(default_factory=ControllerFlags)

    def __post_init__(self, initial_replicas: int) -> None:
        """Prepare; nothing is called before `run`."""
        self._autoscaler = Autoscaler(self.scaled_object, self.clock.wall(), initial_replicas, self.flags)
        self._errors: list[str] = []
        stub = ExternalScalerStub(self.channel)
        self._scalers = [
            ExternalScaler(stub, self.scaled_object, index, self.env, self._errors.append)
            for index, trigger in enumerate(self.scaled_object.triggers)
            if trigger.type in {"external", "external-push"}
        ]
        if not self._scalers:
            place = f"{self.scaled_object.file}:{self.scaled_object.line}"
            raise ManifestError(f"{place}: {self.scaled_object.name} has no trigger of type external or external-push")
        self._hpa_metrics: dict[int, tuple[Spec, ...]] = {}  # by trigger, as the last reconcile wrote them
        self._streamed: dict[int, tuple[Spec, ...]] = {}
        self._scaling = asyncio.Lock()  # KEDA's scalingMutex: a poll that hangs blocks pushes
        self._scaled_to = initial_replicas
        self._applying = asyncio.Lock()

    @property
    def replicas(self) -> int:
        """What the workload should have now."""
        return self._autoscaler.replicas

    async def run(self) -> None:
        """Poll, sync and listen until cancelled; a paused ScaledObject is only brought to its count."""
        await self._apply()
        if self._autoscaler.paused:
            return
        requeue = _FIRST_REQUEUE_SECONDS
        while not await self._reconcile():
            await self._done("reconcile", "ScaledObjectCheckFailed", ())
            await sleep(self.clock, requeue)
            requeue = min(2 * requeue, _LONGEST_REQUEUE_SECONDS)
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._poll_forever())
            loops.create_task(self._sync_forever())
            for scaler in self._scalers:
                if scaler.pushes:
                    loops.create_task(self._keep_open("StreamIsActive", self._hear_activity, scaler))
                    loops.create_task(self._keep_open("StreamMetricSpec", self._hear_specs, scaler))

    async def _reconcile(self) -> bool:
        """Write the metrics into the HPA, those of a failing trigger left out; return whether there is an HPA now."""
        specs = {scaler.index: await self._specs(scaler) or () for scaler in self._scalers}
        found = [spec for trigger in specs.values() for spec in trigger]
        if not found or not all(milli(spec.target) for spec in found):  # the HPA refuses a target of 0
            return False
        self._hpa_metrics = specs
        return True

    async def _specs(self, scaler: ExternalScaler) -> tuple[Spec, ...] | None:
        """Return what was streamed, an empty list too, or else ask; None if that fails."""
        streamed = self._streamed.get(scaler.index)
        return await scaler.specs() or None if streamed is None else streamed

    async def _poll_forever(self) -> None:
        """Poll at a fixed interval; after an error is over, KEDA reconciles, because Ready turns true."""
        ready = True
        while True:
            due = self.clock.now() + self._autoscaler.scaled_object.polling_interval
            async with self._scaling:
                answers = await asyncio.gather(*map(self._poll, self._scalers))
                results = tuple(result for answer in answers for result in answer)
                outcome = self._autoscaler.poll(self.clock.wall(), results, self._ready_pods())
                await self._done("poll", outcome.reason, results, active=outcome.active)
            was_ready, ready = ready, not any(result.failed for result in results)
            if not ready:
                self._streamed.clear()
            elif not was_ready:
                await self._reconcile()
            await sleep(self.clock, max(0.0, due - self.clock.now()))

    async def _poll(self, scaler: ExternalScaler) -> Sequence[MetricResult]:
        specs = await self._specs(scaler)
        if specs is None:
            return [scaler.no_specs()]
        return [await scaler.result(spec) for spec in specs]

    async def _sync_forever(self) -> None:
        """Sync a period after the HPA was made, and again a period after each sync ended."""
        while True:
            await sleep(self.clock, self.flags.sync_period_seconds)
            replicas, results = self.replicas, []
            if self._autoscaler.looks_at_metrics():
                for scaler in self._scalers:
                    results += [await self._hpa_read(scaler, spec) for spec in self._hpa_metrics[scaler.index]]
            if replicas != self.replicas:
                continue  # KEDA scaled meanwhile: the HPA's update is refused as a conflict
            decision = self._autoscaler.sync(self.clock.wall(), results, ready=self._ready_pods())
            if any(result.failed for result in results):
                self._streamed.clear()
            await self._done("sync", decision.reason or decision.scaling_active, results, decision=decision)

    async def _hpa_read(self, scaler: ExternalScaler, metric: Spec) -> MetricResult:
        """Answer one query of the HPA: KEDA asks every trigger for its specs first, and needs them all."""
        lists = [await self._specs(other) for other in self._scalers]
        known = {spec.name.lower() for specs in lists for spec in specs or ()}
        if None in lists:
            return scaler.no_specs()._replace(name=metric.name, target=metric.target)
        if metric.name.lower() not in known:
            return MetricResult(metric.name, metric.type, metric.target, Missing.NO_VALUES)
        return self._autoscaler.cached(metric.name) or await scaler.result(metric)

    async def _keep_open(
        self, stream: str, hear: Callable[[ExternalScaler], Awaitable[None]], scaler: ExternalScaler
    ) -> None:
        """Open a stream again 2 s after it ended, then after twice as long up to 60 s; only a good end resets that."""
        retry = _FIRST_RETRY_SECONDS
        while True:
            try:
                await hear(scaler)
                retry = _FIRST_RETRY_SECONDS
            except grpc.aio.AioRpcError as error:
                if stream == "StreamMetricSpec" and error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return
                self._errors.append(f"{stream}: {error.code().name}: {error.details()}")
            await sleep(self.clock, retry)
            retry = min(2 * retry, _LONGEST_RETRY_SECONDS)

    async def _hear_activity(self, scaler: ExternalScaler) -> None:
        """Act on every `true`, as soon as the HPA has the trigger's metrics; KEDA drops it before, and every `false`."""
        async for active in scaler.activity():
            if active and self._hpa_metrics[scaler.index]:
                async with self._scaling:
                    outcome = self._autoscaler.push(self.clock.wall())
                    await self._done("push", outcome.reason, (), active=True)

    async def _hear_specs(self, scaler: ExternalScaler) -> None:
        """Take every list in place of GetMetricSpec, an empty one too, and write it into the HPA."""
        async for specs in scaler.streamed_specs():
            self._streamed[scaler.index] = specs
            await self._reconcile()

    async def _done(
        self,
        cause: Literal["reconcile", "poll", "push", "sync"],
        reason: str,
        results: Sequence[MetricResult],
        *,
        active: bool | None = None,
        decision: Decision | None = None,
    ) -> None:
        """Tell what happened, and bring the workload to its replicas."""
        errors = tuple(self._errors)
        self._errors.clear()
        at = self.clock.wall()
        self.on_event(Event(at, cause, self.replicas, reason, active, tuple(results), decision, errors))
        await self._apply()

    async def _apply(self) -> None:
        async with self._applying:
            if self._scaled_to != self.replicas:
                self._scaled_to = self.replicas
                await self.scale(self._scaled_to)

    def _ready_pods(self) -> int | None:
        return None if self.ready is None else self.ready()
