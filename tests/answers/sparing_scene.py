"""A scaler that annotates pods in a ReplicaSet, with Sidekiq processes in a Valkey."""

import json
from typing import Any

from scaler.answers.pod_costs import COST
from scaler.answers.scaledobject import ScaledObject
from scaler.core.clock import SystemClock
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_replicas import ReplicaSet
from scaler.demo.valkey import Valkey
from scaler.server.app import Server
from scaler.settings import Settings

CLOCK = SystemClock()


class StampClock(SystemClock):
    """The clock of the API, which stamps writes in whole seconds: so far behind that every reading is newer."""

    behind = 10.0

    def wall(self) -> float:  # type: ignore[override]  # of an instance
        return CLOCK.wall() - self.behind


class Scene:
    """A server that is not started, so that a test takes each step by itself."""

    def __init__(self, valkey: Valkey, api: KubernetesDouble, stamps: StampClock, redis: Any) -> None:
        self.valkey, self.api, self.stamps, self.redis = valkey, api, stamps, redis
        self.server = self.replica()
        self.replicas = ReplicaSet(api, CLOCK, "shop", "worker-6d5f")

    def replica(self, **settings: Any) -> Server:
        """Return one more replica of the scaler."""
        quick: dict[str, Any] = {
            "redis": {"main": {"url": self.valkey.url}},
            "kubernetes": {"url": self.api.url},
            "drain": {"grace_seconds": 0.0},
        }
        return Server(Settings(**{**quick, **settings}), CLOCK)

    async def beat(self, host: str, *ages: float) -> None:
        """Write the heartbeat of a process whose jobs have run for `ages` seconds."""
        identity, now = f"{host}:1:{'0' * 12}", CLOCK.wall()
        info = {
            "hostname": host,
            "started_at": now - 9_000,
            "pid": 1,
            "tag": "",
            "concurrency": 5,
            "queues": ["default"],
            "labels": [],
            "identity": identity,
        }
        fields = {"info": json.dumps(info), "busy": len(ages), "beat": now, "quiet": "false"}
        await self.redis.sadd("queues", "default")
        await self.redis.sadd("processes", identity)
        await self.redis.hset(identity, mapping=fields)
        await self.redis.delete(f"{identity}:work")
        for thread, age in enumerate(ages):
            work = {"queue": "default", "payload": json.dumps({"queue": "default"}), "run_at": int(now - age)}
            await self.redis.hset(f"{identity}:work", str(thread), json.dumps(work))

    async def ask(self, server: Server | None = None, namespace: str = "shop", **metadata: str) -> ScaledObject:
        """Let KEDA ask once; with `refreshSeconds: 0` the readings are those of now."""
        fields = {
            "source": "sidekiq",
            "redis": "main",
            "queues": "default",
            "spareBusy": "prefer",
            "settleSeconds": "0",
            "refreshSeconds": "0",
        }
        at = server or self.server
        scaled_object = at.registry.find(namespace, "worker", {**fields, **metadata})
        await at.answers.answer(scaled_object, 5.0)
        return scaled_object

    async def settle(self, server: Server | None = None) -> None:
        """Write until nothing is to be written."""
        while await (server or self.server).sparing.step():
            pass

    def costs(self, namespace: str = "shop") -> dict[str, str | None]:
        """Return what stands on the pods."""
        kind, store = self.api.kinds["pods"], self.api.store
        pods = [
            json.loads(each.text)["metadata"]
            for each in store.snapshot(kind, lambda each: each.namespace == namespace, store.version)
        ]
        return {pod["name"]: (pod.get("annotations") or {}).get(COST) for pod in pods}
