"""Scrapes pages of metrics: of all addresses of a URL, or of all pods that match a label selector."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from yarl import URL

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.fetch import Request, deadline, fetch, shown, without_credentials
from scaler.clients.http.names import Names, NoAddress, of_one_family
from scaler.clients.http.session import Sessions
from scaler.clients.http.tls import trust, unusable
from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.kubernetes.objects import Objects
from scaler.clients.pages.exposition import LEADER, MAX_SUM_BYTES, START, Page, PageError, PageParser
from scaler.clients.pages.judge import Changes, judged, proof_of
from scaler.clients.pages.kept import Kept
from scaler.clients.pages.places import PodPages, UrlPages, Wanted
from scaler.clients.pages.pods import PODS, Pod, other_labels, project_labels, project_pod
from scaler.clients.pages.prometheus_query import OLDEST_SECONDS
from scaler.clients.pages.settings import PLAIN, PagesSettings
from scaler.core.budget import Budget, Held
from scaler.core.clock import Clock
from scaler.core.domain import CountRequests, Found, Place, SingleReader
from scaler.core.errors import Fault, Unavailable

__all__ = ["PODS", "PagesReader", "Pod", "PodPages", "UrlPages", "Wanted", "project_pod"]

MAX_PAGE_BYTES = 32 * 1024 * 1024
MAX_PAGES = 1_000
PARALLEL = 32
"""Concurrent scrapes of one place."""
MAX_CONNECTIONS = 512
SCRAPE_BYTES = MAX_SUM_BYTES + 512 * 1024
"""Maximum memory of one scrape: its sums, and the buffers of a connection."""
SCRAPE_SECONDS = 3.0
TURN_SECONDS = 4.0
ACCEPT = "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0;q=0.9, */*;q=0.1"
HINT = "; `pages` of the configuration says which CA, server name, certificate and token count for a URL"
WITHOUT_PAGE = "a controller at zero replicas has no page, and what waits for it is not known"


@dataclass(frozen=True, slots=True)
class _Target:
    """One page to scrape: its URL with the host name, and the address to connect to."""

    name: str
    url: URL
    address: str
    host_names: tuple[str, ...] = ()  # other host names that entries of `pages:` may match
    leaving: bool = False  # its pod is being deleted, and its work continues elsewhere


@dataclass(frozen=True, slots=True)
class _Scraped:
    page: Page
    end: str


def _pod_target(place: PodPages, pod: Pod) -> _Target:
    url = URL.build(scheme=place.scheme, host=pod.address, port=place.port, path=place.path)
    return _Target(f"pod {pod.name}", url, pod.address, (f"{pod.name}.{place.namespace}.pod",), pod.leaving)


class PagesReader(SingleReader):
    """Reads all pages of a place concurrently; a fault of one is a fault of the place."""

    kinds = frozenset({UrlPages.kind})

    def __init__(  # noqa: PLR0913, PLR0917 - the clients of the process that it uses
        self,
        clock: Clock,
        addresses: Addresses,
        names: Names,
        kubernetes: Kubernetes,
        pages: Sequence[PagesSettings],
        may_fetch: Callable[[str], None],
        budget: Budget,
        count_requests: CountRequests,
    ) -> None:
        """Connect as `pages` says, where `addresses` and, for redirects, `may_fetch` allow it."""
        self._clock, self._names, self._kubernetes = clock, names, kubernetes
        self._pages, self._may_fetch, self._budget, self._count_requests = pages, may_fetch, budget, count_requests
        self._sessions = Sessions(clock, addresses, names, connections=MAX_CONNECTIONS)
        self._lists: dict[Place, Objects] = {}
        self._kept, self._changes = Kept(), Changes(clock)

    async def find(self, place: UrlPages | PodPages) -> Found:
        """Return a tuple of `Page`, ordered by name; standby pages have no sums."""
        kept = self._kept.held()
        try:
            targets = await (self._of_url(place) if isinstance(place, UrlPages) else self._of_pods(place))
            scraped = await self._scrape_all(place, targets, kept)
            pages = judged(str(place), place.wanted, [each.page for each in scraped])
            proof = proof_of(place.whose, pages, {each.page.name: each.end for each in scraped})
        except BaseException as error:
            kept.resize(0)
            if isinstance(error, Fault) and isinstance(place, UrlPages):
                self._names.doubt(URL(place.url).raw_host or "")
            raise
        self._kept.keep(place, kept)
        pages, changed_at = self._changes.note(place, place.wanted.families, pages)
        return Found(pages, proof, changed_at)

    async def _of_url(self, place: UrlPages) -> list[_Target]:
        url, _ = without_credentials(place.url)
        try:
            found = of_one_family(await self._names.look_up(url.raw_host or ""))
        except NoAddress as error:
            raise Unavailable(f"{place}: {error}; {WITHOUT_PAGE}") from None
        return [_Target(address, url, address) for address in found]

    async def _of_pods(self, place: PodPages) -> list[_Target]:
        pods = Objects(PODS, place.namespace, place.selector, project_pod)
        self._lists[place] = pods
        found = await self._kubernetes.objects(pods, user=place)
        if not found.objects:
            raise Unavailable(f"{place}: no pod is running; {WITHOUT_PAGE}{await self._others(place)}")
        return [_pod_target(place, pod) for pod in found.objects]

    async def _others(self, place: PodPages) -> str:
        """Return the labels of the namespace's pods, to help with a selector that matches none."""
        everything = Objects(PODS, place.namespace, "", project_labels)
        try:
            found = await self._kubernetes.objects(everything, user=place, timeout_seconds=1.0)
        except Fault:
            return ""
        finally:
            self._kubernetes.forget(everything, user=place)
        if not found.objects:
            return f"; namespace {place.namespace} has no running pod at all"
        labels = other_labels(place.selector, found.objects) or "no labels"
        return f"; if it runs, set podSelector: the {len(found.objects)} pods there have {labels}"

    async def _scrape_all(
        self, place: UrlPages | PodPages, targets: Sequence[_Target], kept: Held
    ) -> tuple[_Scraped, ...]:
        if len(targets) > MAX_PAGES:
            raise Unavailable(f"{place}: {len(targets)} pages, and the limit is {MAX_PAGES}; ask a Prometheus instead")
        self._count_requests(place.backend, "GET", len(targets))
        gate = asyncio.Semaphore(PARALLEL)
        scraped: list[_Scraped] = []

        async def scrape(target: _Target) -> None:
            async with gate:
                found = await self._scrape(place, target, kept)
            if found is not None:
                scraped.append(found)

        try:
            async with asyncio.TaskGroup() as group:
                for target in targets:
                    group.create_task(scrape(target))
        except ExceptionGroup as errors:  # the first fault ends the read, because the sum would be incomplete anyway
            raise errors.exceptions[0] from None
        if not scraped:
            raise Unavailable(f"{place}: all of its pods are on their way out, and none answers any more")
        return tuple(scraped)

    async def _scrape(self, place: UrlPages | PodPages, target: _Target, kept: Held) -> _Scraped | None:
        """Return the page of `target`, or None for a pod that is being deleted and no longer answers."""
        where = f"{place}, {target.name}"
        parser = PageParser(place.wanted.families | {LEADER, START})
        try:
            async with self._budget.turn(SCRAPE_BYTES, self._clock, TURN_SECONDS, where):
                async with deadline(self._clock, SCRAPE_SECONDS, where):
                    session, request = await self._sessions.get(), self._request(place, target, where)
                    answer = await fetch(session, request, parser.feed)
                openmetrics = "openmetrics" in answer.content_type
                sums, end = parser.close(answer.end, openmetrics=openmetrics)
                self._check_age(parser.oldest / (1 if openmetrics else 1_000))
                kept.resize(kept.amount + parser.kept_bytes)
            return _Scraped(Page(target.name, sums), end)
        except PageError as error:
            if not target.leaving:
                raise Unavailable(f"{where}: {error}") from None
        except Fault:
            if not target.leaving:
                raise
        return None

    def _check_age(self, oldest: float) -> None:
        """Raise `PageError` for a page of old samples: a federation or a gateway repeats the last one for minutes."""
        age = self._clock.wall() - oldest
        if age > OLDEST_SECONDS:
            raise PageError(f"a series has a timestamp that is {age:.0f} s old, more than {OLDEST_SECONDS}")

    def _request(self, place: UrlPages | PodPages, target: _Target, where: str) -> Request:
        """Return the request for `target`, with the credentials for its URL; redirects are handled in the same way."""
        entry = next((each for each in self._pages if each.covers(target.url, target.host_names)), PLAIN)
        headers = {"Accept": ACCEPT, **_login(place, target.url)}
        try:
            tls = trust(entry, verify=not entry.insecure_skip_verify)
            if entry.bearer_file is not None:
                headers.setdefault("Authorization", f"Bearer {entry.bearer_file.read_text().strip()}")
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"{where}: caFile, certFile, keyFile or tokenFile of its entry in `pages` cannot be used: {unusable(error)}"
            ) from None

        def hop(url: URL) -> Request:
            if isinstance(place, UrlPages):
                self._may_fetch(shown(url))
            elif url.origin() != target.url.origin():
                raise Unavailable(f"{where}: redirects to {url.origin()}, which is not followed; give port and scheme")
            return self._request(place, replace(target, url=url), where)

        return Request(
            url=target.url,
            address=target.address,
            where=where,
            max_bytes=MAX_PAGE_BYTES,
            headers=headers,
            tls=tls,
            server_name=entry.server_name,
            hint=HINT,
            hop=hop,
        )

    def forget(self, place: Place) -> None:
        """Close the watch of the pods of `place`."""
        self._kept.forget(place)
        self._changes.forget(place)
        if (pods := self._lists.pop(place, None)) is not None:
            self._kubernetes.forget(pods, user=place)

    async def close(self) -> None:
        """Close all connections and watches."""
        for place in tuple(self._lists):
            self.forget(place)
        await self._sessions.close()


def _login(place: UrlPages | PodPages, url: URL) -> Mapping[str, str]:
    """Return the credentials in the URL of `place` if `url` has the same origin."""
    if isinstance(place, PodPages):
        return {}
    own, headers = without_credentials(place.url)
    return headers if own.origin() == url.origin() else {}
