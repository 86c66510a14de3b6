import asyncio
import gzip
import itertools
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import Names, NoAddress
from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import ObjectList, Objects
from scaler.clients.pages import kept
from scaler.clients.pages import reader as pages
from scaler.clients.pages.exposition import LEADER, Family, Page
from scaler.clients.pages.reader import PagesReader, Pod, PodPages, UrlPages, Wanted, project_pod
from scaler.core.budget import Budget
from scaler.core.domain import Place
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.core.tenant import TENANT
from scaler.demo.clock import ManualClock
from scaler.demo.controllers import Controller
from scaler.demo.kubernetes import KubernetesDouble
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


# By URL


async def test_every_address_of_a_name_is_a_page(reading: Reading, pods: list[Controller]) -> None:
    reading.names.known = {"controller.ns.svc": ("127.0.0.1", "127.0.0.2", "127.0.0.3")}
    place = UrlPages(f"http://controller.ns.svc:{port_of(pods)}/metrics", WANTED)
    assert by_pod(await reading.one(place)) == {"127.0.0.1": 1, "127.0.0.2": 2, "127.0.0.3": 3}
    assert reading.counted == [(f"pages/controller.ns.svc:{port_of(pods)}", "GET", 3)]


async def test_one_address_that_cannot_be_read_is_a_fault(reading: Reading, pods: list[Controller]) -> None:
    reading.names.known = {"controller.ns.svc": ("127.0.0.1", "127.0.0.2", "127.0.0.3")}
    await pods[1].close()
    with pytest.raises(Unavailable, match=r"http://controller\.ns\.svc:\d+/metrics, 127\.0\.0\.2: no connection"):
        await reading.one(UrlPages(f"http://controller.ns.svc:{port_of(pods)}/metrics", WANTED))


@pytest.mark.parametrize("addresses", [(), None], ids=["empty", "no such name"])
async def test_a_name_without_address_is_a_fault(reading: Reading, addresses: Sequence[str] | None) -> None:
    name = "controller.invalid"
    if addresses is not None:
        reading.names.known = {name: addresses}
    with pytest.raises(Unavailable, match="no address; a controller at zero replicas has no page"):
        await reading.one(UrlPages(f"http://{name}/metrics", WANTED))


async def test_a_name_that_no_resolver_takes_is_a_fault(reading: Reading) -> None:
    with pytest.raises(Unavailable, match="no address"):
        await reading.one(UrlPages(f"http://{'a' * 64}.invalid/metrics", WANTED))


async def test_a_pod_with_two_addresses_is_read_once(reading: Reading, pods: list[Controller]) -> None:
    reading.names.known = {"controller.ns.svc": ("127.0.0.1", "127.0.0.2", "fd00::1", "fd00::2")}
    found = await reading.one(UrlPages(f"http://controller.ns.svc:{port_of(pods)}/metrics", WANTED))
    assert by_pod(found) == {"127.0.0.1": 1, "127.0.0.2": 2}


async def test_places_do_not_wait_for_each_other(reading: Reading, raw: RawServer, pods: list[Controller]) -> None:
    raw.answer = None
    slow, fast = UrlPages(f"http://127.0.0.1:{raw.port}/", WANTED), UrlPages(pods[0].url, WANTED)
    told: asyncio.Queue[tuple[Place, Any]] = asyncio.Queue()
    task = asyncio.create_task(reading.reader.read([slow, fast], lambda *report: told.put_nowait(report)))
    first, found = await asyncio.wait_for(told.get(), 5)
    assert (first, by_pod(found.value)) == (fast, {"127.0.0.1": 1})
    await reading.clock.advance(pages.SCRAPE_SECONDS)
    second, fault = await asyncio.wait_for(told.get(), 5)
    assert second == slow
    assert "127.0.0.1: no complete answer within 3 s" in str(fault)
    await task


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        pytest.param(answer(PAGE, headers={"Content-Length": "99"}), "broke off", id="page cut in half"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + PAGE[:-2], "cut short", id="page cut in half without a length"),
        pytest.param(answer(PAGE, status=403), "HTTP 403", id="forbidden"),
        pytest.param(answer(b"<html>\n</html>\n"), "the page has no workqueue_depth: what now?", id="another page"),
        pytest.param(answer(b""), "the page has no workqueue_depth", id="an empty page"),
        pytest.param(answer(b'workqueue_depth{name="a"} x\n'), "not a number", id="no number"),
        pytest.param(
            answer(PAGE, headers={"Content-Type": "application/openmetrics-text"}), "# EOF", id="OpenMetrics cut"
        ),
    ],
)
async def test_a_page_that_is_not_whole_is_a_fault_that_names_it(
    reading: Reading, raw: RawServer, told: bytes, reason: str
) -> None:
    raw.answer = told
    with pytest.raises(Fault, match=f"^metrics of http://127.0.0.1:{raw.port}/metrics, 127.0.0.1: .*{reason}"):
        await reading.one(UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED))


