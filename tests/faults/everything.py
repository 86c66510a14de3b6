"""Every source with its backend behind a faulty proxy, a real server, and KEDA's questions on record."""

import asyncio
import base64
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc.aio

from scaler.core.clock import SystemClock
from scaler.demo.controllers import Controller
from scaler.demo.flux import git_repository, kustomization
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.proxy import Proxy, Trouble
from scaler.demo.raw_http import RawServer, answer
from scaler.demo.sidekiq import SidekiqClient
from scaler.demo.sqs import SqsDouble
from scaler.demo.valkey import Valkey
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.server.app import Server
from scaler.settings import Settings

REGION = "eu-west-1"
BEFORE, AFTER = 3, 7
"""What waits at first, and from the moment that the trouble begins."""
REFRESH_SECONDS, STALE_SECONDS, DEADLINE_SECONDS = 0.2, 1.0, 1.0
QUICK = {
    "refreshSeconds": str(REFRESH_SECONDS),
    "idleRefreshSeconds": "0.1",
    "staleSeconds": str(STALE_SECONDS),
    "settleSeconds": "1",
}
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the scaler: a value, an activity, or the code of an error; times are those of `time.monotonic`."""

    asked: float
    answered: float
    told: float | bool | str
    details: str = ""


@dataclass(slots=True)
class Case:
    """A trigger, how to set what waits for it, and what it was told."""

    name: str
    metadata: dict[str, str]
    metric: str
    put: Callable[[int], Awaitable[None]]
    truth: tuple[float, float] = (BEFORE, AFTER)
    lag_seconds: float = 0.0  # that a healthy reading may be behind by itself
    values: list[Answer] = field(default_factory=list)
    activities: list[Answer] = field(default_factory=list)
    stream_code: str = ""
    hold: str = "0"

    @property
    def ref(self) -> pb.ScaledObjectRef:
        return pb.ScaledObjectRef(
            name=self.name, namespace="shop", scalerMetadata={**QUICK, "holdSeconds": self.hold, **self.metadata}
        )

    def since(self, when: float) -> list[Answer]:
        """Return the values and activities that were asked for after `when`."""
        return [answer for answer in (*self.values, *self.activities) if answer.asked >= when]

    async def ask(self, stub: ExternalScalerStub) -> None:
        """Ask as KEDA does: the value, then the activity."""
        metric = pb.GetMetricsRequest(scaledObjectRef=self.ref, metricName=self.metric)
        self.values.append(await self._record(stub.GetMetrics(metric)))
        self.activities.append(await self._record(stub.IsActive(self.ref)))

    @staticmethod
    async def _record(call: Any) -> Answer:
        asked = time.monotonic()
        told: float | bool | str
        details = ""
        try:
            response = await call
            told = response.result if hasattr(response, "result") else response.metricValues[0].metricValueFloat
        except grpc.aio.AioRpcError as error:
            told, details = error.code().name, error.details() or ""
        return Answer(asked, time.monotonic(), told, details)

    async def listen(self, stub: ExternalScalerStub) -> None:
        """Hold a push stream open; notes how it ended."""
        try:
            async for message in stub.StreamIsActive(self.ref):
                assert message.result
            self.stream_code = "OK"
        except grpc.aio.AioRpcError as error:
            self.stream_code = error.code().name


class Everything:
    """All cases on one server, each backend behind proxies that are troubled together."""

    def __init__(self, stack: AsyncExitStack, hold: str) -> None:
        self.cases: list[Case] = []
        self._hold = hold
        self.proxies: list[Proxy] = []
        self.api = KubernetesDouble()
        self.server: Server
        self.stub: ExternalScalerStub
        self._stack = stack

    async def proxy(self, backend_port: int) -> int:
        made = Proxy(backend_port)
        await made.start()
        self._stack.push_async_callback(made.close)
        self.proxies.append(made)
        return made.port

    async def turn(self, trouble: Trouble, **how: Any) -> None:
        await asyncio.gather(*(proxy.turn(trouble, **how) for proxy in self.proxies))

    async def open(self, moto: SqsDouble, valkey: Valkey) -> None:
        await self.api.start()
        self._stack.push_async_callback(self.api.stop)
        api_port = await self.proxy(_port(self.api.url))
        await self._add_sqs(moto)
        await self._add_sidekiq(valkey)
        await self._add_pages()
        await self._add_objects()
        for case in self.cases:
            case.hold = self._hold
        await asyncio.gather(*(case.put(BEFORE) for case in self.cases))
        self._settings = Settings(
            listen="127.0.0.1:0",
            http="127.0.0.1:0",
            aws={"allowed_endpoints": ["http://127.0.0.1:*"]},
            kubernetes={"url": f"http://127.0.0.1:{api_port}", "watch_silence_seconds": 0.5},
            limits={"rpc_deadline_seconds": DEADLINE_SECONDS},
            drain={"grace_seconds": 0.0},
        )
        self.server, self.stub = await self.process()

    async def process(self) -> tuple[Server, ExternalScalerStub]:
        """Start one more scaler, which knows nothing of what the others have seen."""
        server = Server(self._settings, SystemClock())
        await server.start()
        self._stack.push_async_callback(server.close)
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
        self._stack.push_async_callback(channel.close)
        return server, ExternalScalerStub(channel)

    async def _add_sqs(self, moto: SqsDouble) -> None:
        queue, sent = f"faults-{next(_numbers)}", 0
        await moto.create_queue(queue)

        async def put(messages: int) -> None:
            nonlocal sent
            await moto.send(queue, messages - sent)
            sent = messages

        endpoint = f"http://127.0.0.1:{await self.proxy(_port(moto.url))}"
        metadata = {"source": "sqs", "queueURL": queue, "awsRegion": REGION, "awsEndpoint": endpoint}
        self.cases.append(Case("sqs", metadata, f"sqs-{queue}", put))

    async def _add_sidekiq(self, valkey: Valkey) -> None:
        queue, pushed = f"faults-{next(_numbers)}", 0

        async def put(jobs: int) -> None:
            nonlocal pushed
            async with valkey.client() as redis:
                client = SidekiqClient(redis, SystemClock())
                for _ in range(jobs - pushed):
                    await client.push(queue, 1)
            pushed = jobs

        url = f"redis://127.0.0.1:{await self.proxy(valkey.port)}/0"
        metadata = {"source": "sidekiq", "redisURL": url, "queues": queue, "queueLength": "1"}
        self.cases.append(Case("sidekiq", metadata, f"sidekiq-waiting-{queue}", put))

    async def _add_pages(self) -> None:
        controller = Controller(["orders"])
        await controller.start()
        self._stack.push_async_callback(controller.close)
        depth = 0

        async def put(items: int) -> None:
            nonlocal depth
            controller.set_depth("orders", depth := items)

        def prometheus(_head: str) -> bytes:
            labels = {"name": "orders", "instance": "10.0.0.1:8080", "job": "orders", "pod": "orders-0"}
            rows = [
                {"metric": {"__name__": name, **labels}, "value": [time.time(), str(depth)]}
                for name in ("workqueue_depth", "workqueue_adds_total")
            ]
            return answer(
                json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}}).encode(),
                headers={"Content-Type": "application/json"},
            )

        def repo_server(_head: str) -> bytes:
            page = f'argocd_repo_pending_request_total{{repo="x"}} {depth}\ngo_info{{version="go1.24"}} 1\n'
            return answer(page.encode(), headers={"Content-Type": "text/plain; version=0.0.4"})

        ports = []
        for script in (prometheus, repo_server):
            server = RawServer(script)
            await server.start()
            self._stack.push_async_callback(server.close)
            ports.append(await self.proxy(server.port))
        page = await self.proxy(_port(controller.url))
        status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
        self.api.put(
            "pods",
            {"metadata": {"name": "w", "namespace": "shop", "labels": {"app": "w"}}, "spec": {}, "status": status},
        )
        ways = {
            "page": {"metricsURL": f"http://127.0.0.1:{page}/metrics"},
            "pods": {"podSelector": "app=w", "port": str(page)},
            "prometheus": {"prometheusURL": f"http://127.0.0.1:{ports[0]}"},
        }
        for name, way in ways.items():
            metadata = {"source": "workqueue", "queues": "orders", **way}
            self.cases.append(Case(f"workqueue-{name}", metadata, "workqueue-orders", put))
        metadata = {
            "source": "argocd",
            "component": "repo-server",
            "metricsURL": f"http://127.0.0.1:{ports[1]}/metrics",
        }
        self.cases.append(Case("argocd-repo-server", metadata, "argocd-repo-server", put))

    async def _add_objects(self) -> None:
        now = time.time()
        self.api.put("gitrepositories", git_repository("main@sha1:1", now))
        added = 0

        async def put(objects: int) -> None:
            nonlocal added
            for number in range(added, objects):
                self.api.put("kustomizations", kustomization(f"app-{number}", "shard1", now))
            added = objects

        metadata = {"source": "flux", "controller": "kustomize-controller", "shard": "shard1"}
        self.cases.append(Case("flux", metadata, "flux-kustomize-controller-shard1", put))

        async def put_cluster(_: int) -> None:
            data = {"server": base64.b64encode(b"https://cluster.example").decode()}
            labels = {"argocd.argoproj.io/secret-type": "cluster"}
            self.api.put(
                "secrets",
                {"metadata": {"name": "c", "namespace": "argocd", "labels": labels, "uid": "1"}, "data": data},
            )

        fixed = {"source": "argocd", "component": "application-controller", "shard": "0", "shards": "1"}
        self.cases.append(
            Case(
                "argocd-shard",
                {**fixed, "inCluster": "false"},
                "argocd-application-controller-shard-0",
                put_cluster,
                truth=(1, 1),
            )
        )

    async def ask_until(self, ended: Callable[[], bool], pause: float = 0.1) -> None:
        """Ask for every case at once, over and over."""

        async def keep(case: Case) -> None:
            while not ended():
                await case.ask(self.stub)
                await asyncio.sleep(pause)

        await asyncio.gather(*map(keep, self.cases))


def _port(url: str) -> int:
    return int(url.split(":")[2].partition("/")[0])
