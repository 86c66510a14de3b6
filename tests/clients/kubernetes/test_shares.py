"""Tenants beside each other at one Kubernetes API: each finds room, whatever another lists and watches."""

import asyncio
import itertools
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from scaler.clients.kubernetes import shares as kubernetes_shares
from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.json_stream import EventLines, ListPage
from scaler.clients.kubernetes.objects import ObjectList, Objects, Resource
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.clients.kubernetes.shares import Shares
from scaler.core.errors import Refused
from scaler.core.tenant import TENANT
from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KubernetesDouble

OpenClient = Callable[..., AbstractAsyncContextManager[Kubernetes]]

PODS = Resource("", ("v1",), "pods")


def name_of(found: Mapping[str, Any]) -> Hashable:
    return str(found["metadata"]["name"])


def labels_of(found: Mapping[str, Any]) -> Hashable:
    return tuple(found["metadata"]["labels"].items())


def pods(namespace: str, project: Callable[[Mapping[str, Any]], Hashable] = name_of, selector: str = "") -> Objects:
    return Objects(PODS, namespace, selector, project)


def put(double: KubernetesDouble, namespace: str, count: int, **labels: str) -> None:
    for number in range(count):
        double.put("pods", {"metadata": {"name": f"p{number}", "namespace": namespace, "labels": labels}})


async def asked(tenant: str, client: Kubernetes, place: Objects) -> ObjectList:
    async def ask() -> ObjectList:
        TENANT.set(tenant)
        return await client.objects(place)

    return await asyncio.create_task(ask())


async def test_a_namespace_full_of_pods_leaves_room_for_others(
    double: KubernetesDouble, open_client: OpenClient
) -> None:
    put(double, "greedy", 8)
    put(double, "modest", 3)
    async with open_client(double.url, ManualClock(), max_objects=12) as client:
        with pytest.raises(Refused, match=r"pods in namespace greedy: no room: .* for namespace greedy.*maxObjects"):
            await asked("greedy", client, pods("greedy"))

        assert (await asked("modest", client, pods("modest"))).objects == ("p0", "p1", "p2")


async def test_watches_of_one_tenant_leave_some_for_others(double: KubernetesDouble, open_client: OpenClient) -> None:
    put(double, "modest", 1)
    async with open_client(double.url, ManualClock(), max_watches=6) as client:
        for number in range(3):
            await asked("greedy", client, pods("greedy", selector=f"a={number}"))
        with pytest.raises(Refused, match=r"no room to watch it: .* for namespace greedy, which holds 3.*maxWatches"):
            await asked("greedy", client, pods("greedy"))

        assert (await asked("modest", client, pods("modest"))).objects == ("p0",)


async def test_an_object_of_which_much_is_kept_counts_as_several(
    double: KubernetesDouble, open_client: OpenClient
) -> None:
    put(double, "greedy", 2, **{f"label-{number}": "x" * 63 for number in range(100)})
    async with open_client(double.url, ManualClock(), max_objects=18) as client:
        with pytest.raises(Refused, match="no room"):
            await asked("greedy", client, pods("greedy", labels_of))

        assert len((await asked("greedy", client, pods("greedy"))).objects) == 2


LARGE = b'{"type":"ADDED","object":{"metadata":{},"spec":[' + b"[1]," * 20_000


async def test_steps_go_by_tenants_and_large_objects_are_taken_apart_one_at_a_time() -> None:
    shares = Shares(KubernetesSettings())
    steps: list[str] = []

    async def watch(name: str) -> None:
        TENANT.set("greedy")
        lines = EventLines()

        def feed(piece: bytes) -> None:
            steps.append(name)
            lines.feed(piece)

        async with shares.taking(lines, feed) as take:
            await take(LARGE[:30_000])
            await take(LARGE[30_000:])
            await take(b"[1]]}}\n")

    async def list_pods() -> None:
        TENANT.set("modest")
        page = ListPage(lambda _: steps.append("kept"))
        async with shares.taking(page, page.feed) as take:
            await take(b'{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[')
            await take(b'{"a":1}]}')

    names = [f"w{number}" for number in range(10)]
    await asyncio.gather(*map(watch, names), list_pods())

    assert steps.index("kept") < len(steps) / 10
    steps.remove("kept")
    for name in names:  # of each the first step, in which it shows to be large
        steps.remove(name)
    assert len(steps) > 10 * len(LARGE[30_000:]) / kubernetes_shares.LARGE_STEP
    assert [name for name, _ in itertools.groupby(steps)] == names
