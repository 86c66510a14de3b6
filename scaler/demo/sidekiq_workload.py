"""Sidekiq on the stage: a Valkey server, a Deployment of simulated processes, and a burst of jobs."""

import asyncio
import secrets
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from scaler.core.clock import SystemClock
from scaler.demo.sidekiq import SidekiqClient, SidekiqOptions, SidekiqProcess
from scaler.demo.stage import Workload
from scaler.demo.valkey import Valkey

QUEUES = {"critical": 2, "mailers": 1}
JOBS, JOB_SECONDS = 240, 1.5


class SidekiqWorkload(Workload):
    """Takes its connection from the environment of the workers, as `redisURLFromEnv: REDIS_URL` does."""

    name: ClassVar[str] = "mailers"
    label: ClassVar[str] = "jobs"

    def __init__(self) -> None:
        """Start nothing yet."""
        self._valkey = Valkey()
        self._clock = SystemClock()
        self._processes: list[SidekiqProcess] = []
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
"""

    async def load(self) -> None:
        """Enqueue one burst of jobs."""
        client = SidekiqClient(self._redis, self._clock)
        for number in range(JOBS):
            await client.push("critical" if number % 4 == 0 else "mailers", JOB_SECONDS)

    async def scale(self, replicas: int) -> None:
        """Start processes, or end the newest as Kubernetes does: TERM, and time for the jobs under way."""
        while len(self._processes) < replicas:
            hostname = f"{self.name}-6d5f9c7b48-{secrets.token_hex(3)[:5]}"
            process = SidekiqProcess(self._redis, self._clock, SidekiqOptions(QUEUES, hostname=hostname))
            self._processes.append(process)
            await process.start()
        while len(self._processes) > replicas:
            task = asyncio.create_task(self._processes.pop().stop())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def waiting(self) -> int:
        """Return the jobs that wait or are under way."""
        lengths = [int(await self._redis.llen(f"queue:{queue}")) for queue in QUEUES]
        return sum(lengths) + sum(process.busy for process in self._processes)

    async def _kill(self) -> None:
        for process in self._processes:
            await process.kill()
        await asyncio.gather(*self._ending, return_exceptions=True)
