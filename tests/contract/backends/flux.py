"""An API server with Kustomizations that their controller has not seen yet."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.demo.contract import MISSING_KEY, REFUSED_RIGHT, Stage
from scaler.demo.flux import git_repository, kustomization
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.proxy import Proxy
from scaler.sources.backends import Backends


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Let three objects wait for a shard that sleeps."""
    double = KubernetesDouble(bookmark_seconds=0.2)
    await double.start()
    proxy = Proxy(int(double.url.rpartition(":")[2]))
    await proxy.start()
    now = time.time()
    double.put("gitrepositories", git_repository("main@sha1:1", now))
    for number in range(3):
        double.put("kustomizations", kustomization(f"app-{number}", "shard1", now))
    settings = KubernetesSettings(url=f"http://127.0.0.1:{proxy.port}", watch_silence_seconds=1.0)
    kubernetes = Kubernetes(settings)

    async def leave_out() -> None:
        del double.kinds["kustomizations"]
        double.end_watches()

    async def refuse() -> None:
        double.tokens = {}
        double.end_watches()

    try:
        yield Stage(
            {"controller": "kustomize-controller", "shard": "shard1"},
            Backends(kubernetes=kubernetes),
            [proxy],
            {MISSING_KEY: leave_out, REFUSED_RIGHT: refuse},
        )
    finally:
        await kubernetes.close()
        await proxy.close()
        await double.stop()
