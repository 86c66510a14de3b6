"""Source `sidekiq`: the share of busy threads, waiting jobs and latency of one workload, straight from Redis."""

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import ClassVar

from pydantic import Field, field_validator

from scaler.core.domain import Assessment, Component, Metric, MetricSpec, Place, Readings
from scaler.sources.base import (
    Claim,
    CommaList,
    Count,
    Flag,
    Interval,
    Seconds,
    Target,
    idle_refresh_field,
    refresh_field,
    settle_field,
)
from scaler.sources.names import metric_name
from scaler.sources.redis_keys import RedisKeys
from scaler.sources.sidekiq.formulas import BusyAim, busy_value, due_soon, latency
from scaler.sources.sidekiq.imagined import imagined
from scaler.sources.sidekiq.places import DueJobs, OldestJob, Plan, ProcessSet, QueueDepth
from scaler.sources.sidekiq.state import Processes
from scaler.sources.sidekiq.workload import Selection, Workload, compile_pattern, workload_of

MAX_BUSY_RATIO = 16.0
"""Above 1 for several processes in a pod or for `countWaiting`; a percentage is a mistake."""
MAX_DEPLOYMENT_NAME = 46
"""A pod's name keeps 58 characters before its five random ones (Kubernetes names/generate.go), 12 are the hash's."""


