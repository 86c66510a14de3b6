"""Pages of metrics as places: those of every address of a URL, or of every pod that a selector picks."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from yarl import URL

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.fetch import Request, deadline, fetch, shown, without_credentials
from scaler.clients.http.session import open_session
from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import Objects, Resource
from scaler.clients.pages.exposition import LEADER, Family, Page, PageError, PageParser
from scaler.core.clock import Clock
from scaler.core.domain import CountRequests, Found, Place, Proof, Reader, Report
from scaler.core.errors import Fault, Unavailable

if TYPE_CHECKING:
    import aiohttp

MAX_PAGE_BYTES = 32 * 1024 * 1024
MAX_PAGES = 1_000
PARALLEL = 32
"""Scrapes of one place at the same time."""
MAX_CONNECTIONS = 512
MAX_SUMS_OF_PLACE = 50_000
SCRAPE_SECONDS = 3.0
ACCEPT = "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.9, */*;q=0.1"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to take from each page: `families`, and by which of them (`proof`, names) the right page is known.

    A page with none of `proof` is a fault, told with `hint`, unless the page itself says that its pod only stands by.
    """

    families: frozenset[Family]
    proof: frozenset[str]
    hint: str = "is it the right port and path?"


@dataclass(frozen=True, slots=True)
class UrlPages(Place):
    """The pages at a URL, one for each address of its host name."""

    kind: ClassVar[str] = "pages"

    url: str = field(repr=False)
    wanted: Wanted

    @property
    def backend(self) -> str:
        """Return the host and port."""
        return f"pages/{URL(self.url).host_port_subcomponent}"

    def __str__(self) -> str:
        return f"metrics of {shown(URL(self.url))}"


@dataclass(frozen=True, slots=True)
class PodPages(Place):
    """The pages of all pods of a namespace that a label selector picks."""

    kind: ClassVar[str] = "pages"

    namespace: str
    selector: str
    port: int
    path: str
    wanted: Wanted

    @property
    def backend(self) -> str:
        """Return the namespace and the selector."""
        return f"pages/{self.namespace}/{self.selector}"

    def __str__(self) -> str:
        return f"metrics of pods {self.selector} in namespace {self.namespace}"


@dataclass(frozen=True, slots=True)
class Pod:
    """What matters of a pod that may have a page."""

    name: str
    address: str
    leaving: bool


PODS = Resource("", ("v1",), "pods")


def project_pod(pod: Mapping[str, Any]) -> Pod | None:
    """Return what matters of `pod`, or None if it has no page: it has ended, or has no address yet.

    A pod that is not ready has one: a standby of a leader election is never ready (Flux source-controller), and what
    a starting or crashing pod has in its queues must not be left out of a sum. A pod without address never ran, so
    that it has no queues; its work is in nobody's queue yet.
    """
    status = pod.get("status", {})
    if status.get("phase") in {"Succeeded", "Failed"} or not status.get("podIP"):
        return None
    metadata = pod["metadata"]
    return Pod(metadata["name"], status["podIP"], "deletionTimestamp" in metadata)


@dataclass(frozen=True, slots=True)
class _Target:
    """One page to scrape: the URL by name, and the address that is meant by it."""

    name: str
    url: URL
    address: str
    leaving: bool = False  # its pod may go at any moment, and its work goes on elsewhere


