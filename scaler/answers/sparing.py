"""`spareBusy`: writes deletion costs to the pods of a trigger, so that scaling in removes idle pods first.

`pod_costs` decides what to write. Here is the rest: one watch of pods for each namespace with such a trigger, and the
patches. A fault here never changes an answer; it is shown beside it, in `ScaledObject.spared`.
"""

import asyncio
import math
from collections import defaultdict
from dataclasses import replace
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from scaler.answers.pod_costs import COST, Pod, Spared, Workload, Write, plan, project_pod
from scaler.answers.registry import Registry
from scaler.answers.scaledobject import ScaledObject
from scaler.answers.settling import evidence
from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.faults import BusyError, ConflictError, DeniedError
from scaler.clients.kubernetes.objects import Objects
from scaler.clients.pages.pods import PODS
from scaler.core.clock import Clock, sleep
from scaler.core.errors import Fault
from scaler.core.logs import Once, get_logger
from scaler.core.tenant import TENANT
from scaler.keda.arithmetic import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

log = get_logger()

LOOK_SECONDS = 1.0
LIST_SECONDS = 2.0
"""How long the first list of a namespace's pods is waited for: the other namespaces wait too."""
PAUSE_SECONDS = 5.0
"""Pause of a namespace after a write that failed."""
DENIED_SECONDS = 30.0
"""Pause of a namespace where the scaler lacks the right to write."""
OWN_SECONDS = 3.0
"""A pod is not written to again for so long, because the watch may not have delivered the last write yet."""
REMEMBER_SECONDS = 600.0
"""How long the fault of a write is shown if no further write happens that could succeed."""
WRITES_AT_ONCE = 10
"""About two seconds of writing; then the most important writes are worked out again."""


