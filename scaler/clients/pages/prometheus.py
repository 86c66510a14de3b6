"""Prometheus servers, by name or URL: their settings, and the pages of metrics that they have read already."""

import asyncio
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, Field, SecretStr, field_validator
from pydantic_core import from_json

from scaler.clients.http.addresses import Addresses
from scaler.clients.http.fetch import Request, checked_url, deadline, fetch, shown, without_credentials, without_secrets
from scaler.clients.http.session import open_session
from scaler.clients.pages.exposition import Family, Page, Sums, as_count
from scaler.core.clock import Clock
from scaler.core.domain import CountRequests, Found, Place, Proof, Reader, Report
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.core.section import Section

if TYPE_CHECKING:
    import aiohttp

MAX_SELECTOR = 1_000
MAX_ANSWER_BYTES = 512 * 1024
"""About 2,000 series, which is what can be decoded at once without holding up other tasks."""
LONG_QUERY = 2_000
"""Longer ones go by POST: not every proxy lets POST through, and none lets every URL through."""
QUERY_SECONDS = 4.5
TARGET_LABELS = ("instance", "job", "pod")
"""Which tell apart the pages that Prometheus has read."""

_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\\n]|\\[\\"nrt])*)"\s*(?:,|$)')


class PrometheusServer(Section):
    """One entry of `prometheus:` in the configuration."""

    url: SecretStr = Field(
        description="Base URL of the HTTP API, `https://prometheus.monitoring.svc:9090`; may hold a user name and password."
    )
    token_file: Path | None = Field(None, description="File with a bearer token; read again when it changes.")
    ca_file: Path | None = Field(None, description="CA certificates, instead of the system's.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        checked_url(url.get_secret_value())
        return url


def label_matchers(selector: str) -> str:
    """Return the label matchers of `selector`, with or without braces, in a form that is safe inside a query.

    Raises `ValueError` with what is allowed.
    """
    text = selector.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    matchers, position = [], 0
    while position < len(text):
        found = _MATCHER.match(text, position)
        if found is None or found[1] == "__name__" or len(text) > MAX_SELECTOR:
            raise ValueError(
                'label matchers in double quotes, such as namespace="argocd",job=~"argocd-.*", without __name__ '
                f"and of at most {MAX_SELECTOR} characters"
            )
        matchers.append(f'{found[1]}{found[2]}"{found[3]}"')
        position = found.end()
    return ",".join(matchers)


@dataclass(frozen=True, slots=True)
class PrometheusPages(Place):
    """The newest pages that a Prometheus has read, as far as they hold `families`.

    `server` is a name in the configuration; where it is empty, `url` is the server's. `selector` is one that
    `label_matchers` has returned.
    """

    kind: ClassVar[str] = "prometheus"
    min_refresh_seconds: ClassVar[float] = 5.0  # it reads the pages itself every 15 to 60 s

    server: str
    url: str = field(repr=False)
    selector: str
    families: frozenset[Family]

    @property
    def backend(self) -> str:
        """Return the name, or the host and port."""
        return f"prometheus/{self.server or without_credentials(self.url)[0].host_port_subcomponent}"

    def __str__(self) -> str:
        return f"Prometheus {self.server or shown(without_credentials(self.url)[0])} {{{self.selector}}}"

    def query(self) -> str:
        """Return the query: one sum for every page, family and label to add up by, and the targets that are down.

        A target that could not be scraped has lost its series, so that the sum would be smaller without a word. It
        shows in `up == 0`, among the targets that the selector picks and whose job has the series on other targets.
        """
        names = "|".join(sorted(family.name for family in self.families))
        labels = sorted({*TARGET_LABELS, *(label for family in self.families for label in family.by)})
        series = f'{{__name__=~"{names}"{"," if self.selector else ""}{self.selector}}}'
        down = f"(up{{{self.selector}}} == 0) and on (job) {series}"
        return f"sum by (__name__, {', '.join(labels)}) ({series}) or ({down})"


class _Vector(BaseModel):
    type: Literal["vector"] = Field(alias="resultType")
    result: list[Any]  # taken apart below: a model for each series takes three times as long


class _Answer(BaseModel):
    """The answer of the HTTP API (prometheus.io/docs/prometheus/latest/querying/api)."""

    status: Literal["success", "error"]
    data: _Vector | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()
    is_partial: bool = Field(False, alias="isPartial")  # VictoriaMetrics; Thanos warns


def pages_of(place: PrometheusPages, body: bytes) -> tuple[Page, ...]:
    """Return the pages that an answer to the query of `place` tells of; raises `Fault` if any might be missing."""
    try:
        answer = _Answer.model_validate(from_json(body))  # model_validate_json takes twice as long
    except ValueError:
        raise Unavailable(f"{place}: the answer is not that of the HTTP API of Prometheus") from None
    if answer.status == "error" or answer.data is None:
        raise Unavailable(f"{place}: the query failed: {answer.error[:200]!r}")
    if answer.warnings or answer.is_partial:
        raise Unavailable(f"{place}: the answer may be partial: {' '.join(answer.warnings)[:200]!r}")
    by = {family.name: family.by for family in place.families}
    found: dict[tuple[str, ...], Sums] = {}
    try:
        for series in answer.data.result:
            labels: dict[str, str] = series["metric"]
            name = labels["__name__"]
            if name == "up":
                raise Unavailable(
                    f"{place}: Prometheus cannot scrape {labels.get('instance')} of job {labels.get('job')}, so that its "
                    "work is not known; if it is not of this workload, make `selector` narrower"
                )
            page = found.setdefault(tuple(labels.get(label, "") for label in TARGET_LABELS), {})
            group = next((labels[label] for label in by[name] if labels.get(label)), "")
            sums = page.setdefault(name, {})
            sums[group] = sums.get(group, 0.0) + as_count(float(series["value"][1]))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise Unavailable(f"{place}: the answer holds a series that is not understood") from None
    if not found:
        raise Unavailable(f"{place}: no series of {' or '.join(sorted(by))}; is `selector` right, and is it scraped?")
    return tuple(
        Page(pod or instance, sums) for (instance, _, pod), sums in sorted(found.items(), key=lambda item: item[0])
    )


@lru_cache(maxsize=16)
def _tls(ca_file: Path, _changed: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


PROOF = Proof("status: success", "the Prometheus of the configuration or the URL")


class PrometheusReader(Reader):
    """Asks each Prometheus one query for each place."""

    kinds = frozenset({PrometheusPages.kind})

    def __init__(
        self,
        clock: Clock,
        addresses: Addresses,
        prometheus: Mapping[str, PrometheusServer],
        count_requests: CountRequests,
    ) -> None:
        """Ask the servers in `prometheus` by name, and others where `addresses` allows it."""
        self._clock, self._addresses, self._servers = clock, addresses, prometheus
        self._count_requests = count_requests
        self._session: aiohttp.ClientSession | None = None

    async def read(self, places: Sequence[Place], report: Report) -> None:
        """Report a tuple of `Page`, ordered by target, for each place."""
        outcomes = await asyncio.gather(*(self._read(place, report) for place in places), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _read(self, place: Place, report: Report) -> None:
        if not isinstance(place, PrometheusPages):
            raise TypeError(place)
        try:
            pages = await self._ask(place)
        except Fault as fault:
            report(place, fault)
        else:
            report(place, Found(pages, PROOF))

    async def _ask(self, place: PrometheusPages) -> tuple[Page, ...]:
        if self._session is None:
            self._session = open_session(self._addresses)
        self._count_requests(place.backend, "query", 1)
        request, received = self._request(place), bytearray()
        async with deadline(self._clock, QUERY_SECONDS, str(place)):
            answer = await fetch(self._session, request, received.extend)
        body = without_secrets(bytes(received), request.headers)
        if answer.status != 200:
            raise Refused(f"{place}: HTTP {answer.status}, the query is refused: {_error_of(body)!r}")
        return pages_of(place, body)

    def _request(self, place: PrometheusPages) -> Request:
        server = self._server(place)
        base, headers = without_credentials(server.url.get_secret_value())
        url = base / "api/v1/query"
        query = {"query": place.query()}
        long = len(query["query"]) > LONG_QUERY
        try:
            if server.token_file is not None:
                headers["Authorization"] = f"Bearer {server.token_file.read_text().strip()}"
            tls = True if server.ca_file is None else _tls(server.ca_file, server.ca_file.stat().st_mtime_ns)
        except (OSError, ValueError) as error:
            raise Unavailable(f"{place}: tokenFile or caFile cannot be read ({type(error).__name__})") from None
        return Request(
            url=url if long else url.with_query(query),
            where=str(place),
            max_bytes=MAX_ANSWER_BYTES,
            headers=headers,
            form=query if long else None,
            tls=tls,
            answers=frozenset({200, 400, 422}),  # the last two tell what is wrong with the query
        )

    def _server(self, place: PrometheusPages) -> PrometheusServer:
        if not place.server:
            return PrometheusServer(url=SecretStr(place.url))
        server = self._servers.get(place.server)
        if server is None:
            known = ", ".join(self._servers) or "none"
            raise Refused(f"prometheus: {place.server!r} is not in the configuration, which has {known}")
        return server

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


def _error_of(body: bytes) -> str:
    try:
        return _Answer.model_validate_json(body).error[:200]
    except ValueError:
        return "without a reason"
