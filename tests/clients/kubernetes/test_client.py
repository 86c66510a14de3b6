import asyncio
from collections import Counter
from pathlib import Path

import pytest

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.core.errors import Refused, Unavailable
from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KubernetesDouble
from tests.clients.kubernetes.conftest import (
    ALL_PODS,
    Handler,
    OpenClient,
    Serve,
    Until,
    release,
    releases,
    until_caught_up,
    until_objects,
)


async def test_lists_page_by_page_and_then_watches(double: KubernetesDouble, client: Kubernetes) -> None:
    for number in range(1203):
        double.put("helmreleases", release(f"r{number:04}", number))

    found = await client.objects(releases())

    assert found.objects == tuple((f"r{number:04}", number) for number in range(1203))
    assert double.requests["list", "helmreleases"] == 3
    assert double.requests["watch", "helmreleases"] == 1


async def test_follows_every_change_without_another_list(double: KubernetesDouble, client: Kubernetes) -> None:
    double.put("helmreleases", release("a", 1))
    double.put("helmreleases", release("b", 1))
    await until_objects(client, releases(), ("a", 1), ("b", 1))

    double.put("helmreleases", release("c", 1))
    double.put("helmreleases", release("a", 2))
    double.delete("helmreleases", "flux", "b")
    await until_objects(client, releases(), ("a", 2), ("c", 1))

    double.put("helmreleases", release("a") | {"spec": {"off": True}})
    await until_objects(client, releases(), ("c", 1))
    assert double.requests["list", "helmreleases"] == 1


async def test_selector_and_namespace_are_judged_by_the_server(double: KubernetesDouble, client: Kubernetes) -> None:
    double.put("helmreleases", release("mine", shard="1"))
    double.put("helmreleases", release("other", shard="2"))
    double.put("helmreleases", release("elsewhere", namespace="apps", shard="1"))
    place = releases("flux", "shard in (1)")
    await until_objects(client, place, ("mine", 0))

    double.put("helmreleases", release("other", shard="1"))
    double.put("helmreleases", release("mine", shard="2"))  # no longer matches: the watch tells it as deleted
    await until_objects(client, place, ("other", 0))


async def test_notin_takes_objects_without_the_label_too(double: KubernetesDouble, client: Kubernetes) -> None:
    double.put("helmreleases", release("unlabelled"))
    double.put("helmreleases", release("shop", team="shop"))
    double.put("helmreleases", release("platform", team="platform"))
    place = releases("", "team notin (platform)")
    await until_objects(client, place, ("unlabelled", 0), ("shop", 0))

    double.put("helmreleases", release("platform", team="shop"))
    await until_objects(client, place, ("unlabelled", 0), ("shop", 0), ("platform", 0))


async def test_one_watch_for_a_place_whoever_asks(double: KubernetesDouble, client: Kubernetes) -> None:
    found = await asyncio.gather(*(client.objects(releases(), user=number) for number in range(50)))

    assert len(set(found)) == 1
    assert double.requests == Counter(
        {
            ("get", "/apis/helm.toolkit.fluxcd.io"): 1,
            ("get", "/apis/helm.toolkit.fluxcd.io/v2"): 1,
            ("list", "helmreleases"): 1,
            ("watch", "helmreleases"): 1,
        }
    )


async def test_watch_is_closed_by_the_last_who_forgets(
    double: KubernetesDouble, client: Kubernetes, until: Until
) -> None:
    await client.objects(releases(), user="reader")
    await client.objects(releases(), user="other")

    client.forget(releases(), user="reader")
    client.forget(releases(), user="reader")
    double.put("helmreleases", release("a"))
    await until_objects(client, releases(), ("a", 0))
    assert double.requests["list", "helmreleases"] == 1

    client.forget(releases(), user="other")
    client.forget(releases())
    await until(lambda: not double.watches)
    await client.objects(releases())
    assert double.requests["list", "helmreleases"] == 2


async def test_forgotten_while_someone_waits(open_client: OpenClient, serve: Serve, hang: Handler) -> None:
    async with serve(hang) as url, open_client(url) as client:
        waiting = asyncio.create_task(client.objects(ALL_PODS, user="reader", timeout_seconds=600))
        await asyncio.sleep(0)

        client.forget(ALL_PODS, user="reader")

        with pytest.raises(Unavailable, match="no longer watched"):
            await waiting


async def test_equal_until_something_that_is_kept_changes(
    double: KubernetesDouble, client: Kubernetes, until: Until
) -> None:
    double.put("helmreleases", release("a", 1))
    told: list[None] = []
    first = await client.objects(releases(), changed=lambda: told.append(None))
    before = len(told)

    double.put("helmreleases", release("a", 1, label="new"))  # nothing of it is kept
    await until_caught_up(until, client, double, releases())
    second = await client.objects(releases(), changed=lambda: told.append(None))
    assert second == first
    assert second.objects is first.objects
    assert len(told) == before

    double.put("helmreleases", release("a", 2))
    await until_objects(client, releases(), ("a", 2))
    assert await client.objects(releases()) != first


async def test_hints_are_bundled(double: KubernetesDouble, until: Until, open_client: OpenClient) -> None:
    clock, told = ManualClock(), []
    async with open_client(double.url, clock) as client:
        await client.objects(releases(), changed=lambda: told.append(clock.now()))
        await clock.advance(1)
        told.clear()

        for number in range(20):
            double.put("helmreleases", release(f"a{number}"))
            await until_caught_up(until, client, double, releases())
        assert told == [clock.now()]  # the first at once

        began = clock.now()
        await clock.advance(10)
        assert told == [began, pytest.approx(began + 0.1)]  # the last, once, when the time is over


async def test_requests_are_counted(double: KubernetesDouble) -> None:
    counted: Counter[tuple[str, str]] = Counter()

    def count(backend: str, operation: str, requests: int) -> None:
        counted[backend, operation] += requests

    client = Kubernetes(KubernetesSettings(url=double.url), count_requests=count)
    await client.objects(releases())
    await client.close()

    assert counted == {("kubernetes", "get"): 2, ("kubernetes", "list"): 1, ("kubernetes", "watch"): 1}


async def test_nothing_is_left_after_closing(double: KubernetesDouble, until: Until) -> None:
    before = asyncio.all_tasks()
    client = Kubernetes(KubernetesSettings(url=double.url))
    await asyncio.gather(client.objects(releases()), client.objects(releases("flux")))
    client.forget(releases())

    await client.close()
    await client.close()
    await until(lambda: not double.watches)
    await double.stop()

    assert asyncio.all_tasks() <= before


async def test_nowhere_to_go_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    client = Kubernetes()

    with pytest.raises(Refused, match=r"no KUBECONFIG, .*; set KUBECONFIG, or kubernetes\.kubeconfig"):
        await client.objects(releases())
    await client.close()
