"""Source `sidekiq`: the share of busy threads, waiting jobs and latency of one workload, straight from Redis."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import ClassVar

from scaler.core.domain import Assessment, Component, Metric, MetricSpec, Place, Readings
from scaler.sources.base import Claim
from scaler.sources.names import metric_name
from scaler.sources.sidekiq import deletion_cost
from scaler.sources.sidekiq.components import QueueState, components
from scaler.sources.sidekiq.doubts import MAX_LOOKED_AROUND, Scene, doubts, escaped, ordinals
from scaler.sources.sidekiq.due_jobs import DueJobs
from scaler.sources.sidekiq.formulas import BusyAim, busy_value, due_soon, from_future, latency
from scaler.sources.sidekiq.imagined import imagined
from scaler.sources.sidekiq.known_queues import KnownQueues, NearQueue
from scaler.sources.sidekiq.metadata import SidekiqMetadata
from scaler.sources.sidekiq.places import OldestJob, QueueDepth
from scaler.sources.sidekiq.plan import Plan
from scaler.sources.sidekiq.private_queues import Orphans, PrivateQueues
from scaler.sources.sidekiq.process_set import ProcessSet
from scaler.sources.sidekiq.workload import Selection, Workload, workload_of

HELD_TARGET = 1.0
"""With target 1 the HPA asks for as many replicas as there are busy pods."""
FUTURE = (
    "the time of a job lies ahead of Redis' clock, so queueLatency stands for its age; compare the clocks of the hosts"
)


_OTHER_PODS: Mapping[str, Callable[[str], str]] = {
    "StatefulSet": ordinals,
    **dict.fromkeys(
        ("ReplicaSet", "ReplicationController"), lambda name: f"hostnameRegex: ^{escaped(name)}-[a-z0-9]{{5}}$"
    ),
}
"""The key for the pods of a kind of workload that names them otherwise than a Deployment, by the workload's name."""


