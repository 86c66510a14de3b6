"""Scale-in spares busy pods: keeps deletion costs on the pods of triggers with `spareBusy`, through the Kubernetes API.

`pod_costs` holds the decision. Here is the rest: one watch of pods for each namespace that has such a trigger, and
patches in turn. Nothing that goes wrong here touches the answers; it is told beside them, in `ScaledObject.spared`.
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
"""How long a namespace may keep the others waiting for its first list."""
PAUSE_SECONDS = 5.0
"""Between two tries to write to a namespace where the API does not answer."""
DENIED_SECONDS = 30.0
"""The same where it answers that it may not be."""
OWN_SECONDS = 3.0
"""How long a pod that was written to is let be, until the watch has told what stands there."""
REMEMBER_SECONDS = 600.0
"""How long the fault of a write is told when no other is due that could show that it is over."""
WRITES_AT_ONCE = 10
"""Two seconds of writing; then what is most important is worked out anew."""


class Sparing:
    """Writes costs for those triggers that ask for it, as long as they are asked for and their rules let them."""

    def __init__(self, kubernetes: Kubernetes, registry: Registry, clock: Clock, lasting_seconds: float) -> None:
        """Write through `kubernetes` for those of `registry` who have asked in the last `lasting_seconds`."""
        self._kubernetes, self._registry, self._clock = kubernetes, registry, clock
        self._lasting_seconds = lasting_seconds
        self._once = Once(clock)
        self._askers: dict[ScaledObject, None] = {}
        self._costs: dict[ScaledObject, tuple[float, Mapping[str, int]]] = {}
        self._watched: set[str] = set()
        self._pauses: dict[str, tuple[float, Fault]] = {}  # namespace → until when nothing is written, and why
        self._written: dict[str, float] = {}  # uid of a pod → when
        self._asked = asyncio.Event()

    def note(self, asker: ScaledObject) -> None:
        """`asker`, whose trigger wants busy pods spared, was answered."""
        if asker not in self._askers:
            self._askers[asker] = None
            self._asked.set()

    async def run(self) -> None:
        """Look and write until cancelled; rests while no trigger wants it."""
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
        """Look at every namespace once, write the most important numbers, and tell whether any was written."""
        self._forget_old()
        namespaces: defaultdict[str, list[ScaledObject]] = defaultdict(list)
        for asker in self._askers:
            namespaces[asker.namespace].append(asker)
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

    async def look(self, asker: ScaledObject) -> None:
        """Bring `asker.spared` up to date, writing nothing."""
        if asker.question.spares:
            await self._look(asker.namespace, [asker, *(each for each in self._askers if _together(each, asker))])

    async def close(self) -> None:
        """Watch no more pods."""
        for namespace in self._watched:
            self._kubernetes.forget(_place(namespace), user=self)
        self._watched.clear()

    def _forget_old(self) -> None:
        now = self._clock.now()
        for asker in list(self._askers):
            recent = asker.listeners or asker.asked_at >= now - self._lasting_seconds
            if not recent or asker not in self._registry:
                del self._askers[asker]
                self._costs.pop(asker, None)
                asker.spared = None
        for namespace, (until, _) in list(self._pauses.items()):
            if now > until + REMEMBER_SECONDS:
                del self._pauses[namespace]
        self._written = {uid: at for uid, at in self._written.items() if at > now - OWN_SECONDS}

    async def _look(self, namespace: str, askers: list[ScaledObject]) -> list[Write]:
        """Tell each of `askers` how it stands, and return what is to be written for them now."""
        TENANT.set(namespace)
        self._watched.add(namespace)
        place = _place(namespace)
        try:
            found = await self._kubernetes.objects(place, user=self, timeout_seconds=LIST_SECONDS)
        except Fault as fault:
            for asker in askers:
                asker.spared = Spared(problems=(self._told(namespace, fault),), failing=True)
            return []
        pods: tuple[Pod, ...] = found.objects
        knowing = [(asker, workload) for asker in askers if (workload := self._workload(asker)) is not None]
        told, writes = plan(namespace, [workload for _, workload in knowing], pods)
        until, why = self._pauses.get(namespace, (-math.inf, None))
        for (asker, _), spared in zip(knowing, told, strict=True):
            asker.spared = spared if why is None else _hindered(spared, self._told(namespace, why))
        if self._clock.now() < until:
            return []
        return [write for write in writes if write.pod.uid not in self._written]

    def _workload(self, asker: ScaledObject) -> Workload | None:
        """Return what the newest readings say of the pods of `asker`; None while they fail or are too old."""
        held, trigger, now = asker.lease.held, asker.trigger, self._clock.now()
        readings = [state.reading for state in held if state.reading is not None and state.failing is None]
        if not held or len(readings) < len(held):
            return None
        seen = evidence((state.place for state in held), readings, now)
        if now - seen.taken > trigger.stale_seconds:
            return None
        read_at = self._clock.wall() - (now - seen.taken)
        if (known := self._costs.get(asker)) is None or known[0] != seen.taken:
            values = {state.place: reading.value for state, reading in zip(held, readings, strict=True)}
            # At the time of the reading, so that whoever has read the same comes to the same numbers.
            known = self._costs[asker] = (seen.taken, trigger.deletion_costs(values, read_at))
        answer = asker.answer
        settled = answer is not None and answer.state in {"active", "inactive"}
        settled &= seen.taken - seen.trouble_at >= trigger.settle_seconds
        metrics = [] if answer is None else zip(answer.told.metrics, asker.specs, strict=True)
        kind = trigger.metric_type
        asks = tuple(Metric(kind, spec.target, metric.value, spec.name) for metric, spec in metrics)
        return Workload(known[1], read_at, settled, asks)

    async def _write(self, namespace: str, write: Write) -> bool:
        """Write one number; what hinders it is told, and the namespace rests for a while."""
        pod, now = write.pod, self._clock.now()
        if now < self._pauses.get(namespace, (now, None))[0]:
            return False
        # With the uid, so that a pod of the same name that came after it is not written to.
        change = {"metadata": {"uid": pod.uid, "annotations": {COST: str(write.cost)}}}
        try:
            await self._kubernetes.patch(PODS, namespace, pod.name, change)
        except ConflictError:
            pass  # the watch tells what became of it, and it is decided anew
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

    def _told(self, namespace: str, fault: Fault) -> str:
        hint = (
            f"; the chart grants it with spareBusy.namespaces: [{namespace}]" if isinstance(fault, DeniedError) else ""
        )
        return f"busy pods are not spared: {fault}{hint}"


def _hindered(spared: Spared, why: str) -> Spared:
    return replace(spared, problems=(*spared.problems, why), failing=True)


def _place(namespace: str) -> Objects:
    return Objects(PODS, namespace, "", project_pod)


def _together(each: ScaledObject, asker: ScaledObject) -> bool:
    return each is not asker and each.namespace == asker.namespace