WHOLE = (
    b'workqueue_adds_total{name="a"} 9\n'
    b'workqueue_depth{name="a",priority="-100"} 2\n'
    b'workqueue_depth{name="a",priority="0"} 3\n'
)
OF_TWO = Wanted(WANTED.families | {Family("workqueue_adds_total", ("name",))}, frozenset({"workqueue_adds_total"}))
GZIP = {"Content-Encoding": "gzip"}
OPENMETRICS = b"HTTP/1.0 200 OK\r\nContent-Type: application/openmetrics-text\r\n\r\n"


def chunked(body: bytes, size: int = 40) -> bytes:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])


@pytest.mark.parametrize(
    "resets", [pytest.param(False, id="closed"), pytest.param(True, id="reset", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("head", "wire", "whole"),
    [
        pytest.param(answer(b"", headers={"Content-Length": str(len(WHOLE))}), WHOLE, True, id="length"),
        pytest.param(answer(b"", headers={"Transfer-Encoding": "chunked"}), chunked(WHOLE), True, id="chunked"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", WHOLE, False, id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", WHOLE, False, id="Connection: close"),
        pytest.param(OPENMETRICS, WHOLE + b"# EOF\n", True, id="OpenMetrics"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n", gzip.compress(WHOLE), True, id="gzip alone"),
        pytest.param(
            answer(b"", headers={**GZIP, "Transfer-Encoding": "chunked"}),
            chunked(gzip.compress(WHOLE)),
            True,
            id="gzip in chunks",
        ),
    ],
)
async def test_a_page_that_is_cut_anywhere_is_a_fault(
    reading: Reading, raw: RawServer, head: bytes, wire: bytes, *, whole: bool, resets: bool
) -> None:
    """A cut between two series of a queue would be a part of its items; one before its depth series would be 0."""
    place = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", OF_TWO)
    raw.resets = resets
    for cut in range(len(wire)):
        raw.answer = head + wire[:cut]
        found = (await reading.read(place))[place]
        # The last byte of OpenMetrics, and those of the last chunk, tell nothing that was not known before them.
        known = wire[:cut].endswith(b"# EOF")
        assert isinstance(found, Unavailable) or known, (cut, found)
    raw.answer, raw.resets = head + wire, False
    found = (await reading.read(place))[place]
    assert isinstance(found, tuple) == whole, found
    if whole:
        assert by_pod(found) == {"127.0.0.1": 5}


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
async def test_a_length_that_is_too_short_is_a_fault(reading: Reading, raw: RawServer, length: int) -> None:
    raw.answer = answer(WHOLE, headers={"Content-Length": str(length)})
    found = (await reading.read(place := UrlPages(f"http://127.0.0.1:{raw.port}/metrics", OF_TWO)))[place]
    assert isinstance(found, Unavailable), found


async def test_openmetrics_is_read(reading: Reading, raw: RawServer) -> None:
    raw.answer = answer(PAGE + b"# EOF\n", headers={"Content-Type": "application/openmetrics-text; version=1.0.0"})
    assert by_pod(await reading.one(UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED))) == {"127.0.0.1": 3}
    assert "Accept: text/plain;version=0.0.4, application/openmetrics-text" in raw.heads[0]


async def test_a_page_over_the_limit_is_a_fault(
    reading: Reading, raw: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", len(PAGE) - 1)
    with pytest.raises(Unavailable, match=f"larger than {len(PAGE) - 1} bytes, which is the limit"):
        await reading.one(UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED))


async def test_too_many_pages_are_a_fault(
    reading: Reading, pods: list[Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MAX_PAGES", 2)
    reading.names.known = {"controller.ns.svc": ("127.0.0.1", "127.0.0.2", "127.0.0.3")}
    with pytest.raises(Unavailable, match=r"limit"):
        await reading.one(UrlPages(f"http://controller.ns.svc:{port_of(pods)}/metrics", WANTED))


async def test_a_forbidden_address_is_refused(raw: RawServer) -> None:
    reading = Reading()
    reading.reader = reading.made(Addresses(allow_loopback=False))
    with pytest.raises(Refused, match="loopback"):
        await reading.one(UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED))
    reading.names.known = {"a.svc": ["169.254.169.254"]}
    with pytest.raises(Refused, match="metadata"):
        await reading.one(UrlPages("http://a.svc/latest/meta-data", WANTED))
    assert raw.heads == []
    await reading.reader.close()


async def test_credentials_of_the_url_are_sent_and_never_shown(reading: Reading, raw: RawServer) -> None:
    place = UrlPages(f"http://user:canary@127.0.0.1:{raw.port}/metrics?token=canary", WANTED)
    await reading.one(place)
    assert "Authorization: Basic dXNlcjpjYW5hcnk=\r\n" in raw.heads[0]
    assert raw.heads[0].startswith("GET /metrics?token=canary ")
    raw.answer = answer(b"canary", status=401)
    with pytest.raises(Refused) as refused:
        await reading.one(place)
    for text in (str(place), repr(place), place.backend, str(refused.value), str(reading.counted)):
        assert "canary" not in text


# By pod


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
        assert list(kubernetes._watches) == [reader._lists[place]]  # that of the others is closed
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


async def test_a_pod_that_stands_by_does_not_count_even_if_its_queues_exist(
    reading: Reading, raw: RawServer, pods: list[Controller]
) -> None:
    """As with client-go, which makes them at once, empty."""
    reading.kubernetes.pods = (pod(1), pod(2))
    place = PodPages("ns", "app=controller", port_of(pods), "/metrics", WANTED)
    pods[0].leads, pods[1].leads = True, False
    standby = Page("pod controller-2", {LEADER.name: {"": 0.0}})
    for with_queues in (False, True):
        pods[1].stands_by_with_queues = with_queues
        leader, other = await reading.one(place)
        assert by_pod((leader,)) == {"pod controller-1": 1}
        assert other == standby
    pods[0].leads = False
    with pytest.raises(Unavailable, match="none of 2 pods leads at present"):
        await reading.one(place)


@pytest.mark.parametrize(
    ("elections", "leads"),
    [
        pytest.param({"a": "1"}, True, id="one, led"),
        pytest.param({"a": "0", "b": "1", "c": "0"}, True, id="several, of which one is led"),
        pytest.param({"a": "0"}, False, id="one, not led"),
        pytest.param({"a": "0", "b": "0"}, False, id="several, none led"),
        pytest.param({"a": "NaN"}, None, id="not known"),
        pytest.param({"a": "1", "b": "-1"}, None, id="no status"),
    ],
)
async def test_a_page_leads_if_it_leads_in_any_election(
    reading: Reading, raw: RawServer, elections: Mapping[str, str], *, leads: bool | None
) -> None:
    status = "".join(f'leader_election_master_status{{name="{name}"}} {value}\n' for name, value in elections.items())
    raw.answer = answer(status.encode() + PAGE)
    place = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED)
    if leads:
        assert by_pod(await reading.one(place)) == {"127.0.0.1": 3}
        return
    reason = "none of 1 pods leads at present.*headless Service" if leads is False else "not known who leads"
    with pytest.raises(Unavailable, match=reason):
        await reading.one(place)


async def test_a_service_before_leader_and_standby_tells_the_leaders_queue_or_nothing(
    reading: Reading, raw: RawServer
) -> None:
    turn = itertools.cycle([1, 0])
    raw.answer = lambda _: answer(
        f'leader_election_master_status{{name="x"}} {(leads := next(turn))}\nworkqueue_depth{{name="a"}} {7 * leads}\n'.encode()
    )
    place = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED)
    for _ in range(3):
        assert by_pod(await reading.one(place)) == {"127.0.0.1": 7}
        with pytest.raises(Unavailable, match="none of 1 pods leads"):
            await reading.one(place)


def found_of(reading: Reading, told: Reported, place: Place) -> tuple[float, tuple[Page, ...]]:
    return reading.clock.now() - told.changes[place], told[place]


@pytest.mark.parametrize(
    ("page", "ago"),
    [
        pytest.param(b"process_start_time_seconds %d\n", 40.0, id="it says so"),
        pytest.param(b"process_start_time_seconds 9e12\n", 0.0, id="by a clock that is ahead"),
        pytest.param(b"process_start_time_seconds NaN\n", math.inf, id="it does not know"),
        pytest.param(b"", math.inf, id="it does not say"),
    ],
)
async def test_start_of_a_process_is_told_in_our_time_and_is_no_part_of_the_reading(
    reading: Reading, raw: RawServer, page: bytes, ago: float
) -> None:
    started = page.replace(b"%d", b"%d" % (reading.clock.wall() - 40))
    raw.answer = answer(started + PAGE)
    place, told = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED), Reported()
    await reading.reader.read([place], told)
    assert found_of(reading, told, place) == (ago, (Page("127.0.0.1", {"workqueue_depth": {"a": 3}}),))


