"""A fake shard of Flux's kustomize-controller, which reconciles the Kustomizations of the API double."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, ClassVar

from scaler.core.clock import Clock, SystemClock, sleep
from scaler.demo.controllers import Controller
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.stage import Workload

QUEUE = "kustomization"
FLEET = {"kind": "GitRepository", "name": "fleet", "namespace": "flux-system"}
LOOK_SECONDS = 0.1
"""How often a leading pod looks for work; a real one has a watch."""


def timestamp(wall: float) -> str:
    """Return Unix time `wall` in the format of Kubernetes."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def git_repository(revision: str, updated: float) -> dict[str, Any]:
    """Return the GitRepository `fleet` with an artifact of `revision` since Unix time `updated`."""
    artifact = {"revision": revision, "lastUpdateTime": timestamp(updated)}
    metadata = {"name": FLEET["name"], "namespace": FLEET["namespace"], "creationTimestamp": timestamp(updated)}
    return {"metadata": metadata, "spec": {"interval": "1m"}, "status": {"artifact": artifact}}


def kustomization(name: str, shard: str, created: float, interval: str = "1h") -> dict[str, Any]:
    """Return a Kustomization of `shard` that uses `fleet` and was never reconciled."""
    metadata = {
        "name": name,
        "namespace": "apps",
        "labels": {"sharding.fluxcd.io/key": shard},
        "finalizers": ["finalizers.fluxcd.io"],
        "creationTimestamp": timestamp(created),
    }
    spec = {"interval": interval, "path": f"./{name}", "prune": True, "sourceRef": FLEET}
    return {"metadata": metadata, "spec": spec, "status": {"observedGeneration": -1}}


class KustomizeShard:
    """The pods of one shard. The first leads: it reconciles every object when it starts, then those that change."""

    def __init__(
        self, api: KubernetesDouble, clock: Clock, *, seconds: float = 1.0, start_seconds: float = 1.0, port: int = 0
    ) -> None:
        """Take `seconds` for an object, and `start_seconds` until a pod is ready; serve metrics on `port`, or any."""
        self.shard = "shard1"
        self.port = port
        self._api, self._clock = api, clock
        self._seconds, self._start_seconds = seconds, start_seconds
        self._pods: list[tuple[str, Controller, asyncio.Task[None]]] = []
        self._started = 0

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of its pods."""
        return {"app": f"kustomize-controller-{self.shard}"}

    def commit(self, revision: str) -> None:
        """Set a new revision of the source, `main@sha1:…`, as source-controller does."""
        self._api.put("gitrepositories", git_repository(revision, self._clock.wall()))

    def add(self, name: str) -> None:
        """Create a Kustomization."""
        self._api.put("kustomizations", kustomization(name, self.shard, self._clock.wall()))

    def names(self) -> list[str]:
        """Return the Kustomizations of this shard."""
        kind = self._api.kinds["kustomizations"]
        mine = self._api.store.snapshot(
            kind, lambda found: found.labels.get("sharding.fluxcd.io/key") == self.shard, self._api.store.version
        )
        return [stored.name for stored in mine]

    def unfinished(self) -> list[str]:
        """Return the Kustomizations whose spec or revision is not reconciled yet."""
        return [name for name in self.names() if not self._is_done(self._get(name))]

    def _get(self, name: str) -> dict[str, Any]:
        found = self._api.store.get(self._api.kinds["kustomizations"], "apps", name)
        if found is None:
            raise LookupError(name)
        return found

    def _revision(self) -> str:
        found = self._api.store.get(self._api.kinds["gitrepositories"], FLEET["namespace"], FLEET["name"])
        return str(found["status"]["artifact"]["revision"]) if found else ""

    def _is_done(self, found: Mapping[str, Any]) -> bool:
        done = (found["status"]["observedGeneration"], found["status"].get("lastAttemptedRevision"))
        return done == (found["metadata"]["generation"], self._revision())

    async def scale(self, replicas: int) -> None:
        """Start pods, or stop the youngest, until there are `replicas`."""
        while len(self._pods) < replicas:
            await self._start()
        while len(self._pods) > replicas:
            await self._stop()

    async def _start(self) -> None:
        self._started += 1
        name = f"kustomize-controller-{self.shard}-{self._started}"
        controller = Controller([QUEUE])
        controller.leads = False
        address = f"127.0.0.{len(self._pods) + 1}"
        task = asyncio.create_task(self._run(name, address, controller, leads=not self._pods))
        self._pods.append((name, controller, task))
        self._tell(name, address, ready=False)

    async def _stop(self) -> None:
        name, controller, task = self._pods.pop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await controller.close()
        self._api.delete("pods", "flux-system", name)

    def _tell(self, name: str, address: str, *, ready: bool) -> None:
        """Write the pod's status, as its kubelet does."""
        condition = {"type": "Ready", "status": str(ready)}
        metadata = {"name": name, "namespace": "flux-system", "labels": dict(self.labels)}
        status = {"phase": "Running", "podIP": address, "conditions": [condition]}
        self._api.put("pods", {"metadata": metadata, "spec": {}, "status": status})

    async def _run(self, name: str, address: str, controller: Controller, *, leads: bool) -> None:
        await sleep(self._clock, self._start_seconds)
        await controller.start(address, self.port)
        self.port = self.port or int(controller.url.rpartition(":")[2].partition("/")[0])
        controller.leads = leads
        controller.set_depth(QUEUE, 0)
        self._tell(name, address, ready=True)
        if leads:
            await self._lead(controller)

    async def _lead(self, controller: Controller) -> None:
        queue, held = self.names(), controller.queues[QUEUE]
        async with asyncio.TaskGroup() as work:
            at_work: dict[str, asyncio.Task[None]] = {}
            while True:
                at_work = {name: task for name, task in at_work.items() if not task.done()}
                queue += [name for name in self.unfinished() if name not in queue and name not in at_work]
                while queue and len(at_work) < controller.workers:
                    name = queue.pop(0)
                    at_work[name] = work.create_task(self._reconcile(name))
                controller.set_depth(QUEUE, len(queue))
                held.active = len(at_work)
                await sleep(self._clock, LOOK_SECONDS)

    async def _reconcile(self, name: str) -> None:
        """Write the status as kustomize-controller does: Ready unknown during the work, then true, and the history."""
        found, revision = self._get(name), self._revision()
        generation = found["metadata"]["generation"]
        self._put_status(name, {"lastAttemptedRevision": revision}, "Unknown", generation)
        await sleep(self._clock, self._seconds)
        history = [{"lastReconciled": timestamp(self._clock.wall()), "lastReconciledStatus": "ReconciliationSucceeded"}]
        done = {"observedGeneration": generation, "lastAppliedRevision": revision, "history": history}
        self._put_status(name, done, "True", generation)

    def _put_status(self, name: str, status: Mapping[str, Any], ready: str, generation: int) -> None:
        found = self._get(name)
        condition = {
            "type": "Ready",
            "status": ready,
            "observedGeneration": generation,
            "lastTransitionTime": timestamp(self._clock.wall()),
        }
        self._api.put("kustomizations", {**found, "status": {**found["status"], **status, "conditions": [condition]}})


