"""Whoever reads through a restart of the API server, or a defect of ours, gets faults and then what is true again."""

import asyncio
from typing import Any

import pytest

from scaler.clients.kubernetes.api import Api
from scaler.clients.kubernetes.client import Kubernetes
from scaler.core.errors import Fault, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_paths import Refusal
from scaler.demo.proxy import Proxy, Trouble
from tests.clients.kubernetes.conftest import POD_NAMES, OpenClient, patiently, pod


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(429, "TooManyRequests", "storage is (re)initializing"),
        Refusal(500, "InternalError", "etcdserver: leader changed"),
        Refusal(410, "Expired", "too old resource version"),
        Refusal(503, "ServiceUnavailable", "apiserver is shutting down"),
        Refusal(401, "Unauthorized", "Unauthorized"),
        Refusal(403, "Forbidden", "RBAC: clusterrole not found"),
        Refusal(404, "NotFound", "the server could not find the requested resource"),
        Trouble.REFUSE,
        Trouble.RESET,
        Trouble.CUT,
    ],
    ids=lambda trouble: str(getattr(trouble, "code", trouble)),
)
async def test_a_restart_of_the_api_server_is_a_fault_and_then_over(
    open_client: OpenClient, refusal: Refusal | Trouble
) -> None:
    double, clock = KubernetesDouble(), ManualClock()
    proxy = Proxy(int((await double.start()).rpartition(":")[2]))
    await proxy.start()
    double.put("pods", pod("a"))
    async with open_client(f"http://127.0.0.1:{proxy.port}", clock) as client:
        for outage in range(2):
            await patiently(clock, client, POD_NAMES)
            if isinstance(refusal, Refusal):
                double.refusal = refusal
            else:
                await proxy.turn(refusal)
            double.end_watches()
            with pytest.raises(Fault):
                await faulty(clock, client)
            double.put("pods", pod(f"b{outage}"))
            double.refusal = None
            await proxy.turn(Trouble.NONE)
            wanted = {"a", *(f"b{n}" for n in range(outage + 1))}
            while set((await patiently(clock, client, POD_NAMES)).objects) != wanted:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.002)
    await proxy.close()
    await double.stop()


async def faulty(clock: ManualClock, client: Kubernetes) -> None:
    """Ask, moving the clock, until it raises."""
    async with asyncio.timeout(10):
        while True:
            asking = asyncio.create_task(client.objects(POD_NAMES))
            while not asking.done():
                await clock.advance(0.5)
                await asyncio.sleep(0.002)
            await asking


@pytest.mark.parametrize("error", [ZeroDivisionError(), TypeError("arguments"), asyncio.CancelledError()], ids=repr)
async def test_whatever_is_raised_within_a_watch_does_not_end_it(
    double: KubernetesDouble, open_client: OpenClient, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    clock, original = ManualClock(), Api.watch

    async def watch(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Api, "watch", watch)
    async with open_client(double.url, clock) as client:
        with pytest.raises(Unavailable, match=r"internal error|a part of the request was cancelled"):
            await client.objects(POD_NAMES)
        monkeypatch.setattr(Api, "watch", original)
        double.put("pods", pod("a"))
        assert (await patiently(clock, client, POD_NAMES)).objects == ("a",)


async def test_a_watch_whose_task_has_ended_is_a_fault_and_is_started_anew(
    double: KubernetesDouble, open_client: OpenClient
) -> None:
    clock, told = ManualClock(), asyncio.Event()
    async with open_client(double.url, clock) as client:
        await client.objects(POD_NAMES, user="reader", changed=told.set)
        await clock.advance(0.1)
        told.clear()
        client._watches[POD_NAMES].task.cancel()
        await clock.advance(0.1)
        await told.wait()
        with pytest.raises(Unavailable, match=r"has ended \(it was cancelled\) and is started anew"):
            await client.objects(POD_NAMES, user="reader")
        double.put("pods", pod("a"))
        assert (await patiently(clock, client, POD_NAMES)).objects == ("a",)


async def test_one_who_cannot_be_told_does_not_keep_it_from_the_others(
    double: KubernetesDouble, client: Kubernetes
) -> None:
    told = asyncio.Event()

    def defect() -> None:
        raise ZeroDivisionError

    await client.objects(POD_NAMES, user="defect", changed=defect)
    await client.objects(POD_NAMES, user="other", changed=told.set)
    told.clear()
    double.put("pods", pod("a"))
    async with asyncio.timeout(10):
        await told.wait()
    assert (await client.objects(POD_NAMES)).objects == ("a",)
