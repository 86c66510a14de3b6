"""The pods of a selector, whose pages are read."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.pages.reader import PagesReader, Pod, PodPages, project_pod
from scaler.core.errors import Unavailable
from scaler.demo.controllers import Controller
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.reported import Reported
from scaler.sources.backends import Backends
from tests.clients.pages.conftest import WANTED, Reading, by_pod, pod, port_of


async def test_the_pods_of_a_selector_are_the_pages(reading: Reading, pods: list[Controller]) -> None:
    reading.kubernetes.pods = (pod(2), pod(1))
    place = PodPages("ns", "app=controller", port_of(pods), "/metrics", WANTED)
    assert by_pod(await reading.one(place)) == {"pod controller-1": 1, "pod controller-2": 2}
    assert reading.kubernetes.users == {("pods in namespace ns with app=controller", place)}
    reading.reader.forget(place)
    assert reading.kubernetes.users == set()


async def test_the_pods_come_from_the_kubernetes_api(
    double: KubernetesDouble,
    open_client: Callable[[str], AbstractAsyncContextManager[Kubernetes]],
    pods: list[Controller],
) -> None:
    for number, phase, app in ((1, "Running", "c"), (2, "Running", "c"), (3, "Running", "other"), (4, "Pending", "c")):
        status = {"phase": phase, "podIP": f"127.0.0.{number}" if phase == "Running" else None}
        metadata = {"name": f"p-{number}", "namespace": "ns", "labels": {"app": app}}
        double.put("pods", {"metadata": metadata, "status": status})
    async with open_client(double.url) as kubernetes:
        reader = Backends(kubernetes=kubernetes).hand(PagesReader)
        place = PodPages("ns", "app in (c)", port_of(pods), "/metrics", WANTED)
        told = Reported()
        await reader.read([place], told)
        assert by_pod(told[place]) == {"pod p-1": 1, "pod p-2": 2}
        await reader.close()


async def test_no_pod_is_a_fault(reading: Reading) -> None:
    with pytest.raises(Unavailable, match="no pod is running; a controller at zero replicas has no page"):
        await reading.one(PodPages("ns", "app=controller", 8080, "/metrics", WANTED))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        pytest.param([], "namespace ns has no running pod at all", id="no pod"),
        pytest.param(
            [{"app.kubernetes.io/name": "openshift-gitops-repo-server", "pod-template-hash": "1"}] * 2
            + [{"app": "redis", "statefulset.kubernetes.io/pod-name": "redis-0"}],
            "set podSelector: the 3 pods there have app.kubernetes.io/name=openshift-gitops-repo-server, app=redis",
            id="as on OpenShift",
        ),
        pytest.param([{}], "the 1 pods there have no labels", id="without labels"),
        pytest.param([{f"l{n}": "x"} for n in range(20)], "and 12 more", id="many"),
    ],
)
async def test_where_no_pod_is_picked_the_labels_of_the_others_are_told(
    double: KubernetesDouble,
    open_client: Callable[[str], AbstractAsyncContextManager[Kubernetes]],
    until: Callable[[Callable[[], bool]], Awaitable[None]],
    labels: list[dict[str, str]],
    said: str,
) -> None:
    for number, each in enumerate(labels):
        metadata = {"name": f"p-{number}", "namespace": "ns", "labels": each}
        double.put("pods", {"metadata": metadata, "status": {"phase": "Running", "podIP": "10.0.0.1"}})
    async with open_client(double.url) as kubernetes:
        reader, told = Backends(kubernetes=kubernetes).hand(PagesReader), Reported()
        place = PodPages("ns", "app.kubernetes.io/name=argocd-repo-server", 8084, "/metrics", WANTED)
        await reader.read([place], told)
        assert said in str(told[place])
        await until(lambda: double.watches == 1)  # that of the others is closed
        await reader.close()


async def test_a_pod_that_died_between_list_and_scrape_is_a_fault(reading: Reading, pods: list[Controller]) -> None:
    reading.kubernetes.pods = (pod(1), pod(2))
    await pods[1].close()
    with pytest.raises(Unavailable, match="app=controller in namespace ns, pod controller-2: no connection"):
        await reading.one(PodPages("ns", "app=controller", port_of(pods), "/metrics", WANTED))


async def test_a_pod_on_its_way_out_counts_while_it_answers(reading: Reading, pods: list[Controller]) -> None:
    reading.kubernetes.pods = (pod(1), pod(2, leaving=True))
    place = PodPages("ns", "app=controller", port_of(pods), "/metrics", WANTED)
    assert by_pod(await reading.one(place)) == {"pod controller-1": 1, "pod controller-2": 2}
    await pods[1].close()
    assert by_pod(await reading.one(place)) == {"pod controller-1": 1}
    reading.kubernetes.pods = (pod(2, leaving=True),)
    with pytest.raises(Unavailable, match="all of its pods are on their way out"):
        await reading.one(place)


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        pytest.param(
            {"metadata": {"name": "a"}, "status": {"phase": "Running", "podIP": "10.0.0.1"}},
            Pod("a", "10.0.0.1", leaving=False),
            id="running, ready or not",
        ),
        pytest.param(
            {
                "metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"},
                "status": {"phase": "Running", "podIP": "fd00::1"},
            },
            Pod("a", "fd00::1", leaving=True),
            id="on its way out",
        ),
        pytest.param({"metadata": {"name": "a"}, "status": {"phase": "Pending"}}, None, id="without address"),
        pytest.param({"metadata": {"name": "a"}}, None, id="without status"),
        pytest.param(
            {"metadata": {"name": "a"}, "status": {"phase": "Failed", "podIP": "10.0.0.1"}}, None, id="evicted"
        ),
        pytest.param(
            {"metadata": {"name": "a"}, "status": {"phase": "Succeeded", "podIP": "10.0.0.1"}}, None, id="ended"
        ),
    ],
)
def test_which_pods_have_a_page(found: Mapping[str, Any], kept: Pod | None) -> None:
    assert project_pod(found) == kept