async def test_a_pod_that_is_missing_is_a_change_and_one_more_is_none(reading: Reading, pods: list[Controller]) -> None:
    """A name leaves out pods that are not ready, and a Prometheus those that it does not know yet."""
    place, ago = PodPages("ns", "app=controller", port_of(pods), "/metrics", WANTED), []
    for there in ((pod(1), pod(2)), (pod(1), pod(2), pod(3)), (pod(1), pod(3)), (pod(1), pod(3))):
        reading.kubernetes.pods = there
        told = Reported()
        await reading.reader.read([place], told)
        ago.append(found_of(reading, told, place)[0])
        await reading.clock.advance(5)
    assert ago == [math.inf, math.inf, 0.0, math.inf]


async def test_another_leader_is_a_change_and_a_standby_that_starts_is_none(
    reading: Reading, raw: RawServer, pods: list[Controller]
) -> None:
    reading.kubernetes.pods = (pod(1), pod(2))
    place = PodPages("ns", "app=controller", port_of(pods), "/metrics", WANTED)
    ago = []
    for leads in (0, 0, 1, 1):
        pods[0].leads, pods[1].leads = leads == 0, leads == 1
        told = Reported()
        await reading.reader.read([place], told)
        ago.append(found_of(reading, told, place)[0])
        await reading.clock.advance(5)
    assert ago == [math.inf, math.inf, 0.0, math.inf]
    standby = b'leader_election_master_status{name="x"} 0\nprocess_start_time_seconds %d\n' % reading.clock.wall()
    leader = b'leader_election_master_status{name="x"} 1\n' + PAGE
    pages = itertools.cycle([standby, leader])
    raw.answer = lambda _: answer(next(pages))
    reading.names.known = {"both": ["127.0.0.1", "127.0.0.1"]}
    place_of_both, told = UrlPages(f"http://both:{raw.port}/metrics", WANTED), Reported()
    await reading.reader.read([place_of_both], told)
    assert found_of(reading, told, place_of_both)[0] == math.inf


