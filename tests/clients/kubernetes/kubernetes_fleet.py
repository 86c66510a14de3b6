"""Two programs for the footprint test: `serve` a large fleet from an API double, and `read` it and tell what it cost."""

import asyncio
import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import Objects, Resource
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.demo.kubernetes import KubernetesDouble

FLEET = {"helmreleases": 13_000, "applications": 3_000}


def made_object(number: int) -> dict[str, Any]:
    """Return an object of 8 KB, of which half is `managedFields`, as controllers leave them."""
    fields = {f"f:field-{entry}": {"f:value": {}, f"f:part-{entry}-{number % 17}": {}} for entry in range(22)}
    managed = [
        {
            "manager": manager,
            "operation": "Update",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:annotations": fields}, "f:spec": fields},
        }
        for manager in ("kustomize-controller", "helm-controller")
    ]
    asked = f"2026-01-01T00:00:00.{number:09}Z"
    condition = {"type": "Ready", "status": "True", "message": f"release {number} is ready", "observedGeneration": 1}
    return {
        "metadata": {
            "name": f"release-{number:05}",
            "namespace": f"tenant-{number % 400:03}",
            "labels": {"sharding.fluxcd.io/key": f"shard{number % 8}"},
            "annotations": {"reconcile.fluxcd.io/requestedAt": asked},
            "managedFields": managed,
        },
        "spec": {"interval": "10m", "values": {f"key-{entry}": f"value {number} {entry}" for entry in range(60)}},
        "status": {
            "observedGeneration": 1,
            "lastHandledReconcileAt": asked,
            "lastAttemptedRevision": f"6.5.{number % 9}",
            "conditions": [condition],
            "history": [{"version": entry, "digest": f"sha256:{number:064x}"} for entry in range(5)],
        },
    }


async def serve() -> None:
    """Print the address, and serve until the input ends."""
    double = KubernetesDouble()
    for plural, count in FLEET.items():
        for number in range(count):
            double.put(plural, made_object(number))
    print(await double.start(), flush=True)  # noqa: T201 - to the test
    await asyncio.to_thread(sys.stdin.read)
    await double.stop()


@dataclass(frozen=True, slots=True)
class Kept:
    """As much of an object as the sources keep."""

    namespace: str
    name: str
    generation: int
    observed: int
    asked: str
    handled: str
    interval: str
    suspended: bool
    ready: str
    revision: str


def project(found: Mapping[str, Any]) -> Kept:
    """Return what is kept of `found`."""
    metadata, spec, status = found["metadata"], found["spec"], found["status"]
    return Kept(
        metadata["namespace"],
        metadata["name"],
        metadata["generation"],
        status["observedGeneration"],
        metadata["annotations"]["reconcile.fluxcd.io/requestedAt"],
        status["lastHandledReconcileAt"],
        spec["interval"],
        spec.get("suspend", False),
        status["conditions"][0]["status"],
        status["lastAttemptedRevision"],
    )


def memory(field: str) -> int:
    """Return `VmRSS` or `VmHWM` of this process in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


async def beat(gaps: list[float]) -> None:
    """Note the CPU time between two turns, which is how long others had to wait, whatever else this machine does."""
    last = time.thread_time()
    while True:
        await asyncio.sleep(0.001)
        now = time.thread_time()
        gaps.append(now - last)
        last = now


async def read(url: str) -> None:
    """Print what it takes to list the fleet, to keep it, and to see a change."""
    requests: Counter[str] = Counter()
    client = Kubernetes(
        KubernetesSettings(url=url), count_requests=lambda _, operation, count: requests.update({operation: count})
    )
    releases = Objects(Resource("helm.toolkit.fluxcd.io", ("v2",), "helmreleases"), "", "", project)
    applications = Objects(Resource("argoproj.io", ("v1alpha1",), "applications"), "", "", project)
    await client.objects(Objects(Resource("", ("v1",), "pods"), "", "", project))  # connected, with nothing to keep
    gc.collect()
    requests.clear()
    base, gaps = memory("VmRSS"), list[float]()
    beating = asyncio.create_task(beat(gaps))
    began = time.perf_counter()
    found = await asyncio.gather(*(client.objects(place, timeout_seconds=100) for place in (releases, applications)))
    listed = time.perf_counter() - began
    beating.cancel()
    peak = memory("VmHWM") - base
    gc.collect()
    steady = memory("VmRSS") - base

    changed = asyncio.Event()
    await client.objects(releases, user="test", changed=changed.set)
    path = "/apis/helm.toolkit.fluxcd.io/v2/namespaces/tenant-007/helmreleases/release-00007"
    async with aiohttp.ClientSession(url) as session:
        began = time.perf_counter()
        async with session.patch(path, json={"spec": {"interval": "1m"}}) as response:
            response.raise_for_status()
        async with asyncio.timeout(10):
            while not any(kept.interval == "1m" for kept in (await client.objects(releases)).objects):
                await changed.wait()
                changed.clear()
        seen = time.perf_counter() - began
    await client.close()
    told = {
        "objects": [len(each.objects) for each in found],
        "peak_mib": peak / 1024,
        "steady_mib": steady / 1024,
        "longest_turn_ms": 1000 * max(gaps),
        "turns": len(gaps),
        "listed_seconds": listed,
        "seen_seconds": seen,
        "requests": requests,
    }
    print(json.dumps(told))  # noqa: T201 - to the test


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1] == "serve" else read(sys.argv[2]))
