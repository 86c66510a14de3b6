"""Sidekiq in the demo: a Valkey server, a ReplicaSet of fake processes, and bursts of short and long jobs."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from scaler.core.clock import SystemClock
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_replicas import ReplicaSet
from scaler.demo.sidekiq import SidekiqClient, SidekiqOptions, SidekiqProcess
from scaler.demo.stage import Workload
from scaler.demo.valkey import Valkey

QUEUES = {"critical": 2, "mailers": 1}
JOBS, JOB_SECONDS = 240, 1.5
LONG_JOBS, LONG_JOB_SECONDS = 4, 16.0
"""A few jobs run longer than `TIMEOUT_SECONDS`, so that the end of their pod interrupts them."""
TIMEOUT_SECONDS = 2.0
BEAT_SECONDS = 0.5
"""Faster than Sidekiq's 5 and 10 s, like everything in the demo."""


class SidekiqWorkload(Workload):
    """Uses the workers' environment for its connection, by `redisURLFromEnv: REDIS_URL`."""

    name: ClassVar[str] = "mailers"
    label: ClassVar[str] = "jobs"
    spare_busy: ClassVar[str] = "hold"

    def __init__(self, api: KubernetesDouble) -> None:
        """Have pods in `api`, which the caller starts."""
        self._valkey = Valkey()
        self._clock = SystemClock()
        self._replicas = ReplicaSet(api, self._clock, "shop", f"{self.name}-6d5f9c7b48")
        self._processes: dict[str, SidekiqProcess] = {}  # by pod name
        self._interrupted = 0
        self._ending: set[asyncio.Task[None]] = set()
        self._redis: Any = None  # redis-py's answers are annotated for its synchronous client too

    async def open(self, stack: AsyncExitStack) -> None:
        """Start the server."""
        await asyncio.to_thread(self._valkey.start)
        stack.callback(self._valkey.stop)
        self._redis = self._valkey.client()
        stack.push_async_callback(self._redis.aclose)
        stack.push_async_callback(self._kill)

    @property
    def env(self) -> dict[str, str]:
        """The environment of the workers."""
        return {"REDIS_URL": self._valkey.url}

    def manifest(self, scaler_address: str) -> str:
        """Return the ScaledObject."""
        return f"""\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {self.name}
  namespace: shop
spec:
  scaleTargetRef:
    name: {self.name}
  minReplicaCount: 0
  maxReplicaCount: 8
  pollingInterval: 2
  cooldownPeriod: 4
  triggers:
    - type: external-push
      metadata:
        scalerAddress: {scaler_address}
        source: sidekiq
        redisURLFromEnv: REDIS_URL
        queues: {", ".join(QUEUES)}
        deployment: {self.name}
        busyRatio: "0.75"
        queueLength: "10"
        spareBusy: {self.spare_busy}
        refreshSeconds: "0.5"
"""

    async def load(self) -> None:
        """Enqueue one burst of jobs, with a few long ones towards its end, so that they are running when it is over."""
        client = SidekiqClient(self._redis, self._clock)
        long = {JOBS - 1 - 20 * number for number in range(LONG_JOBS)}
        for number in range(JOBS):
            queue = "critical" if number % 4 == 0 else "mailers"
            await client.push(queue, LONG_JOB_SECONDS if number in long else JOB_SECONDS)

    async def scale(self, replicas: int) -> None:
        """Start processes, or stop those chosen by the ReplicaSet's controller, with TERM."""
        made, ending = self._replicas.scale(replicas)
        for name in made:
            options = SidekiqOptions(QUEUES, hostname=name, timeout_seconds=TIMEOUT_SECONDS, beat_seconds=BEAT_SECONDS)
            process = self._processes[name] = SidekiqProcess(self._redis, self._clock, options)
            await process.start()
        for name in ending:
            task = asyncio.create_task(self._end(name))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _end(self, name: str) -> None:
        process = self._processes[name]
        await process.stop()
        del self._processes[name]
        self._interrupted += process.interrupted
        self._replicas.gone(name)

    async def waiting(self) -> int:
        """Return the waiting and running jobs."""
        lengths = [int(await self._redis.llen(f"queue:{queue}")) for queue in QUEUES]
        return sum(lengths) + sum(process.busy for process in self._processes.values())

    @property
    def interrupted(self) -> int:
        """The number of jobs interrupted by scaling in so far; Sidekiq puts them back and runs them again."""
        return self._interrupted

    async def _kill(self) -> None:
        for process in list(self._processes.values()):
            await process.kill()
        await asyncio.gather(*self._ending, return_exceptions=True)


class UnsparedSidekiqWorkload(SidekiqWorkload):
    """The same without `spareBusy`, for comparison."""

    name: ClassVar[str] = "mailers-off"
    spare_busy: ClassVar[str] = "off"