class SidekiqTrigger(RedisKeys):
    """Scales Sidekiq processes on what Sidekiq tells of itself in Redis."""

    queues: CommaList = Field(description="The queues that wake this workload, separated by commas.")
    deployment: str | None = Field(None, description="Only processes in pods of this Deployment.")
    hostname_regex: str | None = Field(
        None, description="Only processes whose host name has a part that fits this regular expression (RE2)."
    )
    tag: str | None = Field(None, description="Only processes with this tag (`:tag:` in sidekiq.yml, `-g`).")
    label: str | None = Field(None, description="Only processes with this label (`:labels:` in sidekiq.yml).")
    capsule: str | None = Field(
        None, description="Only this capsule of each process, which Sidekiq tells from 8.0.9 on."
    )
    busy_ratio: Target = Field(0.75, le=MAX_BUSY_RATIO, description="Target share of busy threads.")
    queue_length: Target | None = Field(None, description="Target of a second metric: waiting jobs per process.")
    queue_latency: Target | None = Field(
        None, description="Target of a third metric: seconds that the oldest waiting job may have waited."
    )
    count_waiting: Flag = Field(
        False, description="Count waiting jobs as if busy, so that one step reaches the needed size."
    )
    concurrency: Count | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Threads per process, for `countWaiting` while no process tells it; otherwise learned.",
    )
    activation_queue_length: Count = Field(0, description="Active above this many waiting jobs.")
    schedule_lead_seconds: Seconds = Field(
        30, description="Wake for scheduled and retried jobs that are due within this time."
    )
    hold_busy: Flag = Field(
        True, description="Busy threads, on quiet (terminating) processes too, keep the workload active."
    )
    key_prefix: str = Field("", description="Namespace of redis-namespace, with Sidekiq 6 and older.")
    refresh_seconds: Interval = refresh_field(5)
    idle_refresh_seconds: Interval = idle_refresh_field(0.25)
    settle_seconds: Seconds = settle_field(15)

    @field_validator("queues")
    @classmethod
    def _check_queues(cls, queues: tuple[str, ...]) -> tuple[str, ...]:
        if any(queue.startswith("queue:") for queue in queues):
            raise ValueError("names of queues, without the `queue:` of their keys")
        return queues

    @field_validator("deployment")
    @classmethod
    def _check_deployment(cls, deployment: str | None) -> str | None:
        if deployment is not None and not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", deployment):
            raise ValueError("the name of a Deployment")
        if deployment is not None and len(deployment) > MAX_DEPLOYMENT_NAME:
            raise ValueError(
                f"at most {MAX_DEPLOYMENT_NAME} characters, since the names of pods are cut; use hostnameRegex instead"
            )
        return deployment

    @field_validator("hostname_regex")
    @classmethod
    def _check_regex(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            compile_pattern(pattern)
        return pattern

    @field_validator("key_prefix")
    @classmethod
    def _end_with_colon(cls, prefix: str) -> str:
        """Accept the namespace itself too: redis-namespace puts a colon after it."""
        return prefix if not prefix or prefix.endswith(":") else f"{prefix}:"

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the busy metric, and those of waiting jobs and of latency where they have a target."""
        return self._specs

    @cached_property
    def _specs(self) -> tuple[MetricSpec, ...]:
        targets = (("busy", self.busy_ratio), ("waiting", self.queue_length), ("latency", self.queue_latency))
        return tuple(
            MetricSpec(metric_name("sidekiq", kind, *self.queues), target)
            for kind, target in targets
            if target is not None
        )

    def places(self) -> tuple[Place, ...]:
        """Return the processes, what falls due, and every queue."""
        return tuple(self.plan)

    @cached_property
    def plan(self) -> Plan:
        """The places of this trigger."""
        redis, prefix = self.redis_ref(), self.key_prefix
        return Plan(
            processes=ProcessSet(redis, prefix, jobs=self.capsule is not None),
            due=DueJobs(redis, prefix, self.schedule_lead_seconds),
            depths=tuple(QueueDepth(redis, prefix, queue) for queue in self.queues),
            oldest=tuple(OldestJob(redis, prefix, queue) for queue in self.queues if self.queue_latency is not None),
        )

    def claims(self) -> tuple[Claim, ...]:
        """Return the Redis."""
        return self.redis_claims()

    @cached_property
    def selection(self) -> Selection:
        """Which processes belong to the workload."""
        named = Selection(self.deployment, self.hostname_regex, self.tag, self.label, self.capsule)
        return named if named != Selection() else Selection(queues=frozenset(self.queues))

    counts: ClassVar[tuple[str, ...]] = ("waiting", "busy", "latency", "concurrency")

    def imagined(self, counts: Mapping[str, float], replicas: int, now: float) -> Readings:
        """Return the waiting jobs in the first queue, and `replicas` processes that belong to this workload.

        `concurrency` is that of each process, and `latency` since when the oldest job waits, in seconds.
        """
        return imagined(self.plan, self.selection, counts, (replicas, now))

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Judge by the counts of Redis and, for what is due and how long jobs have waited, by its clock."""
        processes: Processes = readings[self.plan.processes]
        workload = workload_of(processes, self.selection)
        depths = [(place.queue, readings[place]) for place in self.plan.depths]
        open_queues = {queue for queue, depth in depths if not depth.paused}
        waiting = sum(depth.waiting for queue, depth in depths if queue in open_queues)
        due, until = due_soon(readings[self.plan.due], open_queues, self.schedule_lead_seconds, now)
        components = [
            *(_depth_component(queue, depth.waiting, paused=depth.paused) for queue, depth in depths),
            *_process_components(workload, processes),
            Component("due jobs", due, "jobs", f"within {self.schedule_lead_seconds:g} s") if due else None,
        ]
        average = self.metric_type == "AverageValue"
        aim = BusyAim(self.busy_ratio, average, self.count_waiting, self.concurrency)
        values = [busy_value(aim, workload, waiting)]
        count = max(1, workload.processes + workload.unclear)
        if self.queue_length is not None:
            values.append(float(waiting) if average else waiting / count)
        if self.queue_latency is not None:
            jobs = [readings[place] for place in self.plan.oldest if place.queue in open_queues]
            age = latency(jobs, now, target=self.queue_latency)
            values.append(age * count if average else age)
            components.append(Component("oldest job", age, "s"))
            if any(job.since is not None for job in jobs):
                until = now
        reasons = tuple(self._reasons(waiting, workload, due))
        return Assessment(
            metrics=tuple(Metric(spec.name, value) for spec, value in zip(self.specs(), values, strict=True)),
            active=bool(reasons),
            reasons=reasons or (self._idle_reason(waiting, workload),),
            components=tuple(component for component in components if component is not None),
            until=until,
        )

    def _reasons(self, waiting: int, workload: Workload, due: int) -> Iterator[str]:
        """Tell everything that makes it active."""
        if waiting > self.activation_queue_length:
            yield f"{waiting} waiting jobs, more than activationQueueLength {self.activation_queue_length}"
        if self.hold_busy and workload.held:
            yield f"{workload.held} busy threads"
        if self.hold_busy and workload.doubtful:
            yield f"{workload.doubtful} processes may be busy: what they tell cannot be understood"
        if due:
            yield f"{due} scheduled or retried jobs due within {self.schedule_lead_seconds:g} s"

    def _idle_reason(self, waiting: int, workload: Workload) -> str:
        if waiting:
            return f"{waiting} waiting jobs, not more than activationQueueLength {self.activation_queue_length}"
        if workload.held:
            return f"no job waits or falls due soon; {workload.held} busy threads do not hold, as holdBusy is false"
        return "no job waits, is under way or falls due soon"


def _depth_component(queue: str, waiting: int, *, paused: bool) -> Component:
    return Component(f"waiting in {queue}", waiting, "jobs", "paused, so not counted" if paused else "")


def _process_components(workload: Workload, processes: Processes) -> Iterator[Component]:
    yield Component("busy threads", workload.busy, "threads")
    yield Component("threads", workload.concurrency, "threads")
    yield Component("processes", workload.processes, "processes")
    others = (
        ("quiet processes", workload.quiet, "take no more jobs, so no capacity; their busy threads hold"),
        ("late processes", workload.late, "no heartbeat for 30 s, so no capacity; their busy threads hold"),
        ("unclear processes", workload.unclear, "threads or busy threads cannot be understood, so skipped"),
        ("doubtful processes", workload.doubtful, "may be busy with jobs of this workload, so they hold"),
        ("ghost processes", processes.ghosts, "of this Redis: in `processes`, but without a heartbeat"),
        ("strangers", processes.strangers, "members of `processes` of this Redis that are no heartbeat, so skipped"),
    )
    for name, count, note in others:
        if count:
            yield Component(name, count, "processes", note)
