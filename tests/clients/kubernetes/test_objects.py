import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import ObjectList, Objects, Resource
from scaler.clients.kubernetes.reader import ObjectsReader
from scaler.clients.kubernetes.settings import KubernetesSettings
from scaler.core.domain import Place
from scaler.core.errors import Refused
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.reported import Reported
from scaler.sources.backends import Backends


def name_of(found: Mapping[str, Any]) -> str:
    return str(found["metadata"]["name"])


def size_of(found: Mapping[str, Any]) -> int:
    return len(found)


PODS = Resource("", ("v1",), "pods")
RELEASES = Resource("helm.toolkit.fluxcd.io", ("v2",), "helmreleases")
PLACE = Objects(PODS, "", "", name_of)


@pytest.fixture
async def backends(double: KubernetesDouble) -> AsyncIterator[Backends]:
    made = Backends(kubernetes=Kubernetes(KubernetesSettings(url=double.url)))
    yield made
    await made.kubernetes.close()


async def read(reader: ObjectsReader, *places: Objects) -> dict[Place, Any]:
    reported = Reported()
    await reader.read(places, reported)
    return reported


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (PLACE, "pods in all namespaces"),
        (
            Objects(RELEASES, "flux", "a in (b)", name_of),
            "helmreleases.helm.toolkit.fluxcd.io in namespace flux with a in (b)",
        ),
    ],
)
def test_place_is_named_for_people(place: Objects, text: str) -> None:
    assert str(place) == text
    assert (place.kind, place.backend) == ("kubernetes", "kubernetes")


def test_places_are_equal_if_they_ask_and_keep_the_same() -> None:
    assert Objects(Resource("", ("v1",), "pods"), "", "", name_of) == PLACE
    assert (
        len({PLACE, Objects(PODS, "a", "", name_of), Objects(PODS, "", "a", name_of), Objects(PODS, "", "", size_of)})
        == 4
    )


def test_lists_are_compared_by_version_alone() -> None:
    assert ObjectList(("a",), 1, 10.0) == ObjectList(("b",), 1, 20.0)
    assert ObjectList(("a",), 1, 10.0) != ObjectList(("a",), 2, 10.0)


async def test_every_place_is_reported_with_its_objects_or_its_fault(
    double: KubernetesDouble, backends: Backends
) -> None:
    double.put("pods", {"metadata": {"name": "p", "namespace": "apps"}})
    unknown = Objects(Resource("", ("v1",), "dreams"), "", "", name_of)

    reported = await read(backends.hand(ObjectsReader), PLACE, unknown)

    assert reported[PLACE].objects == ("p",)
    assert reported[PLACE].taken == pytest.approx(backends.clock.wall(), abs=60)
    assert isinstance(reported[unknown], Refused)


async def test_change_is_hinted_and_the_next_read_has_it(double: KubernetesDouble, backends: Backends) -> None:
    reader, hinted = backends.hand(ObjectsReader), asyncio.Queue[Place]()
    reader.listen(hinted.put_nowait)
    first = (await read(reader, PLACE))[PLACE]
    while not hinted.empty():
        hinted.get_nowait()

    double.put("pods", {"metadata": {"name": "p", "namespace": "apps"}})
    assert await asyncio.wait_for(hinted.get(), 5) == PLACE

    second = (await read(reader, PLACE))[PLACE]
    assert second != first
    assert second.objects == ("p",)


async def test_forgetting_leaves_what_others_use(
    double: KubernetesDouble, backends: Backends, until: Callable[[Callable[[], bool]], Awaitable[None]]
) -> None:
    reader, other = backends.hand(ObjectsReader), backends.hand(ObjectsReader)
    await read(reader, PLACE)
    await read(other, PLACE)
    await backends.kubernetes.objects(PLACE, user="discovery of pods")

    reader.forget(PLACE)
    await other.close()
    double.put("pods", {"metadata": {"name": "p", "namespace": "apps"}})
    async with asyncio.timeout(5):
        while not (await backends.kubernetes.objects(PLACE, user="discovery of pods")).objects:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.002)
    assert double.requests["list", "pods"] == 1

    backends.kubernetes.forget(PLACE, user="discovery of pods")
    await until(lambda: not double.watches)
