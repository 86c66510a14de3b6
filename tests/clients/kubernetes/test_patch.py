"""Writing through the client: one merge patch at a time, under its own name, never to another object than was meant."""

import asyncio
from typing import Any

import pytest

from scaler.clients.kubernetes.faults import ConflictError, DeniedError
from scaler.core.errors import Refused, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_paths import Refusal
from tests.clients.kubernetes.conftest import PODS, OpenClient

COST = "controller.kubernetes.io/pod-deletion-cost"


def pod(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop", "annotations": {"other": "kept"}},
        "spec": {"nodeName": "n"},
    }


def cost(value: str | None, **metadata: str) -> dict[str, Any]:
    return {"metadata": {"annotations": {COST: value}, **metadata}}


async def test_a_patch_changes_what_it_names_under_the_name_of_the_scaler(
    double: KubernetesDouble, open_client: OpenClient
) -> None:
    made = double.put("pods", pod("a"))
    async with open_client(double.url) as client:
        assert await client.patch(PODS, "shop", "a", cost("7", uid=made["metadata"]["uid"]))
        stored = double.put_back = double.store.get(double.kinds["pods"], "shop", "a")  # type: ignore[attr-defined]
        assert stored["metadata"]["annotations"] == {"other": "kept", COST: "7"}
        assert stored["spec"] == made["spec"]
        assert [entry["manager"] for entry in stored["metadata"]["managedFields"]] == ["keda-queue-scaler"]

        assert await client.patch(PODS, "shop", "a", cost(None))
        stored = double.store.get(double.kinds["pods"], "shop", "a")
        assert stored is not None
        assert stored["metadata"]["annotations"] == {"other": "kept"}
        assert len(stored["metadata"]["managedFields"]) == 1


async def test_an_object_that_is_gone_or_another_one_is_not_written(
    double: KubernetesDouble, open_client: OpenClient
) -> None:
    made = double.put("pods", pod("a"))
    async with open_client(double.url) as client:
        assert not await client.patch(PODS, "shop", "gone", cost("7"))
        with pytest.raises(ConflictError, match=r"patch pods shop/a: conflict \(422\).*metadata.uid"):
            await client.patch(PODS, "shop", "a", cost("7", uid="that of its predecessor"))
        double.put("pods", pod("a"))
        with pytest.raises(ConflictError, match="has been modified"):
            await client.patch(PODS, "shop", "a", cost("7", resourceVersion=made["metadata"]["resourceVersion"]))
        assert COST not in str(double.store.get(double.kinds["pods"], "shop", "a"))
        for name in ("../secrets", "a/b", "", "A"):
            with pytest.raises(Refused, match="is not a name that Kubernetes allows"):
                await client.patch(PODS, "shop", name, cost("7"))


async def test_what_hinders_a_patch_is_told(double: KubernetesDouble, open_client: OpenClient) -> None:
    double.put("pods", pod("a"))
    async with open_client(double.url) as client:
        await client.patch(PODS, "shop", "a", cost("1"))
        double.refusal = Refusal(403, "Forbidden", "pods is forbidden")
        with pytest.raises(DeniedError, match="grant the RBAC verbs patch on it"):
            await client.patch(PODS, "shop", "a", cost("2"))
        double.refusal = Refusal(500, "InternalError", "etcd")
        with pytest.raises(Unavailable, match=r"patch pods shop/a: failed \(500\): etcd"):
            await client.patch(PODS, "shop", "a", cost("2"))


async def test_five_a_second_reach_the_api_server_whoever_asks(
    double: KubernetesDouble, open_client: OpenClient
) -> None:
    for number in range(12):
        double.put("pods", pod(f"p{number}"))
    clock = ManualClock()
    async with open_client(double.url, clock) as client:
        asking = [
            asyncio.create_task(client.patch(PODS, "shop", f"p{number}", cost("1"), timeout_seconds=60))
            for number in range(12)
        ]
        done = []
        for _ in range(25):
            await asyncio.sleep(0.01)
            done.append(sum(task.done() for task in asking))
            await clock.advance(0.1)
        assert all(await asyncio.gather(*asking))
    assert done[0] <= 1
    assert done[10] <= 6  # the first at once, five more in a second
    assert done[24] == 12

    async with open_client(double.url, clock) as client:
        late = [
            asyncio.create_task(client.patch(PODS, "shop", f"p{n}", cost("2"), timeout_seconds=0.3)) for n in range(3)
        ]
        for _ in range(6):
            await asyncio.sleep(0.01)
            await clock.advance(0.1)
        outcomes = await asyncio.gather(*late, return_exceptions=True)
    assert outcomes[:2] == [True, True]
    assert "not done within 0.3 s" in str(outcomes[2])
