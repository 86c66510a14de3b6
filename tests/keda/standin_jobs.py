"""A stand-in for KEDA and one ScaledJob: calls an external scaler over gRPC and starts Jobs, without a cluster."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import grpc

from scaler.core.clock import Clock, SystemClock, sleep
from scaler.keda.client import ExternalScaler, ScalersCache, external_scalers
from scaler.keda.executor import MetricResult, Missing
from scaler.keda.jobs import JobCounts, Started, poll
from scaler.keda.scalable import ScaledJob


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One poll of KEDA."""

    at: float  # Unix seconds
    started: Started
    jobs: JobCounts  # before KEDA started any
    answers: tuple[tuple[MetricResult, ...], ...] = ()  # of each trigger; empty if GetMetricSpec failed
    errors: tuple[str, ...] = ()  # texts of the failed calls


def _ignore(_event: JobEvent) -> None:
    """Do nothing."""


@dataclass(eq=False, repr=False)
class JobStandIn:
    """KEDA of one ScaledJob, from its creation on. Only external triggers are used.

    A ScaledJob has no HPA. KEDA calls its triggers one after the other, without a retry of GetMetricSpec. A push starts
    nothing, so no stream is opened here. Source: KEDA pkg/scaling/scale_handler.go, getScaledJobMetrics.
    """

    scaled_job: ScaledJob
    channel: grpc.aio.Channel
    start: Callable[[int], Awaitable[None]]
    """Awaited with the number of Jobs to start; should return at once."""
    jobs: Callable[[], JobCounts]
    """Returns the counts of unfinished Jobs."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The environment of the Job's container, for the keys `…FromEnv`."""
    on_event: Callable[[JobEvent], None] = _ignore
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        """Prepare without calling anything; `run` starts it."""
        self._errors: list[str] = []
        self._scalers = external_scalers(self.channel, self.scaled_job, self.env, self._errors.append)

    async def run(self) -> None:
        """Poll at a fixed interval until cancelled; a paused ScaledJob is not polled."""
        while not self.scaled_job.paused:
            due = self.clock.now() + self.scaled_job.polling_interval
            answers = [await self._ask(scaler) for scaler in self._scalers]
            jobs = self.jobs()
            started = poll(self.scaled_job, answers, jobs)
            errors = tuple(self._errors)
            self._errors.clear()
            self.on_event(JobEvent(self.clock.wall(), started, jobs, tuple(map(tuple, answers)), errors))
            if started.jobs:
                await self.start(started.jobs)
            await sleep(self.clock, max(0.0, due - self.clock.now()))

    async def _ask(self, scaler: ExternalScaler) -> Sequence[MetricResult]:
        cache = ScalersCache()  # no other caller can close it
        specs = await scaler.specs(cache, tries=1)
        return [] if isinstance(specs, Missing) else [await scaler.result(spec, cache) for spec in specs]