class Sparing:
    """Writes deletion costs for triggers with `spareBusy`, as long as KEDA asks about them."""

    def __init__(self, kubernetes: Kubernetes, registry: Registry, clock: Clock, lasting_seconds: float) -> None:
        """Write through `kubernetes` for the ScaledObjects of `registry` with a call in the last `lasting_seconds`."""
        self._kubernetes, self._registry, self._clock = kubernetes, registry, clock
        self._lasting_seconds = lasting_seconds
        self._once = Once(clock)
        self._askers: dict[ScaledObject, None] = {}
        self._costs: dict[ScaledObject, tuple[float, Mapping[str, int]]] = {}
        self._watched: set[str] = set()
        self._pauses: dict[str, tuple[float, Fault]] = {}  # namespace → until when nothing is written, and why not
        self._written: dict[str, float] = {}  # uid of a pod → when
        self._asked = asyncio.Event()

    def note(self, scaled_object: ScaledObject) -> None:
        """Take note of `scaled_object`, which has `spareBusy` and got an answer."""
        if scaled_object not in self._askers:
            self._askers[scaled_object] = None
            self._asked.set()

    async def run(self) -> None:
        """Look and write until cancelled; waits while no trigger has `spareBusy`."""
        while True:
            await self._asked.wait()
            try:
                wrote = await self.step()
            except Exception:
                log.exception("deletion costs cannot be worked out")
                wrote = False
            if not self._askers:
                self._asked.clear()
            elif not wrote:
                await sleep(self._clock, LOOK_SECONDS)

    async def step(self) -> bool:
        """Look at every namespace once, write the most important costs, and tell whether any was written."""
        self._forget_old()
        namespaces: defaultdict[str, list[ScaledObject]] = defaultdict(list)
        for scaled_object in self._askers:
            namespaces[scaled_object.namespace].append(scaled_object)
        for namespace in self._watched - set(namespaces):
            self._kubernetes.forget(_place(namespace), user=self)
            self._watched.discard(namespace)
        plans = await asyncio.gather(*(self._look(*each) for each in namespaces.items()))
        in_turn = [
            [(namespace, write) for write in writes] for namespace, writes in zip(namespaces, plans, strict=True)
        ]
        turns = [turn for turn in chain.from_iterable(zip_longest(*in_turn)) if turn is not None]
        wrote = False
        for namespace, write in turns[:WRITES_AT_ONCE]:
            wrote |= await self._write(namespace, write)
        return wrote

    async def look(self, scaled_object: ScaledObject) -> None:
        """Update `scaled_object.spared` without writing anything."""
        if scaled_object.question.spares:
            await self._look(
                scaled_object.namespace,
                [scaled_object, *(each for each in self._askers if _share_namespace(each, scaled_object))],
            )

    async def close(self) -> None:
        """End all watches of pods."""
        for namespace in self._watched:
            self._kubernetes.forget(_place(namespace), user=self)
        self._watched.clear()

    def _forget_old(self) -> None:
        now = self._clock.now()
        for scaled_object in list(self._askers):
            recent = scaled_object.listeners or scaled_object.asked_at >= now - self._lasting_seconds
            if not recent or scaled_object not in self._registry:
                del self._askers[scaled_object]
                self._costs.pop(scaled_object, None)
                scaled_object.spared = None
        for namespace, (until, _) in list(self._pauses.items()):
            if now > until + REMEMBER_SECONDS:
                del self._pauses[namespace]
        self._written = {uid: at for uid, at in self._written.items() if at > now - OWN_SECONDS}

    async def _look(self, namespace: str, scaled_objects: list[ScaledObject]) -> list[Write]:
        """Update `spared` of each of `scaled_objects`, and return what to write for them now."""
        TENANT.set(namespace)
        self._watched.add(namespace)
        place = _place(namespace)
        try:
            found = await self._kubernetes.objects(place, user=self, timeout_seconds=LIST_SECONDS)
        except Fault as fault:
            for scaled_object in scaled_objects:
                scaled_object.spared = Spared(problems=(self._problem(namespace, fault),), failing=True)
            return []
        pods: tuple[Pod, ...] = found.objects
        knowing = [
            (scaled_object, workload)
            for scaled_object in scaled_objects
            if (workload := self._workload(scaled_object)) is not None
        ]
        outcomes, writes = plan(namespace, [workload for _, workload in knowing], pods)
        until, why = self._pauses.get(namespace, (-math.inf, None))
        for (scaled_object, _), spared in zip(knowing, outcomes, strict=True):
            scaled_object.spared = spared if why is None else _failing(spared, self._problem(namespace, why))
        if self._clock.now() < until:
            return []
        return [write for write in writes if write.pod.uid not in self._written]

    def _workload(self, scaled_object: ScaledObject) -> Workload | None:
        """Return what is known about the pods of `scaled_object`; None while one of its places fails or is stale."""
        states, trigger, now = scaled_object.lease.states, scaled_object.trigger, self._clock.now()
        readings = [state.reading for state in states if state.reading is not None and state.failing is None]
        if not states or len(readings) < len(states):
            return None
        seen = evidence((state.place for state in states), readings, now)
        if now - seen.taken > trigger.stale_seconds:
            return None
        read_at = self._clock.wall() - (now - seen.taken)
        if (known := self._costs.get(scaled_object)) is None or known[0] != seen.taken:
            values = {state.place: reading.value for state, reading in zip(states, readings, strict=True)}
            # At the time of the reading, so that another replica with the same reading gets the same costs.
            known = self._costs[scaled_object] = (seen.taken, trigger.deletion_costs(values, read_at))
        answer = scaled_object.answer
        settled = answer is not None and answer.state in {"active", "inactive"}
        settled &= seen.taken - seen.trouble_at >= trigger.settle_seconds
        metrics = [] if answer is None else zip(answer.told.metrics, scaled_object.specs, strict=True)
        kind = trigger.metric_type
        asks = tuple(Metric(kind, spec.target, metric.value, spec.name) for metric, spec in metrics)
        return Workload(known[1], read_at, settled, asks)

    async def _write(self, namespace: str, write: Write) -> bool:
        """Write one cost, and tell whether that worked; after a fault the namespace pauses for a while."""
        pod, now = write.pod, self._clock.now()
        if now < self._pauses.get(namespace, (now, None))[0]:
            return False
        # With the uid, so that a newer pod of the same name is not written to.
        change = {"metadata": {"uid": pod.uid, "annotations": {COST: str(write.cost)}}}
        try:
            await self._kubernetes.patch(PODS, namespace, pod.name, change)
        except ConflictError:
            pass  # the pod has changed: the watch delivers it, and it is decided again
        except Fault as fault:
            seconds = DENIED_SECONDS if isinstance(fault, DeniedError) else PAUSE_SECONDS
            if isinstance(fault, BusyError):
                seconds = max(seconds, fault.pause_seconds)
            self._pauses[namespace] = (self._clock.now() + seconds, fault.untraced())
            if self._once(("patch", namespace)):
                log.warning("deletion costs cannot be written", namespace=namespace, why=str(fault))
            return False
        else:
            self._pauses.pop(namespace, None)
        self._written[pod.uid] = self._clock.now()
        return True

    def _problem(self, namespace: str, fault: Fault) -> str:
        hint = (
            f"; the chart grants it with spareBusy.namespaces: [{namespace}]" if isinstance(fault, DeniedError) else ""
        )
        return f"busy pods are not spared: {fault}{hint}"


def _failing(spared: Spared, why: str) -> Spared:
    return replace(spared, problems=(*spared.problems, why), failing=True)


def _place(namespace: str) -> Objects:
    return Objects(PODS, namespace, "", project_pod)


def _share_namespace(each: ScaledObject, scaled_object: ScaledObject) -> bool:
    return each is not scaled_object and each.namespace == scaled_object.namespace