class FluxWorkload(Workload):
    """The shard in the demo. The caller starts `api`, because the server's settings need its address."""

    name: ClassVar[str] = "flux-shard1"
    label: ClassVar[str] = "Kustomizations"

    def __init__(self, api: KubernetesDouble, *, objects: int = 24, port: int = 18080) -> None:
        """Have `objects` Kustomizations; the pod serves its metrics on `port`."""
        self._shard = KustomizeShard(api, SystemClock(), port=port)
        self._objects = objects
        self._revisions = 0

    async def open(self, stack: AsyncExitStack) -> None:
        """Create the source; the objects are created by the first `load`."""
        self._shard.commit("main@sha1:0")
        stack.push_async_callback(self._shard.scale, 0)

    def manifest(self, scaler_address: str) -> str:
        """Return the ScaledObject."""
        return f"""\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {self.name}
  namespace: flux-system
spec:
  scaleTargetRef:
    name: kustomize-controller-{self._shard.shard}
  minReplicaCount: 0
  maxReplicaCount: 1
  pollingInterval: 2
  cooldownPeriod: 4
  triggers:
    - type: external-push
      metadata:
        scalerAddress: {scaler_address}
        source: flux
        controller: kustomize-controller
        shard: {self._shard.shard}
        port: "{self._shard.port}"
"""

    async def load(self) -> None:
        """Commit once, so that every Kustomization has to be reconciled; the first time also create them."""
        self._revisions += 1
        self._shard.commit(f"main@sha1:{self._revisions}")
        for number in range(self._objects - len(self._shard.names())):
            self._shard.add(f"app-{number}")

    async def scale(self, replicas: int) -> None:
        """Start or stop pods."""
        await self._shard.scale(replicas)

    async def waiting(self) -> int:
        """Return the Kustomizations that are not reconciled."""
        return len(self._shard.unfinished())