async def addresses_of(host: str, port: int) -> list[str]:
    """Return every address of `host`, sorted; those of IPv4 if it has any, because a dual-stack pod is in both lists.

    Raises `OSError` or `UnicodeError` if there is none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family = min((info[0] for info in found), key=lambda family: family != socket.AF_INET)
    return sorted({str(info[4][0]) for info in found if info[0] == family})


PROOF = Proof(
    "every page to its end, with the families by which it is known",
    "every address of the URL, or every running pod of the selector",
)


class PagesReader(Reader):
    """Reads all pages of a place side by side; one that cannot be read is a fault of the place."""

    kinds = frozenset({UrlPages.kind})

    def __init__(
        self,
        clock: Clock,
        addresses: Addresses,
        kubernetes: Kubernetes,
        count_requests: CountRequests,
        resolve: Callable[[str, int], Awaitable[Sequence[str]]] = addresses_of,
    ) -> None:
        """Reach what `addresses` allows, and find pods through `kubernetes`; `resolve` finds the addresses of a host."""
        self._clock, self._addresses, self._kubernetes = clock, addresses, kubernetes
        self._count_requests = count_requests
        self._resolve = resolve
        self._session: aiohttp.ClientSession | None = None
        self._lists: dict[Place, Objects] = {}

    async def read(self, places: Sequence[Place], report: Report) -> None:
        """Report a tuple of `Page`, ordered by name, for each place."""
        outcomes = await asyncio.gather(*(self._read(place, report) for place in places), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _read(self, place: Place, report: Report) -> None:
        try:
            if isinstance(place, UrlPages):
                _, headers = without_credentials(place.url)
                pages = await self._scrape_all(place, await self._targets_of_url(place), headers)
            elif isinstance(place, PodPages):
                pages = await self._scrape_all(place, await self._targets_of_pods(place), {})
            else:
                raise TypeError(place)
        except Fault as fault:
            report(place, fault)
        else:
            report(place, Found(pages, PROOF))

    async def _targets_of_url(self, place: UrlPages) -> list[_Target]:
        url, _ = without_credentials(place.url)
        host = url.raw_host or ""
        try:
            found = await self._resolve(host, url.port or 80)
        except (OSError, UnicodeError):
            found = ()
        if not found:
            raise Unavailable(
                f"{place}: the name has no address; a controller at zero replicas has no page, and what waits for it is not known"
            )
        return [_Target(address, url, address) for address in found]

    async def _targets_of_pods(self, place: PodPages) -> list[_Target]:
        pods = Objects(PODS, place.namespace, place.selector, project_pod)
        self._lists[place] = pods
        found = await self._kubernetes.objects(pods, user=place)
        if not found.objects:
            raise Unavailable(
                f"{place}: no pod is running; a controller at zero replicas has no page, and what waits for it is not known"
            )
        return [
            _Target(
                f"pod {pod.name}",
                URL.build(scheme="http", host=pod.address, port=place.port, path=place.path),
                pod.address,
                pod.leaving,
            )
            for pod in found.objects
        ]

    async def _scrape_all(
        self, place: UrlPages | PodPages, targets: Sequence[_Target], headers: Mapping[str, str]
    ) -> tuple[Page, ...]:
        if len(targets) > MAX_PAGES:
            raise Unavailable(f"{place}: {len(targets)} pages, and the limit is {MAX_PAGES}; ask a Prometheus instead")
        self._count_requests(place.backend, "GET", len(targets))
        gate = asyncio.Semaphore(PARALLEL)
        pages: list[Page] = []
        kept = 0

        async def scrape(target: _Target) -> None:
            nonlocal kept
            async with gate:
                page = await self._scrape(place, target, headers)
            if page is not None:
                pages.append(page)
                kept += sum(map(len, page.sums.values()))
            if kept > MAX_SUMS_OF_PLACE:
                raise Unavailable(f"{place}: more than {MAX_SUMS_OF_PLACE} sums to keep, which is the limit")

        try:
            async with asyncio.TaskGroup() as group:
                for target in targets:
                    group.create_task(scrape(target))
        except ExceptionGroup as errors:  # the first fault ends the read: the others could not make it whole
            raise errors.exceptions[0] from None
        _check(place, pages)
        return tuple(sorted(pages, key=lambda page: page.name))

    async def _scrape(self, place: UrlPages | PodPages, target: _Target, headers: Mapping[str, str]) -> Page | None:
        """Return the page of `target`, or None for a pod on its way out that does not answer any more."""
        if self._session is None:
            self._session = open_session(self._addresses, connections=MAX_CONNECTIONS)
        where = f"{place}, {target.name}"
        parser = PageParser(place.wanted.families | {LEADER})
        request = Request(
            url=target.url,
            address=target.address,
            where=where,
            max_bytes=MAX_PAGE_BYTES,
            headers={"Accept": ACCEPT, **headers},
        )
        try:
            async with deadline(self._clock, SCRAPE_SECONDS, where):
                answer = await fetch(self._session, request, parser.feed)
            return Page(target.name, parser.close(openmetrics="openmetrics" in answer.content_type))
        except PageError as error:
            if not target.leaving:
                raise Unavailable(f"{where}: {error}") from None
        except Fault:
            if not target.leaving:
                raise
        return None

    def forget(self, place: Place) -> None:
        """Close the watch of the pods of `place`."""
        if (pods := self._lists.pop(place, None)) is not None:
            self._kubernetes.forget(pods, user=place)

    async def close(self) -> None:
        """Close all connections and watches."""
        for place in tuple(self._lists):
            self.forget(place)
        if self._session is not None:
            await self._session.close()


def _check(place: UrlPages | PodPages, pages: Sequence[Page]) -> None:
    """Raise `Unavailable` unless every page is one that was meant, or of a pod that stands by for one that is."""
    proof = " or ".join(sorted(place.wanted.proof))
    if not pages:
        raise Unavailable(f"{place}: all of its pods are on their way out, and none answers any more")
    others = [page for page in pages if not place.wanted.proof & page.sums.keys()]
    for page in others:
        if not page.stands_by:
            raise Unavailable(f"{place}, {page.name}: the page has no {proof}: {place.wanted.hint}")
    if len(others) == len(pages):
        raise Unavailable(f"{place}: none of {len(pages)} pods leads at present, so that no page has {proof}")
