"""A stand-in for KEDA and the HPA: calls an external scaler over gRPC and scales a workload, without a cluster."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Literal

import grpc

from scaler.core.clock import Clock, SystemClock, sleep
from scaler.keda.autoscaler import Autoscaler
from scaler.keda.client import ExternalScaler, ScalersCache, Spec, external_scalers
from scaler.keda.executor import MetricResult, Missing
from scaler.keda.formula import Formula, compiled
from scaler.keda.hpa import ControllerFlags, Decision
from scaler.keda.quantity import milli
from scaler.keda.scalable import ScaledObject

_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 60.0
_FIRST_REQUEUE_SECONDS, _LONGEST_REQUEUE_SECONDS = 0.005, 1000.0


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that KEDA or the HPA did."""

    at: float  # Unix seconds
    cause: Literal["reconcile", "poll", "push", "sync"]
    replicas: int  # of the workload, from now on
    reason: str
    active: bool | None = None  # None for a sync of the HPA
    results: tuple[MetricResult, ...] = ()
    decision: Decision | None = None  # only of a sync
    errors: tuple[str, ...] = ()  # texts of the calls that failed since the last event


def _ignore(_event: Event) -> None:
    """Do nothing."""


@dataclass(eq=False, repr=False)
class StandIn:
    """KEDA and the HPA of one ScaledObject, from its creation on. Only external triggers are used.

    `scale` is awaited with every new number of replicas and should return at once. Modelled on KEDA 2.20.2 and, for
    StreamMetricSpec, on its main branch: controllers/keda, pkg/scaling/scale_handler.go,
    pkg/scalers/external_scaler.go.

    A bug of KEDA is part of the model: an HPA query that fails closes the scalers during a failing call of a poll, and
    the poll then has neither an error nor activity, whatever `fallback` says. So KEDA scales to zero after the
    cooldown.
    """

    scaled_object: ScaledObject
    channel: grpc.aio.Channel
    scale: Callable[[int], Awaitable[None]]
    initial_replicas: InitVar[int] = 0
    """The first number of replicas of the workload."""
    ready: Callable[[], int] | None = None
    """Returns the number of ready pods; without it all pods are ready."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The environment of the workload's container, for the keys `…FromEnv`."""
    on_event: Callable[[Event], None] = _ignore
    clock: Clock = field(default_factory=SystemClock)
    flags: ControllerFlags = field(default_factory=ControllerFlags)
    notes_closed_scalers: bool = False
    """True for a KEDA without that bug: a call that was interrupted by closed scalers counts as an error."""
    formula: Formula | None = None
    """The formula of `scalingModifiers`, for one that cannot be worked out here."""

    def __post_init__(self, initial_replicas: int) -> None:
        """Prepare without calling anything; `run` starts it. Raises `FormulaError` for a formula that is not known here."""
        self._errors: list[str] = []
        self._scalers = external_scalers(self.channel, self.scaled_object, self.env, self._errors.append)
        modifiers = self.scaled_object.advanced.scaling_modifiers
        if modifiers is None:
            self.formula = None
        elif self.formula is None and modifiers.target_value > 0:
            names = {self.scaled_object.triggers[scaler.index].name for scaler in self._scalers}
            self.formula = compiled(modifiers.formula, names)
        self._autoscaler = Autoscaler(self.scaled_object, self.clock.wall(), initial_replicas, self.flags, self.formula)
        self._hpa_metrics: dict[int, tuple[Spec, ...]] = {}  # by trigger, since the last reconcile
        self._streamed: dict[int, tuple[Spec, ...]] = {}
        self._heard: set[int] = set()  # triggers whose StreamMetricSpec has told something since it was opened
        self._cache = ScalersCache()
        self._scaling = asyncio.Lock()  # KEDA's scalingMutex: a poll that hangs blocks pushes
        self._scaled_to = initial_replicas
        self._applying = asyncio.Lock()

    @property
    def replicas(self) -> int:
        """The number of replicas that the workload should have now."""
        return self._autoscaler.replicas

    async def run(self) -> None:
        """Poll, sync and listen until cancelled; a paused ScaledObject is only scaled to its fixed number."""
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
        """Write the metrics into the HPA, without those of failing triggers; tell whether there is an HPA now."""
        specs: dict[int, tuple[Spec, ...]] = {}
        for scaler in self._scalers:
            answer = await self._specs(scaler, self._cache)
            specs[scaler.index] = () if isinstance(answer, Missing) else answer
        found = [spec for trigger in specs.values() for spec in trigger]
        if not found or not all(milli(spec.target) for spec in found):  # the HPA refuses a target of 0
            return False
        self._hpa_metrics = specs
        return True

    async def _specs(self, scaler: ExternalScaler, cache: ScalersCache) -> tuple[Spec, ...] | Missing:
        """Return the streamed specs, also an empty list; without a stream call GetMetricSpec."""
        streamed = self._streamed.get(scaler.index)
        return await scaler.specs(cache) if streamed is None else streamed

    async def _poll_forever(self) -> None:
        """Poll at a fixed interval; when an error is over, KEDA reconciles, because Ready becomes true."""
        ready = True
        while True:
            due = self.clock.now() + self._autoscaler.scaled_object.polling_interval
            async with self._scaling:
                cache = self._cache
                answers = await asyncio.gather(*(self._poll(scaler, cache) for scaler in self._scalers))
                results = self._noted([result for answer in answers for result in answer])
                outcome = self._autoscaler.poll(self.clock.wall(), results, self._ready_pods())
                await self._done("poll", outcome.reason, results, active=outcome.active)
            was_ready, ready = ready, not any(result.failed for result in results)
            if not ready:
                self._clear(cache)
            elif not was_ready:
                await self._reconcile()
            await sleep(self.clock, max(0.0, due - self.clock.now()))

    async def _poll(self, scaler: ExternalScaler, cache: ScalersCache) -> Sequence[MetricResult]:
        specs = await self._specs(scaler, cache)
        if isinstance(specs, Missing):
            return [scaler.without_specs(specs)]
        return [await scaler.result(spec, cache) for spec in specs]

    def _noted(self, results: Sequence[MetricResult]) -> list[MetricResult]:
        """Return `results`, with `notes_closed_scalers` as a KEDA without the bug would note them."""
        closed = Missing.CACHE_CLOSED if self.notes_closed_scalers else None
        return [result._replace(value=Missing.FAILED) if result.value is closed else result for result in results]

    def _clear(self, cache: ScalersCache) -> None:
        """Close the scalers after an error, even if other calls use them; the next call makes new ones."""
        cache.closed = True
        self._streamed.clear()
        if cache is self._cache:
            self._cache = ScalersCache()

    async def _sync_forever(self) -> None:
        """Sync one period after the HPA was created, and again one period after the end of each sync."""
        while True:
            await sleep(self.clock, self.flags.sync_period_seconds)
            replicas, read = self.replicas, await self._hpa_reads()
            if replicas != self.replicas:
                continue  # KEDA has scaled meanwhile, so the HPA's update fails as a conflict
            decision = self._autoscaler.sync(self.clock.wall(), read, ready=self._ready_pods())
            await self._done("sync", decision.reason or decision.scaling_active, read, decision=decision)

    async def _hpa_reads(self) -> list[MetricResult]:
        """Read the metrics of a sync: one by one, or with a formula all in one query."""
        if not self._autoscaler.looks_at_metrics():
            return []
        metrics = [(scaler, spec) for scaler in self._scalers for spec in self._hpa_metrics[scaler.index]]
        if self.formula is not None:
            return await self._hpa_query(metrics)
        return [result for metric in metrics for result in await self._hpa_query([metric])]

    async def _hpa_query(self, metrics: Sequence[tuple[ExternalScaler, Spec]]) -> list[MetricResult]:
        """Answer one query of the HPA: KEDA first gets the specs of every trigger, and needs all of them."""
        cache = self._cache
        lists = [await self._specs(scaler, cache) for scaler in self._scalers]
        missing = [specs for specs in lists if isinstance(specs, Missing)]
        known = {spec.name.lower() for specs in lists if not isinstance(specs, Missing) for spec in specs}
        results = []
        for scaler, metric in metrics:
            if missing:
                why = Missing.NO_SPECS if Missing.NO_SPECS in missing else Missing.CACHE_CLOSED
                result = scaler.without_specs(why)._replace(name=metric.name, target=metric.target)
            elif metric.name.lower() not in known:
                result = MetricResult(metric.name, metric.type, metric.target, Missing.NO_VALUES)
            else:
                result = self._autoscaler.cached(metric.name) or await scaler.result(metric, cache)
            results.append(result)
        results = self._noted(results)
        if any(result.failed for result in results):
            self._clear(cache)
        return results

    async def _keep_open(
        self, stream: str, hear: Callable[[ExternalScaler], Awaitable[None]], scaler: ExternalScaler
    ) -> None:
        """Open a stream again 2 s after its end, then after doubled pauses up to 60 s; a clean end resets that.

        So does a list of specs that came before an error.
        """
        retry = _FIRST_RETRY_SECONDS
        while True:
            try:
                await hear(scaler)
                retry = _FIRST_RETRY_SECONDS
            except grpc.aio.AioRpcError as error:
                if stream == "StreamMetricSpec" and error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return
                self._errors.append(f"{stream}: {error.code().name}: {error.details()}")
                if stream == "StreamMetricSpec" and scaler.index in self._heard:
                    retry = _FIRST_RETRY_SECONDS
                    self._heard.discard(scaler.index)
            await sleep(self.clock, retry)
            retry = min(2 * retry, _LONGEST_RETRY_SECONDS)

    async def _hear_activity(self, scaler: ExternalScaler) -> None:
        """Process every `true`; KEDA drops every `false`, and a `true` before the HPA has the trigger's metrics."""
        async for active in scaler.activity():
            if active and self._hpa_metrics[scaler.index]:
                async with self._scaling:
                    outcome = self._autoscaler.push(self.clock.wall())
                    await self._done("push", outcome.reason, (), active=True)

    async def _hear_specs(self, scaler: ExternalScaler) -> None:
        """Use every list, also an empty one, instead of GetMetricSpec, and write it into the HPA."""
        async for specs in scaler.streamed_specs():
            self._streamed[scaler.index] = specs
            self._heard.add(scaler.index)
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
        """Report the event, and scale the workload."""
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
