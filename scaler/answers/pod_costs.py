"""Decides which pods get which deletion cost, for `spareBusy`. Pure.

When Kubernetes scales a ReplicaSet in, it removes the pods with the lowest `controller.kubernetes.io/pod-deletion-cost`
first; a pod without the annotation counts as 0. Costs are written

- only to pods that Kubernetes could choose: of a ReplicaSet, neither ended nor being deleted;
- only if the cost differs, and only while a trigger that knows the pod asks for fewer pods than there are;
- never over a cost that another field manager has written, by `managedFields`;
- never from readings older than the last write, so that replicas of the scaler need not agree with each other: one
  that lags behind does not undo the write of another;
- never lower before the readings have settled, because a backend that has lost its data shows every pod as idle.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from scaler.clients.kubernetes.api import FIELD_MANAGER
from scaler.keda.arithmetic import Metric, Pods, Tolerances, propose

COST = "controller.kubernetes.io/pod-deletion-cost"
STAMP_SECONDS = 1.0
"""`managedFields` has whole seconds, so a reading counts as newer than a write only if it is newer by more than
that."""
AHEAD_SECONDS = 60.0
"""A write that is further in the future comes from a wrong clock, and its time is ignored."""
_EXACT = Tolerances(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Pod:
    """The part of a pod that matters here.

    `writers` are the field managers of its cost, `written_at` is the Unix time of our last write.
    """

    name: str
    uid: str
    owner: str  # kind and name of its controller, `ReplicaSet shop-6d5f`; empty without one
    replica_set: str  # the controller's uid, if it is a ReplicaSet
    cost: str | None
    writers: tuple[str, ...]
    written_at: float
    leaving: bool

    @property
    def foreign(self) -> bool:
        """Whether another field manager has written its cost."""
        return self.cost is not None and FIELD_MANAGER not in self.writers

    @property
    def number(self) -> int | None:
        """The cost as Kubernetes takes it, or None if it is not a number."""
        try:
            return int(self.cost or 0)
        except ValueError:
            return None


def project_pod(pod: Mapping[str, Any]) -> Pod:
    """Return the part of `pod`, an object of the API, that matters."""
    metadata = pod["metadata"]
    owner: Mapping[str, Any] = next(
        (each for each in metadata.get("ownerReferences") or () if each.get("controller")), {}
    )
    kind = owner.get("kind", "")
    writers, written_at = [], -math.inf
    for entry in metadata.get("managedFields") or ():
        fields = entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:annotations", {})
        if f"f:{COST}" in fields:
            writers.append(entry.get("manager", ""))
            if writers[-1] == FIELD_MANAGER and "time" in entry:
                written_at = max(written_at, datetime.fromisoformat(entry["time"]).timestamp())
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        owner=f"{kind} {owner.get('name', '')}".strip(),
        replica_set=owner.get("uid", "") if kind == "ReplicaSet" else "",
        cost=(metadata.get("annotations") or {}).get(COST),
        writers=tuple(writers),
        written_at=written_at,
        leaving="deletionTimestamp" in metadata or pod.get("status", {}).get("phase") in {"Succeeded", "Failed"},
    )


@dataclass(frozen=True, slots=True)
class Workload:
    """One trigger's knowledge of its pods: their costs by name, read at Unix time `read_at`, and its metrics.

    With `settled` costs may also be lowered. `metrics` is empty while KEDA gets an error, which asks for no number of
    pods.
    """

    costs: Mapping[str, int]
    read_at: float
    settled: bool
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """A cost to write to a pod."""

    pod: Pod
    cost: int

    @property
    def change(self) -> int:
        """The new cost minus the old one."""
        return self.cost - (self.pod.number or 0)


@dataclass(frozen=True, slots=True)
class Spared:
    """The state of `spareBusy` of one trigger, for people.

    `pods` are those that Kubernetes would choose from, `busy` those of them with running work, `asked` how many the
    metrics ask for (None while KEDA gets an error), `pending` the costs not written yet, `left_alone` the pods with a
    cost of another field manager. Each of `problems` says what is missing and what to do; with `failing` no cost is
    written at all.
    """

    pods: int = 0
    busy: int = 0
    asked: int | None = None
    pending: int = 0
    left_alone: int = 0
    problems: tuple[str, ...] = ()
    failing: bool = False

    @property
    def writing(self) -> bool:
        """Whether costs are written: fewer pods are asked for than there are."""
        return self.asked is not None and self.asked < self.pods


def plan(namespace: str, workloads: Sequence[Workload], pods: Iterable[Pod]) -> tuple[list[Spared], list[Write]]:
    """Return the state of each of `workloads`, and what to write to `pods` of their `namespace`.

    The most important writes come first: costs that rise, the highest of them first. If several triggers know a pod,
    the highest cost counts, and it is lowered only when all of them have settled.
    """
    by_name = {pod.name: pod for pod in pods}
    sizes = Counter(pod.replica_set for pod in by_name.values() if not pod.leaving)
    outcomes, wanted = [], set[str]()
    for workload in workloads:
        found = [by_name[name] for name in workload.costs if name in by_name]
        count = sum(sizes[each] for each in {pod.replica_set for pod in found if pod.replica_set})
        asked = replicas_asked(workload.metrics, count)
        spared = Spared(
            pods=count,
            busy=sum(workload.costs[pod.name] > 0 for pod in found if pod.replica_set and not pod.leaving),
            asked=asked,
            left_alone=sum(pod.foreign for pod in found),
            problems=tuple(_problems(namespace, workload, found)),
            failing=bool(workload.costs) and not any(pod.replica_set for pod in found),
        )
        outcomes.append(spared)
        if spared.writing:
            wanted |= {pod.name for pod in found}
    writes = [write for name in sorted(wanted) if (write := _write(by_name[name], workloads)) is not None]
    writes.sort(key=lambda write: (write.change < 0, -write.cost))
    pending = {write.pod.name for write in writes}
    for index, workload in enumerate(workloads):
        if outcomes[index].writing:
            outcomes[index] = replace(outcomes[index], pending=sum(name in pending for name in workload.costs))
    return outcomes, writes


def replicas_asked(metrics: Iterable[Metric], pods: int) -> int | None:
    """Return how many pods the HPA would want by `metrics` while there are `pods`; None without any metric."""
    there = Pods(pods, pods, pods)
    asked = [propose(metric, metric.value, there, _EXACT) for metric in metrics if metric.value is not None]
    return max(asked, default=None)


def _write(pod: Pod, workloads: Iterable[Workload]) -> Write | None:
    """Return what to write to `pod`, or None."""
    knowing = [workload for workload in workloads if pod.name in workload.costs]
    cost = max(workload.costs[pod.name] for workload in knowing)
    if pod.leaving or not pod.replica_set or pod.foreign or pod.number == cost:
        return None
    if pod.number is not None and cost < pod.number and not all(workload.settled for workload in knowing):
        return None
    read_at = min(workload.read_at for workload in knowing)
    if read_at < pod.written_at + STAMP_SECONDS < read_at + AHEAD_SECONDS:
        return None
    return Write(pod, cost)


def _problems(namespace: str, workload: Workload, found: Sequence[Pod]) -> Iterable[str]:
    if workload.costs and not found:
        yield (
            f"none of the {len(workload.costs)} host names of its processes (such as {min(workload.costs)}) is the name of a "
            f"pod in namespace {namespace}: spareBusy needs processes in pods of the ScaledObject's own namespace that "
            "keep their host name, so without hostNetwork and spec.hostname"
        )
    others = sorted((pod.name, pod.owner) for pod in found if not pod.replica_set)
    if others:
        name, owner = others[0]
        yield (
            f"{len(others)} pods (such as {name}) belong to {owner or 'nobody'}: Kubernetes takes only the pods of a "
            "ReplicaSet by their deletion cost, so spareBusy does nothing for them"
        )
    foreign = sorted((pod.name, ", ".join(pod.writers)) for pod in found if pod.foreign)
    if foreign:
        name, writers = foreign[0]
        yield (
            f"{len(foreign)} pods (such as {name}) carry {COST} of somebody else ({writers or 'no field manager'}), "
            "which is left alone: take the annotation away there, or spareBusy here"
        )