class SidekiqTrigger(SidekiqMetadata):
    """Scales Sidekiq processes on busy threads, waiting jobs and latency."""

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the metrics with a target: busy threads, waiting jobs, latency, held pods."""
        return self._specs

    @cached_property
    def _specs(self) -> tuple[MetricSpec, ...]:
        targets = {
            "busy": self.busy_ratio,
            "waiting": self.queue_length,
            "latency": self.queue_latency,
            "held": HELD_TARGET if self.spare_busy == "hold" else None,
        }
        return tuple(
            MetricSpec(metric_name("sidekiq", kind, *self.queues), target)
            for kind, target in targets.items()
            if target is not None
        )

    def places(self) -> tuple[Place, ...]:
        """Return the places of `plan`."""
        return tuple(self.plan)

    @cached_property
    def plan(self) -> Plan:
        """The places of this trigger."""
        redis, prefix = self.redis_ref(), self.key_prefix
        return Plan(
            processes=ProcessSet(redis, prefix, jobs=self.capsule is not None or self.spares_busy),
            due=DueJobs(redis, prefix, self.schedule_lead_seconds),
            known=KnownQueues(redis, prefix),
            depths=tuple(QueueDepth(redis, prefix, queue) for queue in self.queues),
            oldest=tuple(OldestJob(redis, prefix, queue) for queue in self.queues if self.queue_latency is not None),
            private=PrivateQueues(redis, prefix) if self.super_fetch else None,
        )

    def further_places(self, readings: Readings) -> tuple[Place, ...]:
        """Return the surroundings of queues that Sidekiq does not know, to give a hint at what was meant."""
        readings[self.plan.processes].look_up(self.queues)
        strange = self._scene(readings, self._queues(readings)).strange_queues
        return tuple(map(self._near, strange[:MAX_LOOKED_AROUND]))

    def _near(self, queue: str) -> NearQueue:
        return NearQueue(self.plan.known.redis, self.key_prefix, queue)

    def claims(self) -> tuple[Claim, ...]:
        """Return the Redis and, with `spareBusy`, the namespace of the ScaledObject, whose pods are annotated."""
        pods = (Claim("kubernetes", self.namespace),) if self.spares_busy else ()
        return (*self.redis_claims(), *pods)

    @cached_property
    def selection(self) -> Selection:
        """Which processes belong to the workload."""
        named = Selection(self.deployment, self.hostname_regex, self.tag, self.label, self.capsule)
        return named if named != Selection() else Selection(queues=frozenset(self.queues))

    counts: ClassVar[tuple[str, ...]] = ("waiting", "busy", "latency", "concurrency")

    def imagined(self, counts: Mapping[str, float], replicas: int, now: float) -> Readings:
        """Return the waiting jobs in the first queue, and `replicas` processes that belong to this workload.

        `concurrency` is the threads of each process, `latency` the waiting time of the oldest job in seconds.
        """
        return imagined(self.plan, self.selection, counts, (replicas, now))

    @property
    def one_metric_each(self) -> str:
        """Tell how to be rid of each metric but one."""
        ways = []
        if self.spare_busy == "hold":
            ways.append("spareBusy: hold always has one besides the others, so write prefer or leave it out")
        if len([target for target in (self.busy_ratio, self.queue_length, self.queue_latency) if target]) > 1:
            ways.append(
                "split it into several triggers: "
                '`busyRatio: "off"` leaves the busy metric out of one with queueLength or queueLatency'
            )
        return "; ".join(ways)

    def cautions(self, target_kind: str, max_replicas: int, target_name: str = "") -> tuple[str, ...]:
        """Warn of keys that do not fit the workload."""
        del max_replicas
        cautions = []
        if self.deployment is not None and target_kind in _OTHER_PODS:
            pods = _OTHER_PODS[target_kind](target_name or self.deployment)
            cautions.append(
                f"deployment chooses pods by the names that a Deployment gives them, so no pod of a {target_kind} fits; "
                f"instead of it write {pods}"
            )
        elif self.deployment is not None and target_name not in {"", self.deployment}:
            cautions.append(
                f"deployment {self.deployment}: its processes count, while {target_name} is scaled; "
                f"write deployment: {target_name}"
            )
        if self.spares_busy and target_kind in {"StatefulSet", "Job"}:
            cautions.append(
                f"spareBusy: {self.spare_busy} is for pods of a ReplicaSet, from which Kubernetes takes those of the least "
                f"deletion cost first; it is of no use for a {target_kind}, so leave spareBusy out"
            )
        if target_kind == "Job" and self.busy_ratio is not None:
            cautions.append(
                "the busy metric counts work that has begun, for which no Job is wanted; "
                'write busyRatio: "off", and queueLength for the jobs that wait'
            )
        return tuple(cautions)

    @property
    def spares_busy(self) -> bool:
        """Whether deletion costs are written to the pods."""
        return self.spare_busy != "off"

    def deletion_costs(self, readings: Readings, now: float) -> Mapping[str, int]:
        """Return `pod-deletion-cost` for each pod of the workload by its name, at Unix time `now`.

        How long jobs have run is read only with `spareBusy`; see `deletion_cost.deletion_cost`.
        """
        return deletion_cost.deletion_costs(readings[self.plan.processes], self.selection, now)

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Assess busy threads, waiting jobs, latency and due jobs; times are compared by the clock of Redis."""
        processes = readings[self.plan.processes]
        processes.look_up(self.queues)
        workload = workload_of(processes, self.selection)
        queues = self._queues(readings)
        open_queues = {queue.name for queue in queues if not queue.paused}
        waiting = sum(queue.waiting for queue in queues if not queue.paused)
        due, until = due_soon(readings[self.plan.due], open_queues, self.schedule_lead_seconds, now)
        values, noted = [], []
        average = self.metric_type == "AverageValue"
        count = max(1, workload.processes + workload.unclear)
        if self.busy_ratio is not None:
            aim = BusyAim(self.busy_ratio, average, self.count_waiting, self.concurrency)
            values.append(busy_value(aim, workload, waiting))
        if self.queue_length is not None:
            values.append(float(waiting) if average else waiting / count)
        if self.queue_latency is not None:
            jobs = [readings[place] for place in self.plan.oldest if place.queue in open_queues]
            age = latency(jobs, now, target=self.queue_latency)
            values.append(age * count if average else age)
            noted.append(Component("oldest job", age, "s", FUTURE if from_future(jobs, now) else ""))
            if any(job.since is not None for job in jobs):
                until = now
        if self.spare_busy == "hold":
            held, there = deletion_cost.held_pods(processes, self.selection)
            values.append(float(held) if average else held / max(1, there))
            noted.append(Component("held pods", held, "pods", f"held at {held}: {held} pods have a busy thread"))
        if due:
            noted.append(Component("due jobs", due, "jobs", f"within {self.schedule_lead_seconds:g} s"))
        scene = self._scene(readings, queues)
        near = {queue: readings[place] for queue in scene.strange_queues if (place := self._near(queue)) in readings}
        doubtful = tuple(doubts(scene, near))
        reasons = tuple(self._reasons(waiting, workload, due))
        return Assessment(
            metrics=tuple(Metric(spec.name, value) for spec, value in zip(self.specs(), values, strict=True)),
            active=bool(reasons),
            reasons=reasons or (self._idle_reason(queues, workload), *doubtful),
            components=(*components(queues, workload, processes, scene.known), *noted),
            until=until,
            doubts=doubtful,
        )

    def _queues(self, readings: Readings) -> tuple[QueueState, ...]:
        orphans: Orphans = Orphans() if self.plan.private is None else readings[self.plan.private]
        return tuple(
            QueueState(place.queue, readings[place].waiting, orphans.of(place.queue), readings[place].paused)
            for place in self.plan.depths
        )

    def _scene(self, readings: Readings, queues: tuple[QueueState, ...]) -> Scene:
        due = readings[self.plan.due].times
        return Scene(
            self.selection,
            self.key_prefix,
            readings[self.plan.processes],
            {queue.name: queue.waiting + len(due.get(queue.name, ())) for queue in queues},
            readings[self.plan.known],
        )

    def _reasons(self, waiting: int, workload: Workload, due: int) -> Iterator[str]:
        """Yield everything that makes the trigger active."""
        if waiting > self.activation_queue_length:
            yield f"{waiting} waiting jobs, more than activationQueueLength {self.activation_queue_length}"
        if self.hold_busy and workload.held:
            yield f"{workload.held} busy threads"
        if self.hold_busy and workload.doubtful:
            yield f"{workload.doubtful} processes may be busy: what they report cannot be understood"
        if due:
            yield f"{due} scheduled or retried jobs due within {self.schedule_lead_seconds:g} s"

    def _idle_reason(self, queues: tuple[QueueState, ...], workload: Workload) -> str:
        waiting = sum(queue.waiting for queue in queues if not queue.paused)
        paused = sum(queue.waiting for queue in queues if queue.paused)
        aside = f" ({paused} in paused queues do not count)" if paused else ""
        if waiting:
            return f"{waiting} waiting jobs{aside}, not more than activationQueueLength {self.activation_queue_length}"
        if workload.held:
            return (
                f"no job waits{aside} or falls due soon; {workload.held} busy threads do not hold, as holdBusy is false"
            )
        return f"no job waits{aside}, is under way or falls due soon"
