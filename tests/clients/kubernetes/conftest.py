"""What the tests of this client share: the objects they keep, and ways to wait for them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import pytest
from aiohttp import web

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import Objects, Resource
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.core.errors import Fault
from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KubernetesDouble

Until = Callable[[Callable[[], bool]], Awaitable[None]]
OpenClient = Callable[..., AbstractAsyncContextManager[Kubernetes]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], AbstractAsyncContextManager[str]]

RELEASES = Resource("helm.toolkit.fluxcd.io", ("v2", "v2beta2"), "helmreleases")
PODS = Resource("", ("v1",), "pods")


def project(found: Mapping[str, Any]) -> tuple[str, int] | None:
    """Keep the name and a number of the spec; nothing of objects that are off."""
    return None if found["spec"].get("off") else (found["metadata"]["name"], found["spec"]["value"])


ALL_PODS = Objects(PODS, "", "", project)
EMPTY = '{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[]}'


def name_of(found: Any) -> str:
    return str(found["metadata"]["name"])


POD_NAMES = Objects(PODS, "", "", name_of)


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "labels": labels}}


def releases(namespace: str = "", selector: str = "") -> Objects:
    return Objects(RELEASES, namespace, selector, project)


def release(name: str, value: int = 0, namespace: str = "flux", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": {"value": value}}


@pytest.fixture
async def client(double: KubernetesDouble) -> AsyncIterator[Kubernetes]:
    made = Kubernetes(KubernetesSettings(url=double.url))
    yield made
    await made.close()


async def busy(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=429, headers={"Retry-After": "20"})


async def until_objects(
    client: Kubernetes, place: Objects, *wanted: Any, despite: tuple[type[Fault], ...] = ()
) -> None:
    """Ask until these objects are there, `despite` faults that were there before."""
    found = None
    async with asyncio.timeout(10):
        while found != set(wanted):
            with suppress(*despite):
                found = set((await client.objects(place)).objects)
            await asyncio.sleep(0.002)


async def patiently(clock: ManualClock, client: Kubernetes, place: Objects) -> Any:
    """Ask until there is an answer, moving the clock."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await client.objects(place)
            except Fault:
                await clock.advance(0.5)
                await asyncio.sleep(0.002)


async def until_caught_up(until: Until, client: Kubernetes, double: KubernetesDouble, place: Objects) -> None:
    """Wait until a bookmark has brought the watch to the present version, whether or not it is believed already."""
    double.bookmark()
    await until(lambda: client._watches[place]._version == str(double.store.version))


async def until_fault(client: Kubernetes, place: Objects) -> Fault:
    async with asyncio.timeout(10):
        while True:
            try:
                await client.objects(place)
            except Fault as fault:
                return fault
            await asyncio.sleep(0.002)