async def test_the_proof_says_how_each_end_was_certain_and_whose_pages_they_are(
    reading: Reading, raw: RawServer, pods: list[Controller]
) -> None:
    reading.kubernetes.pods = (pod(1), pod(2))
    pods[0].leads, pods[1].leads = True, False
    told = Reported()
    place = PodPages("ns", "app=controller", port_of(pods), "/metrics", WANTED)
    await reading.reader.read([place], told)
    assert str(told.proofs[place]) == (
        "whole: 2 of 2 pages to their end, by its length; "
        "from: every running pod with app=controller in namespace ns; pod controller-1 leads, 1 stand by"
    )
    raw.answer = b"HTTP/1.0 200 OK\r\n\r\n" + PAGE + b"# EOF\n"
    other = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED)
    await reading.reader.read([other], told)
    assert str(told.proofs[other]) == "whole: 1 of 1 pages to their end, by its # EOF; from: every address of 127.0.0.1"


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


async def test_an_error_in_the_code_is_not_silent(reading: Reading) -> None:
    reading.kubernetes.objects = None  # type: ignore[method-assign,assignment] # what no caller does
    with pytest.raises(TypeError):
        await reading.read(PodPages("ns", "app=controller", 80, "/", WANTED))


# Cost


async def test_equal_pages_are_equal_readings(reading: Reading, pods: list[Controller]) -> None:
    place = UrlPages(pods[0].url, WANTED)
    assert await reading.one(place) == await reading.one(place)


