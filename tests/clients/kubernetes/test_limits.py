"""Limits of what is watched and kept."""

import pytest

from scaler.core.errors import Refused
from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KubernetesDouble
from tests.clients.kubernetes.conftest import (
    ALL_PODS,
    OpenClient,
    Until,
    release,
    releases,
    until_fault,
    until_objects,
)


async def test_number_of_watches_is_limited(double: KubernetesDouble, open_client: OpenClient) -> None:
    async with open_client(double.url, max_watches=4) as client:
        await client.objects(releases("a"))
        await client.objects(releases("b"))
        with pytest.raises(
            Refused, match=r"no room to watch it: .* share of 4 watches \(setting kubernetes\.maxWatches\)"
        ):
            await client.objects(releases("c"))

        client.forget(releases("a"))
        await client.objects(releases("c"))


async def test_number_of_objects_is_limited(double: KubernetesDouble, until: Until, open_client: OpenClient) -> None:
    clock = ManualClock()
    double.put("helmreleases", release("off") | {"spec": {"off": True}})  # not kept, so not counted
    for number in range(3):
        double.put("helmreleases", release(f"a{number}"))
    async with open_client(double.url, clock, max_objects=6) as client:
        assert len((await client.objects(releases())).objects) == 3

        double.put("helmreleases", release("one more"))
        fault = await until_fault(client, releases())
        assert isinstance(fault, Refused)
        assert "which holds 3, are over its share of 6 objects (setting kubernetes.maxObjects)" in str(fault)

        double.delete("helmreleases", "flux", "a0")
        await clock.advance(59)
        assert double.requests["list", "helmreleases"] == 1  # a list that may be too long is not repeated at once
        await clock.advance(1)
        await until_objects(client, releases(), ("a1", 0), ("a2", 0), ("one more", 0), despite=(Refused,))


async def test_room_is_shared_by_all_places(double: KubernetesDouble, open_client: OpenClient) -> None:
    clock = ManualClock()
    for name in ("a", "b"):
        double.put("helmreleases", release(name))
        double.put("pods", release(name))
    async with open_client(double.url, clock, max_objects=6) as client:
        await client.objects(ALL_PODS)
        with pytest.raises(Refused, match=r"helmreleases.* no room: .* share of 6 objects"):
            await client.objects(releases())

        client.forget(ALL_PODS)
        other = releases("flux")
        assert (await client.objects(other)).objects == (("a", 0), ("b", 0))
