"""Reads pages of metrics that a Prometheus server, given by name or URL, has already scraped."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr
from pydantic_core import from_json
from yarl import URL

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.fetch import Request, deadline, fetch, shown, without_credentials
from scaler.clients.http.names import Names
from scaler.clients.http.quoting import quoted, secrets_of
from scaler.clients.http.session import Sessions
from scaler.clients.http.tls import trust
from scaler.clients.pages.exposition import LEADER, START, Page, Sums, as_count
from scaler.clients.pages.judge import Changes, judged
from scaler.clients.pages.kept import Kept, bytes_of
from scaler.clients.pages.places import Wanted
from scaler.clients.pages.prometheus_query import OLDEST_SECONDS, STALE, TARGET_LABELS, PrometheusPages
from scaler.clients.pages.settings import PrometheusServer
from scaler.core.budget import Budget
from scaler.core.clock import Clock
from scaler.core.domain import CountRequests, Found, Place, Proof, Reader, Report
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.core.turns import rest

HINT = "; a server under `prometheus` of the configuration has headers, tokenFile, caFile and certFile"
MAX_ANSWER_BYTES = 512 * 1024
"""About 2,000 series, which can be decoded at once without delaying other tasks."""
LONG_QUERY = 3_500
"""Longer queries use POST. Shorter ones use GET, because not every proxy lets POST through."""
UNDER_WAY_BYTES = 8 * MAX_ANSWER_BYTES
"""Memory for one query: the answer, and its decoded form."""
QUERY_SECONDS = 4.5
SERIES_AT_ONCE = 50
"""Taken in one turn, in half a millisecond; a full answer takes 40."""


class _Vector(BaseModel):
    type: Literal["vector"] = Field(alias="resultType")
    result: list[Any]  # parsed below, because a model for each series takes three times as long


class _Answer(BaseModel):
    """The answer of the HTTP API (prometheus.io/docs/prometheus/latest/querying/api).

    Its `infos` are remarks about the query; only `warnings` may mean that something is missing.
    """

    status: Literal["success", "error"]
    data: _Vector | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()
    is_partial: bool = Field(False, alias="isPartial")  # of VictoriaMetrics; Thanos has a warning instead


async def pages_of(place: PrometheusPages, body: bytes, secrets: Iterable[str] = ()) -> tuple[Page, ...]:
    """Return the pages in an answer to the query of `place`; raises `Fault` if any may be missing.

    `secrets` are masked in the text of the fault.
    """
    try:
        answer = _Answer.model_validate(from_json(body))  # `model_validate_json` takes twice as long
    except ValueError:
        raise Unavailable(f"{place}: the answer is not that of the HTTP API of Prometheus") from None
    if answer.status == "error" or answer.data is None:
        raise Unavailable(f"{place}: the query failed: {_quoted(answer.error, secrets)!r}")
    if answer.warnings or answer.is_partial:
        raise Unavailable(f"{place}: the answer may be partial: {_quoted(' '.join(answer.warnings), secrets)!r}")
    by = {family.name: family.by for family in place.families | {LEADER, START}}
    found: dict[tuple[str, ...], Sums] = {}
    try:
        for number, series in enumerate(answer.data.result, 1):
            if not number % SERIES_AT_ONCE:
                await rest()
            labels: dict[str, str] = series["metric"]
            _check(place, labels, series["value"][1])
            name = labels["__name__"]
            page = found.setdefault(tuple(labels.get(label, "") for label in TARGET_LABELS), {})
            group = next((labels[label] for label in by[name] if labels.get(label)), "")
            sums = page.setdefault(name, {})
            sums[group] = sums.get(group, 0.0) + as_count(float(series["value"][1]))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise Unavailable(f"{place}: the answer holds a series that is not understood") from None
    ours = {family.name for family in place.families - {START}}  # which others have, too
    pages = [
        Page(pod or instance, sums)
        for (instance, _, pod), sums in sorted(found.items(), key=lambda item: item[0])
        if sums.keys() & ours  # a selector may match other controllers that only have the leader election series
    ]
    if not pages:
        raise Unavailable(f"{place}: no series of {' or '.join(sorted(ours))}; is `selector` right, and is it scraped?")
    return judged(str(place), Wanted(place.families, frozenset(ours)), pages)


def _check(place: PrometheusPages, labels: Mapping[str, str], value: str) -> None:
    """Raise `Unavailable` for what says that a target is down, or its samples too old."""
    target = f"{labels.get('instance')} of job {labels.get('job')}"
    if STALE in labels:
        raise Unavailable(
            f"{place}: the newest sample of {target} is {float(value):.0f} s old, more than {OLDEST_SECONDS}; is Prometheus "
            "being told, and is it the right one?"
        )
    if labels.get("__name__") == "up":
        raise Unavailable(
            f"{place}: Prometheus cannot scrape {target}, so that its work is not known; if it is not of this workload, "
            "make `selector` narrower"
        )


def _quoted(text: str, secrets: Iterable[str]) -> str:
    return quoted(text.encode("utf-8", "replace"), secrets)


class PrometheusReader(Reader):
    """Sends one query for each place."""

    kinds = frozenset({PrometheusPages.kind})

    def __init__(  # noqa: PLR0913, PLR0917 - the clients of the process that it uses
        self,
        clock: Clock,
        addresses: Addresses,
        names: Names,
        prometheus: Mapping[str, PrometheusServer],
        may_fetch: Callable[[str], None],
        budget: Budget,
        count_requests: CountRequests,
    ) -> None:
        """Query the servers in `prometheus`, and other URLs if `addresses` and, for redirects, `may_fetch` allow it."""
        self._clock, self._servers = clock, prometheus
        self._may_fetch, self._budget, self._count_requests = may_fetch, budget, count_requests
        self._sessions = Sessions(clock, addresses, names)
        self._kept, self._changes = Kept(), Changes(clock)

    async def read(self, places: Sequence[Place], report: Report) -> None:
        """Report a tuple of `Page`, ordered by target, for each place."""
        outcomes = await asyncio.gather(*(self._read(place, report) for place in places), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _read(self, place: Place, report: Report) -> None:
        if not isinstance(place, PrometheusPages):
            raise TypeError(place)
        kept = self._kept.held()
        try:
            pages = await self._ask(place)
            kept.resize(bytes_of(pages))
        except Fault as fault:
            report(place, fault)
        else:
            self._kept.keep(place, kept)
            proof = Proof(
                "status success without warnings",
                f"{place}: {len(pages)} targets, none down, no sample older than {OLDEST_SECONDS} s",
            )
            pages, changed_at = self._changes.note(place, place.families, pages)
            report(place, Found(pages, proof, changed_at))

    async def _ask(self, place: PrometheusPages) -> tuple[Page, ...]:
        self._count_requests(place.backend, "query", 1)
        request, received = self._request(place), bytearray()
        async with (
            self._budget.turn(UNDER_WAY_BYTES, self._clock, QUERY_SECONDS, str(place)),
            deadline(self._clock, QUERY_SECONDS, str(place)),
        ):
            await fetch(await self._sessions.get(), request, received.extend)
            return await pages_of(place, bytes(received), (*request.secrets, *secrets_of(request.headers)))

    def _request(self, place: PrometheusPages) -> Request:
        server = self._server(place)
        base, login = without_credentials(server.url.get_secret_value())
        given = {name: value.get_secret_value() for name, value in server.parameters.items()}
        headers = login | {name: value.get_secret_value() for name, value in server.headers.items()}
        secrets = (*given.values(), *(value.get_secret_value() for value in server.headers.values()))
        query = {**given, "query": place.query()}
        try:
            if server.token_file is not None:
                headers["Authorization"] = f"Bearer {server.token_file.read_text().strip()}"
            tls = trust(server)
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"{place}: tokenFile, caFile or certFile cannot be read ({type(error).__name__})"
            ) from None
        long = len(query["query"]) > LONG_QUERY
        url = base / "api/v1/query"
        request = Request(
            url=url if long else url.with_query(query),
            where=str(place),
            max_bytes=MAX_ANSWER_BYTES,
            headers=headers,
            secrets=secrets,
            form=query if long else None,
            tls=tls,
            quotes=True,
            hint=HINT,
        )
        return request if place.server else replace(request, hop=partial(self._hop, request))

    def _hop(self, request: Request, url: URL) -> Request:
        """Return the request for a redirect; without credentials if it leads to another origin."""
        self._may_fetch(shown(url))
        same = url.origin() == request.url.origin()
        return replace(request, url=url, headers=request.headers if same else {})

    def _server(self, place: PrometheusPages) -> PrometheusServer:
        if not place.server:
            return PrometheusServer(url=SecretStr(place.url))
        server = self._servers.get(place.server)
        if server is None:
            known = ", ".join(self._servers) or "none"
            raise Refused(f"prometheus: {place.server!r} is not in the configuration, which has {known}")
        return server

    def forget(self, place: Place) -> None:
        """Release the memory for `place`."""
        self._kept.forget(place)
        self._changes.forget(place)

    async def close(self) -> None:
        """Close all connections."""
        await self._sessions.close()