async def test_what_is_kept_is_bounded_for_each_tenant_and_given_back(
    reading: Reading, raw: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MAX_KEPT_BYTES", 100_000)
    reading.reader = reading.made()
    raw.answer = answer("".join(f'workqueue_depth{{name="q{n}"}} 1\n' for n in range(100)).encode())
    places = [UrlPages(f"http://127.0.0.1:{raw.port}/{number}", WANTED) for number in range(4)]
    TENANT.set("hostile")
    for _ in range(3):  # to read again takes no more
        assert len(await reading.one(places[0])) == 1
    await reading.one(places[1])
    with pytest.raises(Unavailable, match=r"namespace hostile, which holds .* share of 100000 bytes of sums of pages"):
        await reading.one(places[2])
    TENANT.set("shop")
    await reading.one(places[3])
    for place in places:
        reading.reader.forget(place)
    TENANT.set("hostile")
    for place in places[1:3]:
        assert len(await reading.one(place)) == 1


async def test_scrapes_beyond_the_share_wait_for_their_turn(reading: Reading, pods: list[Controller]) -> None:
    reading.budget = Budget(2 * pages.SCRAPE_BYTES)  # one at a time
    reading.reader = reading.made()
    reading.names.known = {"controller.ns.svc": ("127.0.0.1", "127.0.0.2", "127.0.0.3")}
    found = await reading.one(UrlPages(f"http://controller.ns.svc:{port_of(pods)}/metrics", WANTED))
    assert by_pod(found) == {"127.0.0.1": 1, "127.0.0.2": 2, "127.0.0.3": 3}
    assert reading.budget.total == 0


async def test_the_event_loop_is_never_held_up(reading: Reading, raw: RawServer) -> None:
    """Twenty thousand series of which all are wanted, compressed, beside a task that wants its turn all the time."""
    page = "".join(f'workqueue_depth{{name="queue-{n % 50}",filler="{"x" * 190}-{n}"}} 1\n' for n in range(20_000))
    raw.answer = answer(gzip.compress(page.encode(), 1), headers={"Content-Encoding": "gzip"})
    assert len(page) > 4_500_000
    place = UrlPages(f"http://127.0.0.1:{raw.port}/metrics", WANTED)

    async def held_up_during(work: Any) -> float:
        """Return the longest CPU time between two turns of this task, in seconds; the machine's other work is not ours."""
        task, longest = asyncio.ensure_future(work), 0.0
        while not task.done():
            started = time.process_time()
            await asyncio.sleep(0)
            longest = max(longest, time.process_time() - started)
        await task
        return longest

    assert min([await held_up_during(reading.one(place)) for _ in range(3)]) < 0.020
    (found,) = await reading.one(place)
    assert math.fsum(found.sums["workqueue_depth"].values()) == 20_000
