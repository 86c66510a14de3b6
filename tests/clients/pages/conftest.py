"""A reader of pages, pods that answer on loopback addresses, and a server that answers any bytes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import Names, NoAddress
from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import ObjectList, Objects
from scaler.clients.pages.exposition import Family, Page
from scaler.clients.pages.reader import PagesReader, Pod, Wanted
from scaler.core.budget import Budget
from scaler.core.domain import Place
from scaler.core.errors import Fault
from scaler.demo.clock import ManualClock
from scaler.demo.controllers import Controller
from scaler.demo.raw_http import RawServer, answer
from scaler.demo.reported import Reported
from scaler.sources.backends import Backends


class KnownNames(Names):
    """Knows the names that it is given, and otherwise those of the machine."""

    def __init__(self) -> None:
        super().__init__()
        self.known: Mapping[str, Sequence[str]] = {}

    async def look_up(self, host: str, *, fresh: bool = False) -> tuple[str, ...]:
        if host in self.known and not self.known[host]:
            raise NoAddress(f"{host}: the host name has no address")
        return tuple(self.known[host]) if host in self.known else await super().look_up(host, fresh=fresh)


WANTED = Wanted(frozenset({Family("workqueue_depth", ("name",))}), frozenset({"workqueue_depth"}), "what now?")
PAGE = b'go_goroutines 9\nworkqueue_depth{name="a"} 3\n'


class ListedPods(Kubernetes):
    """Knows the pods that it is given."""

    def __init__(self, *pods: Pod) -> None:
        self.pods = pods
        self.users: set[tuple[str, Any]] = set()

    async def objects(self, place: Objects, *, user: Any = None, **_: Any) -> ObjectList:
        self.users.add((str(place), user))
        return ObjectList(self.pods, 1, 0.0)

    def forget(self, place: Objects, *, user: Any = None) -> None:
        self.users.discard((str(place), user))


class Reading:
    """A reader with what its parts may be told from outside."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.counted: list[tuple[str, str, int]] = []
        self.kubernetes = ListedPods()
        self.names = KnownNames()
        self.budget = Budget(64 * 2**20)
        self.reader = self.made()

    def made(self, addresses: Addresses | None = None) -> PagesReader:
        backends = Backends(
            clock=self.clock,
            addresses=addresses or Addresses(),
            kubernetes=self.kubernetes,
            names=self.names,
            budget=self.budget,
            count_requests=lambda *counted: self.counted.append(counted),
        )
        return backends.hand(PagesReader)

    async def read(self, *places: Place) -> dict[Place, Any]:
        told = Reported()
        await self.reader.read(places, told)
        return told

    async def one(self, place: Place) -> tuple[Page, ...]:
        outcome = (await self.read(place))[place]
        if isinstance(outcome, Fault):
            raise outcome
        assert isinstance(outcome, tuple)
        return outcome


@pytest.fixture
async def reading() -> AsyncIterator[Reading]:
    made = Reading()
    yield made
    await made.reader.close()
    assert made.kubernetes.users == set()
    assert made.clock.pending == 0


@pytest.fixture
async def pods() -> AsyncIterator[list[Controller]]:
    """Three pods on one port."""
    made = [Controller(["a", "b"]) for _ in range(3)]
    await made[0].start("127.0.0.1")
    port = int(made[0].url.split(":")[2].split("/")[0])
    await made[1].start("127.0.0.2", port)
    await made[2].start("127.0.0.3", port)
    for number, pod in enumerate(made, 1):
        pod.set_depth("a", number)
        pod.set_depth("b", 10 * number)
    yield made
    for pod in made:
        await pod.close()


@pytest.fixture
async def raw() -> AsyncIterator[RawServer]:
    made = RawServer(answer(PAGE))
    await made.start()
    yield made
    await made.close()


def port_of(pods: Sequence[Controller]) -> int:
    return int(pods[0].url.split(":")[2].split("/")[0])


def by_pod(found: tuple[Page, ...]) -> dict[str, float]:
    return {page.name: page.sums["workqueue_depth"]["a"] for page in found}


def pod(number: int, *, leaving: bool = False) -> Pod:
    return Pod(f"controller-{number}", f"127.0.0.{number}", leaving)
